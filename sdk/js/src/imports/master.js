import { wit } from "../backend.js";
import { later, now } from "../errors.js";
import { fromPayload, toPayload, toText } from "../payload.js";
import { me, toMillis } from "./arguments.js";

/** Returns the host's option at a JSON Pointer, or all options. `undefined`: no such option. */
export function options(pointer = "") {
    const text = wit.master.options(toText(pointer, "a pointer"));
    return text === null || text === undefined ? undefined : JSON.parse(text);
}

/** Sends a message to the embedding program, and returns without waiting for its reply. */
export function post(payload) {
    now(wit.master.post, me(), toPayload(payload));
}

/** Sends a message to the embedding program, and resolves with its reply. */
export async function send(payload, { timeout } = {}) {
    return fromPayload(await later(wit.masterAwait.send(me(), toPayload(payload), toMillis(timeout))));
}
