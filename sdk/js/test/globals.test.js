// The checks of `conformance/checks.js` hold for Node.js, whose global names are the model.

import assert from "node:assert/strict";
import { test } from "node:test";
import { runChecks } from "../conformance/checks.js";

test("the checks of global names are right", async () => {
    for (const [name, result] of Object.entries(await runChecks())) assert.equal(result, true, name);
});
