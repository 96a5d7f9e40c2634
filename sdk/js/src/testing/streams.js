// Live streams of a test.

import { plainError, refused } from "./calls.js";
import { Rejection } from "./client.js";
import { best } from "./routes.js";
import { Reply } from "../outcome.js";
import { encode } from "../text.js";

/** The most bytes of a key, as in a host. */
const MAX_KEY = 256;

function checkKey(key) {
    if (key === undefined || (encode(key).length <= MAX_KEY && !/\p{Cc}/u.test(key))) return;
    const rule = `a stream key has at most ${MAX_KEY} bytes and no control characters`;
    throw refused("invalid", `${rule}, found ${JSON.stringify(key)}`);
}

function checkEvent({ data, event, id }) {
    const breaks = (text) => typeof text === "string" && /[\r\n\0]/.test(text);
    if (data.tag === "bytes") throw refused("invalid", "the data of an event must be UTF-8");
    if (breaks(event)) throw refused("invalid", "the type of an event must have no line break");
    if (breaks(id)) throw refused("invalid", "the id of an event must have no line break");
}

/** An event as a test reads it. */
function plainEvent({ data, event, id, retryMs, comment }) {
    return {
        data: data.val,
        event: event ?? undefined,
        id: id ?? undefined,
        retry: retryMs ?? undefined,
        comment: comment ?? undefined,
    };
}

/** An open stream, which collects what is published to its key. */
export class Reader {
    #state;

    constructor(state) {
        this.#state = state;
    }

    /** The events received so far, in order. */
    get events() {
        return [...this.#state.events];
    }

    /** Whether neither the module nor the reader has closed it. */
    get open() {
        return this.#state.open;
    }

    /** Closes the stream, as a client does that leaves. */
    close() {
        this.#state.open = false;
    }
}

export class Streams {
    #all = [];
    #manifest;

    constructor(host, manifest) {
        this.host = host;
        this.#manifest = manifest;
    }

    /** Asks the route that the manifest names for the key, and opens the stream if it admits the reader. */
    async open(key, { on = 0, lastEventId, subdomain, headers = {} } = {}) {
        if (!(on < this.host.workers)) throw new TypeError(`there is no worker-${on}`);
        const path = best(this.#manifest.streams, key)?.path;
        const ask = async () => {
            checkKey(key);
            if (path === undefined) return { tag: "pass" };
            return this.host.runRoute(this.host.routeOf(path), "", { tag: "none" }, {
                worker: on,
                subdomain,
                headers: Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]),
                head: { path: "/stream", scheme: "http", authority: "test", peer: "127.0.0.1:1" },
                trigger: { tag: "other", val: ["stream", JSON.stringify({ key, lastEventId: lastEventId ?? null })] },
                origin: { tag: "client" },
            });
        };
        const outcome = await ask().catch((error) => {
            const cause = plainError(error);
            throw cause === error ? error : new Rejection({ status: cause.toFailure().status, cause });
        });
        if (outcome.tag === "reply" && outcome.val.status >= 300)
            throw new Rejection({ status: outcome.val.status, reply: Reply.fromWit(outcome.val) });
        const state = { key, worker: on, events: [], open: true };
        this.#all.push(state);
        return new Reader(state);
    }

    #reached(key, worker, reach) {
        return this.#all.filter(
            (reader) =>
                reader.open && (key === undefined || reader.key === key) && (reach !== "this-worker" || reader.worker === worker),
        );
    }

    publish(key, event, worker, reach) {
        checkKey(key);
        checkEvent(event);
        this.host.published.push({ key, ...plainEvent(event), reach });
        const readers = this.#reached(key, worker, reach);
        for (const { events } of readers) events.push(plainEvent(event));
        return readers.length;
    }

    close(key, worker, reach) {
        checkKey(key);
        const readers = this.#reached(key, worker, reach);
        for (const reader of readers) reader.open = false;
        return readers.length;
    }

    count(key) {
        return this.#reached(key).length;
    }
}
