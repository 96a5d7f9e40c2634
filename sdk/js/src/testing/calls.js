// The calls that run in tests, and their errors.

import { caller } from "../current.js";
import { CallError, Failure, toFailure } from "../errors.js";

/** The calls of all hosts of the process: the host, the worker and the session of each. */
export const running = new Map();

/** An error of the contract: a variant `call-error`. */
export function refused(tag, val) {
    return { payload: { tag, val } };
}

/** Returns what is known of a call, or of the current one. */
export function at(call) {
    const found = running.get(call ?? caller());
    if (!found) throw new Error("this function of the host is used outside of a call of a `TestHost`");
    return found;
}

/** Converts an error of the contract to a `CallError`. */
export function plainError(error) {
    return error?.payload?.tag ? CallError.fromWit(error.payload) : error;
}

/** Converts the errors of a promise, or of a function that returns one. */
export async function plain(promise) {
    try {
        return await (typeof promise === "function" ? promise() : promise);
    } catch (error) {
        throw plainError(error);
    }
}

/** Converts what a function of the test throws to an error of the contract. */
export function refusal(error) {
    if (!(error instanceof CallError) || error.kind === "failure") return refused("failure", toFailure(error).toWit());
    return refused(error.kind, error.kind === "timeout" ? undefined : error.message);
}

/** Returns the payload that a route passed, if any, or throws why it refuses. */
export function allowed({ tag, val }) {
    if (tag === "pass") return val.payload ?? undefined;
    if (val.status < 300) return undefined;
    const failure = new Failure("refused", "the route of the channel refuses this", { status: val.status });
    throw refused("failure", failure.toWit());
}
