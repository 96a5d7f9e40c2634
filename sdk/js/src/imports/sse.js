import { wit } from "../backend.js";
import { now } from "../errors.js";
import { toOptionalText, toPayload, toText } from "../payload.js";
import { EXTRA, me, toMillis } from "./arguments.js";

const EVERYWHERE = "everywhere";
const REACHES = [EVERYWHERE, "this-node", "this-worker"];

/** Sends an event to every client of a key. Returns the number of clients of this node. */
export function publish(key, data, options = {}) {
    return now(wit.sse.publish, me(), toText(key, "a key"), toEvent(data, options), toReach(options));
}

/** Sends an event to the clients of all keys. */
export function publishAll(data, options = {}) {
    return now(wit.sse.publishAll, me(), toEvent(data, options), toReach(options));
}

/** Closes the connections of a key. Returns their number on this node. */
export function close(key, { reach = EVERYWHERE } = {}) {
    return now(wit.sse.close, me(), toText(key, "a key"), toReach({ reach }));
}

/** Closes the connections of all keys. */
export function closeAll({ reach = EVERYWHERE } = {}) {
    return now(wit.sse.closeAll, me(), toReach({ reach }));
}

/** Returns the number of open connections of a key, or of all keys without one. */
export function count(key) {
    return wit.sse.count(toOptionalText(key, "a key"));
}

function toEvent(data, { event, id, retry, comment }) {
    return {
        data: toPayload(data),
        event: toOptionalText(event, "the type of an event"),
        id: toOptionalText(id, "the id of an event"),
        retryMs: toMillis(retry),
        comment: toOptionalText(comment, "a comment"),
        extra: EXTRA,
    };
}

function toReach({ reach = EVERYWHERE }) {
    if (REACHES.includes(reach)) return reach;
    throw new TypeError(`there is no reach ${JSON.stringify(reach)}: use ${REACHES.join(", ")}`);
}
