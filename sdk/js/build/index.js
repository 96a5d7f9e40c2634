// Builds a component from a module in JavaScript or TypeScript.

import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "./bundle.js";
import { BuildError, readable } from "./errors.js";

const SDK = dirname(dirname(fileURLToPath(import.meta.url)));

export { BuildError };

/**
 * Builds the component of a module, and writes it by renaming a finished file.
 *
 * @param {{ entry: string, output: string, cwd?: string }} options
 * @returns {Promise<{ size: number, warnings: string[] }>}
 */
export async function build({ entry, output, cwd = process.cwd() }) {
    const { code, uses, warnings } = await bundle({ sdk: SDK, entry: resolve(cwd, entry), cwd });
    const component = await componentize(code, uses);
    const path = resolve(cwd, output);
    await mkdir(dirname(path), { recursive: true });
    const unfinished = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
    try {
        await writeFile(unfinished, component);
        await rename(unfinished, path);
    } catch (error) {
        await rm(unfinished, { force: true });
        throw new BuildError(`cannot write ${relative(cwd, path) || path}: ${error.message}`);
    }
    return { size: component.length, warnings };
}

async function componentize(code, uses) {
    const tool = await import("componentize-qjs").catch((error) => {
        throw new BuildError(`componentize-qjs cannot be loaded: ${error.message}. Run: npm install`);
    });
    const folder = await mkdtemp(join(tmpdir(), "fanfare-js-"));
    try {
        await stage(folder, uses);
        const { component } = await tool.componentize({ witPath: folder, world: "guest", jsSource: code });
        return component;
    } catch (error) {
        throw error instanceof BuildError ? error : new BuildError(readable(error, code));
    } finally {
        await rm(folder, { recursive: true, force: true });
    }
}

/** Writes the world of the component: the contract, and what the module uses besides. */
async function stage(folder, uses) {
    const extras = [];
    if (uses.snapshot) extras.push("export fanfare:module/snapshot@0.1.0;");
    if (uses.timers) extras.push("import wasi:clocks/monotonic-clock@0.3.0;");
    const world = [
        "package fanfare:sdk-js;",
        "world guest {",
        "include fanfare:module/module@0.1.0;",
        "export fanfare:module/describe@0.1.0;",
        "import wasi:cli/environment@0.2.0;",
        "import wasi:random/random@0.2.0;",
        ...extras,
        "/// Nothing calls this export. It adds the type `future<u8>`, for which a call waits.",
        "export wake: func(wake: future<u8>);",
        "}",
    ];
    await writeFile(join(folder, "guest.wit"), world.join("\n"));
    await copyAll(contract(), join(folder, "deps", "fanfare-module"));
    const wasi = join(SDK, "wit", "wasi");
    const packages = ["cli", "random"];
    if (uses.timers) packages.push("clocks");
    for (const name of packages) await copyAll(join(wasi, name), join(folder, "deps", name));
}

/** The folder with the contract: that of the checkout, or the copy in the package. */
function contract() {
    const checkout = basename(dirname(SDK)) === "sdk" && join(SDK, "..", "..", "wit");
    return checkout && existsSync(join(checkout, "worlds.wit")) ? checkout : join(SDK, "wit", "fanfare-module");
}

async function copyAll(from, to) {
    await mkdir(to, { recursive: true });
    for (const name of await readdir(from)) if (name.endsWith(".wit")) await copyFile(join(from, name), join(to, name));
}
