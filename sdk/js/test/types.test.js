// The types of the package, as the compiler of TypeScript sees them.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

const SDK = join(import.meta.dirname, "..");
const TSC = join(SDK, "node_modules", "typescript", "bin", "tsc");

test("the types accept what a module may write, and nothing else", async () => {
    const options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "--lib", "es2023,dom"];
    const files = ["test/types.ts", "test/fixtures/shop.ts"].map((name) => join(SDK, name));
    const compiled = await promisify(execFile)(
        process.execPath,
        [TSC, ...options, "--noUncheckedIndexedAccess", ...files],
        {
            cwd: SDK,
        },
    ).catch((error) => error);
    assert.equal(compiled.stdout, "");
    assert.equal(compiled.code, undefined);
});
