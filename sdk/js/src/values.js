// Converts places, causes of calls and entries of the contract.

import { CallError } from "./errors.js";
import { Reply } from "./outcome.js";
import { fromPayload } from "./payload.js";

/** Returns `worker-0`, `broker-0` or `master`. */
export function isolateName({ tag, val }) {
    return tag === "master" ? tag : `${tag}-${val}`;
}

/** Converts the answer of one place. */
export function toEntry({ isolate, node, outcome }) {
    const entry = { isolate: isolateName(isolate), node: node ?? undefined };
    if (outcome.tag === "ok") entry.reply = Reply.fromWit(outcome.val);
    else entry.error = CallError.fromWit(outcome.val);
    return entry;
}

export function toReceipt({ id, seq, accepted, skipped, extra }) {
    const places = skipped.map(({ isolate, node, reason }) => ({
        isolate: isolateName(isolate),
        node: node ?? undefined,
        reason,
    }));
    return { id, seq, accepted, skipped: places, extra: Object.fromEntries(extra) };
}

/** Converts what caused a call. */
export function toTrigger({ tag, val }) {
    switch (tag) {
        case "http":
            return { kind: tag, method: methodName(val.method) };
        case "channel":
            return {
                kind: tag,
                channel: val.channel,
                action: optionName(val.action),
                session: val.session ?? undefined,
            };
        case "startup":
            return { kind: tag, name: val.name, reason: optionName(val.reason) };
        case "subscription":
            return { kind: tag, ...val, id: val.id ?? undefined };
        case "other":
            return { kind: val[0], ...parsed(val[1]) };
        default:
            return { kind: tag, ...val };
    }
}

/** The data of a kind that a later version adds. `stream` has `key` and `lastEventId`. */
function parsed(json) {
    try {
        return JSON.parse(json);
    } catch {
        return { data: json };
    }
}

function methodName({ tag, val }) {
    return tag === "other" ? val : tag.toUpperCase();
}

function optionName({ tag, val }) {
    return tag === "other" ? val : tag;
}

/** Converts who made a call. */
export function toOrigin({ tag, val }) {
    switch (tag) {
        case "session":
            return { kind: tag, session: val };
        case "guest":
            return { kind: tag, module: val.module, isolate: isolateName(val.isolate), node: val.node ?? undefined };
        case "other":
            return { kind: val[0], id: val[1] };
        default:
            return { kind: tag };
    }
}

/** Converts the facts of a session. */
export function toSession(session) {
    if (!session) return undefined;
    const { uid, claims, sinceMs, extra, ...rest } = session;
    return {
        ...rest,
        uid: uid ?? undefined,
        claims: claims === null || claims === undefined ? undefined : JSON.parse(claims),
        sinceMs: Number(sinceMs),
        extra: Object.fromEntries(extra),
    };
}

/** Converts a message of a channel. */
export function toMessage({ offset, atMs, session, payload, extra }) {
    return {
        offset,
        atMs,
        session: session ?? undefined,
        payload: fromPayload(payload),
        extra: Object.fromEntries(extra),
    };
}

/** Converts a member of a channel. */
export function toMember({ session, uid, info }) {
    return { session, uid: uid ?? undefined, info: info === null || info === undefined ? undefined : jsonOrText(info) };
}

/** What a client subscribed with is JSON, and what a route passed in its place may be any text. */
function jsonOrText(text) {
    try {
        return JSON.parse(text);
    } catch {
        return text;
    }
}
