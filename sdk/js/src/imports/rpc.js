import { wit } from "../backend.js";
import { later, now } from "../errors.js";
import { Reply } from "../outcome.js";
import { toOptionalText, toPayload, toText } from "../payload.js";
import { toEntry } from "../values.js";
import { EXTRA, me, toAddress, toGroup, toMillis, toTarget } from "./arguments.js";

/** Calls a route in one place, and waits for its reply. */
export async function call(route, payload, options = {}) {
    const target = toTarget(options.to);
    const reply = wit.rpc.call(me(), target, toText(route, "a route"), toPayload(payload), callOptions(options));
    return Reply.fromWit(await later(reply));
}

/** Calls a route in several places, and waits for all. Resolves with one entry per place. */
export async function callEvery(route, payload, options = {}) {
    const group = toGroup(options.to);
    const entries = wit.rpc.callEvery(me(), group, toText(route, "a route"), toPayload(payload), callOptions(options));
    return (await later(entries)).map(toEntry);
}

/** Queues a call in one place or several, and returns the number of places that accepted it. */
export function notify(route, payload, options = {}) {
    const address = toAddress(options.to);
    return now(wit.rpc.notify, me(), address, toText(route, "a route"), toPayload(payload), callOptions(options));
}

function callOptions({ timeout, subdomain }) {
    return { timeoutMs: toMillis(timeout), subdomain: toOptionalText(subdomain, "the subdomain"), extra: EXTRA };
}
