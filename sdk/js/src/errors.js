import { Body, toPayload } from "./payload.js";

/** The HTTP status of each kind of call error, as in the problem documents of the host. */
const STATUSES = {
    timeout: 504,
    "not-found": 404,
    forbidden: 403,
    overloaded: 503,
    unavailable: 503,
    crashed: 500,
    "would-deadlock": 508,
    "too-deep": 508,
    invalid: 400,
};

/** The status of a failure without a valid one. */
const DEFAULT_STATUS = 500;

/** The status of a kind that a later version of the contract adds. */
const OTHER_STATUS = 502;

function statusOf({ status }) {
    return status >= 400 && status <= 599 ? Math.trunc(status) : DEFAULT_STATUS;
}

/** How a handler refuses a call: a name to match on, a sentence for a person, a status and data. */
export class Failure extends Error {
    #data;

    /** Whether another call returned it, which has logged it. */
    #isReturned = false;

    constructor(name, message, { status = 500, data, extra = {}, cause } = {}) {
        super(message, cause === undefined ? undefined : { cause });
        this.name = name;
        this.status = status;
        this.extra = extra;
        this.#data = toPayload(data);
    }

    /** The data for the caller's program. */
    get data() {
        return new Body(this.#data);
    }

    static fromWit({ name, message, status, data, extra }) {
        const failure = new Failure(name, message, { status, extra: Object.fromEntries(extra) });
        failure.#data = data;
        failure.#isReturned = true;
        return failure;
    }

    /** Whether it is a fault of the module, which the log should have. */
    isFault() {
        return !this.#isReturned && statusOf(this) === DEFAULT_STATUS && !Object.hasOwn(this.extra ?? {}, "silent");
    }

    toWit() {
        const { name, message, extra } = this;
        return {
            name: anyText(name),
            message: anyText(message),
            status: statusOf(this),
            data: this.#data,
            extra: Object.entries(extra ?? {}).map((pair) => pair.map(anyText)),
        };
    }
}

/** Why a function of the host failed, or a call to a route returned no reply. */
export class CallError extends Error {
    constructor(kind, message, failure) {
        super(message);
        this.name = "CallError";
        /** The name of the kind: `failure`, `timeout`, `not-found`, `forbidden` and so on. */
        this.kind = kind;
        /** The failure that the handler returned, when the kind is `failure`. */
        this.failure = failure;
    }

    static fromWit({ tag, val }) {
        switch (tag) {
            case "failure": {
                const failure = Failure.fromWit(val);
                return new CallError(tag, `${failure.name}: ${failure.message}`, failure);
            }
            case "timeout":
                return new CallError(tag, "no answer by the deadline");
            case "other":
                return new CallError(val[0], val[1]);
            default:
                return new CallError(tag, val);
        }
    }

    /** Returns the failure that it contains, or one with the kind as its name. */
    toFailure() {
        if (this.failure) return this.failure;
        return new Failure(this.kind, this.message, { status: STATUSES[this.kind] ?? OTHER_STATUS });
    }
}

/** Returns the failure with which a thrown value ends its call. */
export function toFailure(error) {
    if (error instanceof Failure) return error;
    if (error instanceof CallError) return error.toFailure();
    return new Failure("error", describe(error));
}

/** Whether the log should have what a handler has thrown: what ends in a failure with status 500. */
export function isFault(error) {
    return error instanceof Failure ? error.isFault() : !(error instanceof CallError);
}

/** Whether a thrown value is neither a failure nor an error of a call. */
export function isUnexpected(error) {
    return !(error instanceof Failure || error instanceof CallError);
}

/** How many causes of an error to write. */
const MOST_CAUSES = 8;

/** Returns the text of a thrown value, with its causes. */
export function describe(error, depth = 0) {
    if (!(error instanceof Error)) return anyText(error);
    const message = anyText(error.message || error.name);
    if (error.cause === undefined || depth === MOST_CAUSES) return message;
    return `${message}: ${describe(error.cause, depth + 1)}`;
}

/** Returns any value as text that the host accepts, even one that cannot be converted. */
export function anyText(value) {
    try {
        return String(value).toWellFormed();
    } catch {
        return `[${typeof value}]`;
    }
}

/** Calls a function of the host that returns at once. Its error becomes a `CallError`. */
export function now(fn, ...args) {
    try {
        return fn(...args);
    } catch (error) {
        throw error?.payload?.tag ? CallError.fromWit(error.payload) : error;
    }
}

/** Waits for the result of a function of the host. */
export async function later(future) {
    const result = await future.read();
    // QuickJS has no finaliser for futures. Each one that is not dropped keeps a handle.
    future.drop();
    if (result.tag === "err") throw CallError.fromWit(result.val);
    return result.val;
}
