// Runs the cases of `web.js` in a host: node run.js <fanfare> <web.wasm>

import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const [fanfare, component] = process.argv.slice(2).map((path) => resolve(path));
const project = mkdtempSync(join(tmpdir(), "fanfare-web-"));
const folder = join(project, "modules", "web");
try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(project, "fanfare.json"), "{}");
    copyFileSync(component, join(folder, "web.wasm"));
    copyFileSync(join(import.meta.dirname, "web.test.json"), join(folder, "web.test.json"));
    const manifest = JSON.parse(readFileSync(join(import.meta.dirname, "web.json"), "utf8"));
    manifest.capabilities = { env: ["REGION"] };
    writeFileSync(join(folder, "module.json"), JSON.stringify(manifest));
    process.exitCode = spawnSync(fanfare, ["test"], { cwd: project, stdio: "inherit" }).status ?? 1;
} finally {
    rmSync(project, { recursive: true });
}
