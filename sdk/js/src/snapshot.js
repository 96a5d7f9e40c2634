import { bytesOf, jsonOf, toJson } from "./payload.js";
import { describe, isUnexpected } from "./errors.js";
import { report } from "./handler.js";

let functions;

/**
 * Hands the state of the module over during a swap. `save` returns it: bytes, or any value that
 * JSON can hold. `load` gets this value, and the digest of the previous generation.
 */
export function snapshot({ save, load }) {
    if (functions) throw new Error("`snapshot` was called twice: a module has one state");
    functions = { save, load };
    return functions;
}

/** The interface `snapshot` of the contract. */
export const snapshotExport = {
    async save() {
        try {
            const state = await functions.save();
            if (state instanceof Uint8Array) return { tag: "bytes", val: state };
            return { tag: "text", val: toJson(state) };
        } catch (error) {
            throw refused(error);
        }
    },

    async load(from, state) {
        try {
            await functions.load(state.tag === "bytes" ? bytesOf(state) : jsonOf(state), from);
        } catch (error) {
            throw refused(error);
        }
    },
};

function refused(error) {
    if (isUnexpected(error)) report(error);
    return describe(error);
}

/** Returns the functions of the module that was loaded last, and forgets them, for `testing`. */
export function takeSnapshot() {
    const taken = functions;
    functions = undefined;
    return taken;
}
