// Loads a module into a worker of a test: once for each worker, so that each has memory of its own.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { collect } from "../handler.js";
import { takeSnapshot } from "../snapshot.js";

/** One load at a time, because `snapshot` registers the state of the module that is loading. */
let turn = Promise.resolve();

/** Bundles the module, and returns a function that loads it once more. */
export async function loader(entry) {
    const { code } = await bundled(
        entry instanceof URL || String(entry).startsWith("file:") ? fileURLToPath(entry) : entry,
    );
    const folder = await mkdtemp(join(tmpdir(), "fanfare-test-"));
    const file = join(folder, "module.mjs");
    await writeFile(file, code);
    let loads = 0;
    return {
        load() {
            const loaded = turn.then(async () => {
                takeSnapshot();
                const handlers = collect(await import(`${pathToFileURL(file)}?load=${++loads}`));
                return { handlers, snapshot: takeSnapshot() };
            });
            turn = loaded.catch(() => {});
            return loaded;
        },
        remove: () => rm(folder, { recursive: true, force: true }),
    };
}

async function bundled(entry) {
    const esbuild = await import("esbuild");
    const external = (file) => ({ path: new URL(file, import.meta.url).href, external: true });
    const { outputFiles } = await esbuild.build({
        bundle: true,
        entryPoints: [entry],
        format: "esm",
        inject: [fileURLToPath(new URL("globals.js", import.meta.url))],
        logLevel: "error",
        platform: "node",
        plugins: [
            {
                name: "fanfare",
                setup(build) {
                    build.onResolve({ filter: /^fanfare$/ }, () => external("../index.js"));
                    build.onResolve({ filter: /^fanfare:fetch$/ }, () => external("../globals/fetch.js"));
                },
            },
        ],
        // Errors of handlers name the lines of the source, with `node --enable-source-maps`.
        sourcemap: "inline",
        target: "node20",
        write: false,
    });
    return { code: outputFiles[0].text };
}
