import { now, Failure } from "./errors.js";
import { byName } from "./outcome.js";
import { bytesOf, fromPayload, jsonOf, textOf } from "./payload.js";
import { wit } from "./backend.js";
import { toOrigin, toTrigger } from "./values.js";
import { current as currentSession } from "./imports/sessions.js";
import { queryPairs } from "./query.js";

/** One call of a handler: its input, and who made it. */
export class Call {
    /** The record of the contract. */
    #call;

    /** The values of getters that were read. */
    #read;

    constructor(call) {
        this.#call = call;
    }

    #once(name, read) {
        const known = (this.#read ??= new Map());
        if (!known.has(name)) known.set(name, read());
        return known.get(name);
    }

    /** The number of the call, unique on its node. */
    get id() {
        return this.#call.id;
    }

    /** The name of the handler. */
    get handler() {
        return this.#call.handler;
    }

    /** The values of the `{name}` segments of the path, decoded. */
    get params() {
        return this.#once("params", () => Object.fromEntries(this.#call.params));
    }

    /** The parameters of the query, decoded. Of a repeated name, the first value. */
    get query() {
        return this.#once("query", () => {
            const all = {};
            for (const [name, value] of queryPairs(this.#call.query)) if (!Object.hasOwn(all, name)) all[name] = value;
            return all;
        });
    }

    /** The query as it was sent, without its `?`. */
    get queryString() {
        return this.#call.query;
    }

    /** The method of an HTTP request, such as `GET`. `undefined` for any other trigger. */
    get method() {
        return this.trigger.method;
    }

    /** The header fields of an HTTP request by name, in lower case. */
    get headers() {
        return this.#once("headers", () => byName(wit.http.headers(this.id)));
    }

    /** Path, scheme, authority and peer of an HTTP request. `undefined` for any other trigger. */
    get head() {
        return this.#once("head", () => wit.http.head(this.id) ?? undefined);
    }

    /** The body, parsed as JSON. Ends the call with `invalid-body` (400) when it is not JSON. */
    get json() {
        return this.#once("json", () => {
            if (this.#call.payload.tag === "none") throw refused("the body is empty: this route expects JSON");
            try {
                return jsonOf(this.#call.payload);
            } catch (error) {
                throw refused(`the body is not the JSON that this route expects: ${error.message}`);
            }
        });
    }

    /** The body as text. Ends the call with `invalid-body` (400) when it is not UTF-8. */
    get text() {
        const { payload } = this.#call;
        if (payload.tag === "text") return payload.val;
        return this.#once("text", () => {
            try {
                return textOf(payload);
            } catch {
                throw refused("the body is not valid UTF-8: this route expects text");
            }
        });
    }

    /** The body as bytes. */
    get bytes() {
        return this.#once("bytes", () => bytesOf(this.#call.payload));
    }

    /** The body as it was sent: a string, a `Uint8Array` or `undefined`. */
    get payload() {
        return fromPayload(this.#call.payload);
    }

    /** What caused the call: `kind`, and the fields of this kind. */
    get trigger() {
        return this.#once("trigger", () => toTrigger(this.#call.trigger));
    }

    /** Who made the call. */
    get origin() {
        return this.#once("origin", () => toOrigin(this.#call.origin));
    }

    /** The session of a connected client, or `undefined`. */
    get session() {
        return this.#once("session", () => now(currentSession));
    }

    /** The tenant that the call belongs to, or `undefined`. */
    get subdomain() {
        return this.#call.subdomain ?? undefined;
    }

    /** The milliseconds that were left when the call started. */
    get deadlineMs() {
        return this.#call.deadlineMs;
    }

    /** Facts that middlewares passed on, each named `<module>.<name>`. */
    get extra() {
        return this.#once("extra", () => Object.fromEntries(this.#call.extra));
    }
}

function refused(message) {
    return new Failure("invalid-body", message, { status: 400 });
}
