import { wit } from "../backend.js";
import { toOptionalText, toText } from "../payload.js";

/** Returns the nodes that calls can reach now, of a server type or all of them, sorted by id. */
export function list(server) {
    return wit.nodes.list(toOptionalText(server, "a server type")).map(fromWit);
}

/** Returns the node with this id, or `undefined` when no such node can be reached. */
export function get(id) {
    const node = wit.nodes.get(toText(id, "a node"));
    return node ? fromWit(node) : undefined;
}

function fromWit({ id, server, frontend, workers, settings, sinceMs, extra }) {
    return {
        id,
        server,
        frontend,
        workers,
        settings: JSON.parse(settings),
        sinceMs: Number(sinceMs),
        extra: Object.fromEntries(extra),
    };
}
