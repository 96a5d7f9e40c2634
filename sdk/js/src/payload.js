// Converts values of JavaScript to payloads of the contract and back.

import { decode, encode } from "./text.js";

export const NONE = { tag: "none" };

/** Returns the payload of a value: text, bytes, nothing for `null`, or any other value as JSON. */
export function toPayload(value) {
    if (value === undefined || value === null) return NONE;
    // A surrogate without its partner has no form in UTF-8, and would end the instance.
    if (typeof value === "string") return { tag: "text", val: value.toWellFormed() };
    const bytes = asBytes(value);
    return bytes ? { tag: "bytes", val: bytes } : { tag: "text", val: toJson(value) };
}

/** Returns a text for the host. Numbers become text; anything else is a fault of the caller. */
export function toText(value, what) {
    if (typeof value === "string") return value.toWellFormed();
    if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return String(value);
    throw new TypeError(`${what} must be a string, not ${value === null ? "null" : typeof value}`);
}

/** Returns a text for the host, or `null` for no text. */
export function toOptionalText(value, what) {
    return value === undefined || value === null ? null : toText(value, what);
}

/** Returns the value as JSON text. */
export function toJson(value) {
    const text = JSON.stringify(value ?? null);
    if (text === undefined) throw new TypeError(`a ${typeof value} has no form in JSON`);
    return text;
}

/** Returns whether `toPayload` sends the value as JSON. */
export function isJson(value) {
    return value !== undefined && value !== null && typeof value !== "string" && !asBytes(value);
}

function asBytes(value) {
    if (typeof value !== "object") return undefined;
    if (value instanceof Uint8Array) return value;
    if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return value instanceof ArrayBuffer ? new Uint8Array(value) : undefined;
}

/** Returns a payload as it is: a string, a `Uint8Array` or `undefined`. */
export function fromPayload({ tag, val }) {
    return tag === "none" ? undefined : val;
}

/** Returns a payload as text. Throws a `TypeError` when its bytes are not UTF-8. */
export function textOf({ tag, val }) {
    if (tag === "none") return "";
    return tag === "text" ? val : decode(val, true);
}

/** Returns a payload as bytes. */
export function bytesOf({ tag, val }) {
    if (tag === "none") return new Uint8Array();
    return tag === "text" ? encode(val) : val;
}

/** Parses a payload as JSON. Nothing is `null`. */
export function jsonOf(payload) {
    return payload.tag === "none" ? null : JSON.parse(textOf(payload));
}

/**
 * Returns the payload of a body as the contract writes it.
 *
 * @type {(body: Body) => any}
 */
export let rawPayload;

/** A body with the three ways to read it. */
export class Body {
    #payload;

    static {
        rawPayload = (body) => body.#payload;
    }

    constructor(payload) {
        this.#payload = payload;
    }

    /** The body as it was sent: a string, a `Uint8Array` or `undefined`. */
    get payload() {
        return fromPayload(this.#payload);
    }

    get text() {
        return textOf(this.#payload);
    }

    get bytes() {
        return bytesOf(this.#payload);
    }

    get json() {
        return jsonOf(this.#payload);
    }
}
