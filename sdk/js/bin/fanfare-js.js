#!/usr/bin/env node
// fanfare-js build <entry> -o <component>

import { dirname } from "node:path";
import { parseArgs } from "node:util";

const USAGE = `usage: fanfare-js build <entry.js|entry.ts> -o <component.wasm>

Builds the component of a Fanfare module.`;

function fail(message, code) {
    console.error(message);
    process.exit(code);
}

const options = { output: { type: "string", short: "o" }, help: { type: "boolean", short: "h" } };
let parsed;
try {
    parsed = parseArgs({ allowPositionals: true, options });
} catch (error) {
    fail(`${error.message}\n${USAGE}`, 2);
}
const { values, positionals } = parsed;
if (values.help) {
    console.log(USAGE);
    process.exit(0);
}
const [command, entry, ...more] = positionals;
if (command !== "build" || !entry || more.length > 0 || !values.output) fail(USAGE, 2);
const started = performance.now();
const { BuildError, build } = await import("../build/index.js").catch((error) => {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    const folder = dirname(import.meta.dirname);
    return fail(`${error.message}. Run: npm ci --prefix ${folder}`, 1);
});
try {
    const { size, warnings } = await build({ entry, output: values.output });
    for (const warning of warnings) console.error(`warning: ${warning}`);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`${values.output}: ${(size / 1024 / 1024).toFixed(1)} MiB, built in ${seconds} s`);
} catch (error) {
    if (!(error instanceof BuildError)) throw error;
    fail(error.message, 1);
}
