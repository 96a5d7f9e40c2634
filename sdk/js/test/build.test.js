// The build: what goes into a component, and what the author reads when it fails.

import assert from "node:assert/strict";
import { mkdtemp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { BuildError, build } from "fanfare/build";
import { bundle } from "../build/bundle.js";

const SDK = dirname(import.meta.dirname);
let folder;

before(async () => {
    folder = await mkdtemp(join(tmpdir(), "fanfare-build-"));
});
after(() => rm(folder, { recursive: true }));

async function write(name, text) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
    return join(folder, name);
}

async function bundled(text, name = "module.js") {
    return bundle({ sdk: SDK, entry: await write(name, text), cwd: folder });
}

async function fault(text, name = "module.js") {
    const error = await build({ entry: await write(name, text), output: "out.wasm", cwd: folder }).then(
        () => assert.fail("the build succeeded"),
        (error) => error,
    );
    assert.ok(error instanceof BuildError, error.stack);
    return error.message;
}

const GREET = `import { handler } from "fanfare";
export const greet = handler(({ params }) => "Hello, " + params.name);
`;

test("a component is written, and nothing else", async () => {
    await write("one/module.js", GREET);
    const { size } = await build({ entry: "one/module.js", output: "out/greet.wasm", cwd: folder });
    const component = await readFile(join(folder, "out/greet.wasm"));
    assert.equal(component.length, size);
    // The magic number and the version of a component.
    assert.deepEqual([...component.subarray(0, 8)], [0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]);
    assert.deepEqual(await readdir(join(folder, "out")), ["greet.wasm"]);
});

test("TypeScript and packages of node_modules are bundled", async () => {
    await write("node_modules/left/package.json", '{ "name": "left", "exports": "./left.js", "type": "module" }');
    await write("node_modules/left/left.js", "export const left = (text) => `<${text}`;");
    const { code } = await bundled(
        `import { handler, type Call } from "fanfare";
import { left } from "left";
export const greet = handler((call: Call): string => left(call.text));
`,
        "module.ts",
    );
    assert.match(code, /`<\$\{text\}`/);
});

test("a component has only the parts of the SDK that it uses", async () => {
    assert.deepEqual((await bundled(GREET)).uses, { snapshot: false, timers: false });
    const timers = await bundled(`${GREET}export const wait = handler(() => globalThis.setTimeout(() => {}, 1));`);
    assert.equal(timers.uses.timers, true);
    const state = await bundled(
        `import { handler, snapshot } from "fanfare";
snapshot({ save: () => 1, load: () => {} });
export const one = handler(() => 1);`,
    );
    assert.equal(state.uses.snapshot, true);
});

test("async functions become generators, so that the current call is carried", async () => {
    const { code } = await bundled(
        `${GREET}export const wait = handler(async () => { for await (const one of many()) await one; });
async function* many() { yield 1; }`,
    );
    assert.doesNotMatch(code, /\basync\b(?!-)/);
    // The SDK runs the generators, because the function of esbuild costs more.
    assert.match(code, /^var __async = .*__fanfareAsync/m);
    assert.doesNotMatch(code, /generator\.next/);
});

test("the lines of the bundle keep their places", async () => {
    const { code } = await bundled(`${GREET}export const wait = handler(async () => { await null; });\nmarked();\n`);
    const { sources, places } = JSON.parse(/__fanfareLines = (.*);/.exec(code)[1]);
    const [source, line] = places[code.split("\n").indexOf("marked();")];
    assert.deepEqual([sources[source], line], ["module.js", 4]);
});

test("a syntax error has its place", async () => {
    assert.equal(await fault("export const a = ;"), 'module.js:1:18: Unexpected ";"');
});

test("a missing package has the command that installs it", async () => {
    const message = await fault('import x from "@scope/name/deep";\nexport { x };');
    assert.equal(
        message,
        'module.js:1:15: the package "@scope/name/deep" is not installed. Run: npm install @scope/name',
    );
    assert.match(await fault('import x from "./none.js";\nexport { x };'), /there is no file "\.\/none\.js"/);
});

test("modules of Node.js are refused", async () => {
    const expected = "is a part of Node.js, which modules do not have";
    assert.equal(await fault('import fs from "fs";\nfs.open();'), `module.js:1:16: \`fs\` ${expected}`);
    assert.equal(await fault('import fs from "node:fs";\nfs.open();'), `module.js:1:16: \`node:fs\` ${expected}`);
});

test("a global name that modules do not have is refused with its line", async () => {
    const message = await fault(`${GREET}\nexport const listen = handler(() => new WebSocket("ws://a"));`);
    assert.equal(message, "module.js:4: modules have no `WebSocket`: clients connect to `sockets` of module.json");
});

test("a library may ask whether a global name exists", async () => {
    const { code } = await bundled(`${GREET}export const kind = handler(() => typeof Buffer === "undefined");`);
    assert.match(code, /typeof Buffer/);
});

test("a module without handlers is refused", async () => {
    assert.match(await fault("export const a = 1;"), /the module exports no handler: write `export const greet = /);
    const twice = `${GREET}import { handlers } from "fanfare";\nexport default handlers({ greet: () => 1 });`;
    assert.match(await fault(twice), /two handlers have the name `greet`/);
});

test("code outside of handlers cannot reach the host", async () => {
    const message = await fault(`import { config, handler } from "fanfare";
export const greet = handler(() => 1);
function read() {
    return config.get("/word");
}
export const word = read();
`);
    assert.match(message, /^module\.js:4: the module failed while it was built: .*there is no host yet/);
    assert.match(await fault(`${GREET}setTimeout(() => {}, 1);`), /^module\.js:3: .*a timer needs a running module/);
});

test("an entry that does not exist is named", async () => {
    const error = await build({ entry: "none.js", output: "out.wasm", cwd: folder }).catch((error) => error);
    assert.equal(error.message, "none.js does not exist");
});
