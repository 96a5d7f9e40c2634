import { wit } from "../backend.js";
import { later, now } from "../errors.js";
import { toOptionalText, toPayload, toText } from "../payload.js";
import { toEntry, toReceipt } from "../values.js";
import { EXTRA, me, toMillis } from "./arguments.js";

/** Queues a broadcast in every worker, or in none, and returns at once. */
export function emit(name, payload, options = {}) {
    return toReceipt(now(wit.broadcast.emit, me(), emission(name, options), toPayload(payload)));
}

/** Emits a durable broadcast. Resolves when the stream of the cluster has it. */
export async function emitDurable(name, payload, options = {}) {
    return toReceipt(await later(wit.durable.emit(me(), emission(name, options), toPayload(payload))));
}

/** Emits a broadcast, then waits for all workers. Resolves with one entry per worker. */
export async function gather(name, payload, options = {}) {
    const timeout = toMillis(options.timeout);
    const entries = wit.broadcast.gather(me(), emission(name, options), toPayload(payload), timeout);
    return (await later(entries)).map(toEntry);
}

/** Requests a reload of a module, or of all modules without a name. */
export function reload(module) {
    return toReceipt(now(wit.broadcast.reload, me(), toOptionalText(module, "the module")));
}

function emission(name, { module, subdomain }) {
    return {
        module: toOptionalText(module, "the module"),
        name: toText(name, "the name of a broadcast"),
        subdomain: toOptionalText(subdomain, "the subdomain"),
        extra: EXTRA,
    };
}
