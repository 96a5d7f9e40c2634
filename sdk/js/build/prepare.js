// Copies the contract into the package. In a checkout, the build uses `wit/` of the repository.

import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";

const sdk = join(import.meta.dirname, "..");
const from = join(sdk, "..", "..", "wit");
const to = join(sdk, "wit", "fanfare-module");
if (existsSync(join(from, "worlds.wit"))) {
    await mkdir(to, { recursive: true });
    for (const name of await readdir(from)) if (name.endsWith(".wit")) await copyFile(join(from, name), join(to, name));
}
