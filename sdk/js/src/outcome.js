import { anyText, Failure } from "./errors.js";
import { Body, rawPayload, toPayload } from "./payload.js";

const JSON_TYPE = "application/json";

/** A reply: of a handler, or of another route that a handler called. */
export class Reply extends Body {
    constructor(payload, { status = 0, headers = [] } = {}) {
        super(payload);
        this.status = status;
        /** The header fields, as pairs of name and value. */
        this.fields = headers;
    }

    /** The header fields by name, in lower case. The values of a repeated field are joined. */
    get headers() {
        return byName(this.fields);
    }

    static fromWit({ status, headers, payload }) {
        return new Reply(payload, { status, headers });
    }

    toWit() {
        const { status } = this;
        if (!Number.isInteger(status) || (status !== 0 && (status < 200 || status > 599))) {
            throw new Failure("invalid-result", `the status of a reply is 200 to 599, not ${anyText(status)}`);
        }
        return { status, headers: this.fields, payload: rawPayload(this), extra: [] };
    }
}

/** Returns fields by name, in lower case. A comma joins the values of a repeated field. */
export function byName(fields) {
    const all = {};
    for (const [name, value] of fields) {
        const key = name.toLowerCase();
        all[key] = Object.hasOwn(all, key) ? `${all[key]}, ${value}` : value;
    }
    return all;
}

/** Creates a reply with a status and header fields. A list as the value repeats the field. */
export function reply(body, { status = 0, headers } = {}) {
    const fields = [];
    let typed = false;
    if (headers) {
        for (const [name, value] of headers[Symbol.iterator] ? headers : Object.entries(headers)) {
            const key = anyText(name).toLowerCase();
            typed ||= key === "content-type";
            if (!Array.isArray(value)) fields.push([key, anyText(value)]);
            else for (const one of value) fields.push([key, anyText(one)]);
        }
    }
    const payload = serialised(body);
    if (!typed && isJson(body, payload)) fields.push(["content-type", JSON_TYPE]);
    return new Reply(payload, { status, headers: fields });
}

/** Whether a payload is a value in JSON. */
function isJson(value, { tag }) {
    return tag === "text" && typeof value !== "string";
}

/** The call continues with its next step. */
export class Pass {
    constructor(payload, extra) {
        this.payload = payload;
        this.extra = extra;
    }
}

/** Lets the call continue, with another payload if given. `extra`: facts for the next steps. */
export function pass({ payload, extra = {} } = {}) {
    return new Pass(payload, extra);
}

function serialised(value) {
    try {
        return toPayload(value);
    } catch (error) {
        throw new Failure("invalid-result", `the result of the handler cannot be sent: ${error.message}`);
    }
}

/** Converts the result of a handler to the outcome of the contract. */
export function toOutcome(value) {
    if (typeof value === "object" && value !== null) {
        // To return a failure means to throw it.
        if (value instanceof Error) throw value;
        if (value instanceof Reply) return { tag: "reply", val: value.toWit() };
        if (value instanceof Pass) {
            const payload = value.payload === undefined ? null : serialised(value.payload);
            const extra = Object.entries(value.extra).map((pair) => pair.map(anyText));
            return { tag: "pass", val: { payload, extra } };
        }
    }
    const payload = serialised(value);
    const headers = isJson(value, payload) ? [["content-type", JSON_TYPE]] : [];
    return { tag: "reply", val: { status: 0, headers, payload, extra: [] } };
}
