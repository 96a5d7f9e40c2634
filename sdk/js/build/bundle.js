// Bundles a module with the SDK into one script that QuickJS can run.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { builtinModules } from "node:module";
import { join, relative, resolve } from "node:path";
import * as esbuild from "esbuild";
import { BuildError } from "./errors.js";
import { MISSING, PROVIDED } from "./globals.js";
import { lineTable } from "./lines.js";

const ENTRY = "fanfare-entry";
const PROBE = "fanfare-probe:";

/** What the passes have in common. */
const COMMON = {
    bundle: true,
    format: "esm",
    legalComments: "none",
    logLevel: "silent",
    metafile: true,
    outfile: "out.js",
    platform: "neutral",
    // The SDK carries the current call through `then`, which generators wait with.
    supported: { "async-await": false, "async-generator": false, "for-await": false },
    target: "es2023",
    write: false,
};

/** Returns the code, which parts of the SDK it uses, and warnings of the bundler. */
export async function bundle({ sdk, entry, cwd }) {
    if (!existsSync(entry)) throw new BuildError(`${relative(cwd, entry)} does not exist`);
    const first = await pack({ sdk, entry, cwd });
    const names = await globalNames(textOf(first, ".js"));
    await refuseMissing(names, first, sdk, cwd);
    const inject = [...new Set(names.map((name) => PROVIDED[name]).filter(Boolean))];
    // `snapshot` is one more export, which exists only when the module has a state.
    const snapshot = filesOf(first, cwd).has(join(sdk, "src", "snapshot.js"));
    const last = await pack({ sdk, entry, cwd, snapshot, inject });
    const files = filesOf(last, cwd);
    const has = (name) => files.has(join(sdk, "src", name));
    const isOwn = (name) => !isOfSdk(resolve(cwd, name), sdk) && !name.includes(ENTRY);
    const table = lineTable(JSON.parse(textOf(last, ".js.map")), isOwn);
    return {
        code: `${withAsyncOfSdk(textOf(last, ".js"))}\n;globalThis.__fanfareLines = ${JSON.stringify(table)};\n`,
        uses: { snapshot, timers: has("globals/timers.js") },
        warnings: last.warnings.map(oneLine),
    };
}

/** The function that runs the async functions of a module, as esbuild writes it. */
const ASYNC = /^var __async = \(__this, __arguments, generator\) => \{\n[^]*?\n\};$/m;

/** Replaces it with that of the SDK, which costs less. The lines keep their numbers. */
function withAsyncOfSdk(code) {
    const first = "var __async = (...call) => (__async = globalThis.__fanfareAsync)(...call);";
    return code.replace(ASYNC, (text) => first + text.replaceAll(/[^\n]/g, ""));
}

function textOf({ outputFiles }, ending) {
    return outputFiles.find(({ path }) => path.endsWith(ending)).text;
}

/** The files whose code is in the bundle. */
function filesOf({ metafile }, cwd) {
    const [output] = Object.entries(metafile.outputs).filter(([path]) => path.endsWith(".js"));
    const files = Object.entries(output[1].inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0);
    return new Set(files.map(([path]) => resolve(cwd, path)));
}

async function pack({ sdk, entry, cwd, snapshot = false, inject = [] }) {
    const source = join(sdk, "src");
    const file = (name) => JSON.stringify(join(source, name));
    const lines = [
        `import { exportsOf, inOwnTurn } from ${file("component/entry.js")};`,
        `import * as module from ${JSON.stringify(entry)};`,
        "export const { describe, handler } = exportsOf(module);",
    ];
    if (snapshot) {
        lines.push(`import { snapshotExport } from ${file("snapshot.js")};`);
        lines.push("export const snapshot = inOwnTurn(snapshotExport);");
    }
    try {
        return await esbuild.build({
            ...COMMON,
            absWorkingDir: cwd,
            conditions: ["fanfare", "import", "default"],
            define: { "process.env.NODE_ENV": '"production"' },
            entryPoints: [ENTRY],
            inject: inject.map((name) => join(source, "globals", `${name}.js`)),
            mainFields: ["module", "main"],
            plugins: [plugin(sdk, lines.join("\n"), cwd)],
            sourcemap: "external",
            sourcesContent: false,
        });
    } catch (error) {
        if (!Array.isArray(error.errors)) throw error;
        throw new BuildError([...new Set(error.errors.map(oneLine))].join("\n"));
    }
}

function plugin(sdk, entryCode, cwd) {
    return {
        name: "fanfare",
        setup(build) {
            build.onResolve({ filter: /^fanfare-entry$/ }, () => ({ path: ENTRY, namespace: ENTRY }));
            build.onLoad({ filter: /.*/, namespace: ENTRY }, () => ({ contents: entryCode, resolveDir: cwd }));
            // One copy of the SDK: that of the build.
            const index = join(sdk, "src", "index.js");
            build.onResolve({ filter: /^fanfare$/ }, () => ({ path: index, sideEffects: false }));
            build.onResolve({ filter: /^fanfare\/testing$/ }, () => ({
                errors: [{ text: "`fanfare/testing` is for tests: a module cannot import it" }],
            }));
            build.onResolve({ filter: /^(fanfare|wasi):/ }, ({ path }) => ({ path, external: true }));
        },
    };
}

/** Returns the names of `PROVIDED` and `MISSING` that the code uses as globals. */
async function globalNames(code) {
    const probes = {
        name: "probes",
        setup(build) {
            build.onResolve({ filter: /^fanfare-probe:/ }, ({ path }) => ({
                path,
                namespace: "probe",
                sideEffects: false,
            }));
            build.onLoad({ filter: /.*/, namespace: "probe" }, ({ path }) => {
                const name = path.slice(PROBE.length);
                return { contents: `const probe = 1; export { probe as ${name}, probe as "globalThis.${name}" };` };
            });
            build.onResolve({ filter: /^(fanfare|wasi):/ }, ({ path }) => ({ path, external: true }));
        },
    };
    const names = [...Object.keys(PROVIDED), ...Object.keys(MISSING)];
    const { metafile } = await esbuild.build({
        ...COMMON,
        inject: names.map((name) => `${PROBE}${name}`),
        plugins: [probes],
        stdin: { contents: code, loader: "js" },
    });
    const inputs = Object.entries(metafile.outputs["out.js"].inputs);
    const used = new Set(inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([path]) => path));
    return names.filter((name) => used.has(`probe:${PROBE}${name}`));
}

/** Fails for a global name that no module has, unless its file asks first whether it exists. */
async function refuseMissing(names, result, sdk, cwd) {
    const missing = names.filter((name) => Object.hasOwn(MISSING, name));
    if (missing.length === 0) return;
    const faults = [];
    for (const path of filesOf(result, cwd)) {
        if (isOfSdk(path, sdk) || !existsSync(path)) continue;
        const text = await readFile(path, "utf8");
        for (const name of missing) {
            if (new RegExp(`typeof\\s+${name}\\b`).test(text)) continue;
            const at = text.search(new RegExp(`(?<![.\\w$"'\`])${name}\\b(?!\\s*:)`));
            if (at < 0) continue;
            const line = text.slice(0, at).split("\n").length;
            const hint = MISSING[name] ? `: ${MISSING[name]}` : "";
            faults.push(`${relative(cwd, path)}:${line}: modules have no \`${name}\`${hint}`);
        }
    }
    if (faults.length > 0) throw new BuildError(faults.join("\n"));
}

function isOfSdk(path, sdk) {
    return ["src", join("node_modules", "core-js-pure"), join("node_modules", "@noble")].some((folder) =>
        path.startsWith(join(sdk, folder)),
    );
}

/** Names of Node.js modules without the prefix `node:`. */
const BUILTINS = new Set(builtinModules);

/** Returns a message of the bundler in one line, with its place. */
function oneLine({ text, location }) {
    const at = location ? `${location.file}:${location.line}:${location.column + 1}: ` : "";
    const [, missing] = /^Could not resolve "([^"]+)"/.exec(text) ?? [];
    if (missing && (missing.startsWith("node:") || BUILTINS.has(missing)))
        return `${at}\`${missing}\` is a part of Node.js, which modules do not have`;
    if (missing?.startsWith(".")) return `${at}there is no file "${missing}"`;
    if (missing) return `${at}the package "${missing}" is not installed. Run: npm install ${packageOf(missing)}`;
    if (text.startsWith("Top-level await"))
        return `${at}\`await\` outside of functions is not supported: use a startup`;
    return `${at}${text}`;
}

function packageOf(path) {
    return path
        .split("/")
        .slice(0, path.startsWith("@") ? 2 : 1)
        .join("/");
}
