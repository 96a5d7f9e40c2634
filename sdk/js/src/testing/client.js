// A connected client, as a test uses it.

import { fromPayload, toJson, toPayload } from "../payload.js";
import { toSession } from "../values.js";
import { plain, plainError, refused } from "./calls.js";

const NONE = { tag: "none" };

/** Why a client was not admitted, or a stream did not open. `cause` is the `CallError`, if any. */
export class Rejection extends Error {
    constructor({ status, code, reply, cause }) {
        super(cause?.message ?? `the module replied with ${status}`, cause && { cause });
        this.name = "Rejection";
        /** The status of the HTTP response. */
        this.status = status;
        /** The close code, of a client of SocketCluster. */
        this.code = code;
        /** The reply of the route, if it replied. */
        this.reply = reply;
    }
}

export function mayCloseWith(code) {
    return code === 1000 || (Number.isInteger(code) && code >= 4000 && code <= 4999);
}

/** The close code that a failure chose, if a module may choose it. */
export function closeCode({ failure }) {
    const code = Number(failure?.extra["close-code"]);
    return mayCloseWith(code) ? code : undefined;
}

/** A connected client. */
export class Client {
    #clients;
    #state;

    constructor(clients, state) {
        this.#clients = clients;
        this.#state = state;
    }

    /** The id of the session. */
    get id() {
        return this.#state.record.id;
    }

    /** The facts of the session. */
    get session() {
        return toSession(this.#state.record);
    }

    /** The messages received so far, in order. */
    get received() {
        return this.#state.received.map(({ name, payload }) => ({ name, payload: fromPayload(payload) }));
    }

    /** The close code and the reason, when the connection is closed. */
    get closed() {
        return this.#state.closed;
    }

    /** Returns a value of the session. */
    value(key) {
        const text = this.#state.values.get(key);
        return text === undefined ? undefined : JSON.parse(text);
    }

    /** Sends a message, and resolves with the payload of the reply. */
    async request(name, payload) {
        return fromPayload(await this.#message(name, payload, true));
    }

    /** Sends a message that needs no answer. A plain WebSocket receives the reply as a message. */
    async send(name, payload) {
        await this.#message(name, payload, false);
    }

    async #message(name, payload, wantsReply) {
        this.#checkOpen();
        const state = this.#state;
        try {
            const reply = await plain(this.#clients.message(state, name, toPayload(payload), wantsReply));
            if (state.socket && reply.tag !== "none" && !state.closed) receive(state, "", reply);
            return reply;
        } catch (error) {
            this.#closeAfter(error);
            throw error;
        }
    }

    /** Subscribes to a channel, and waits for the host. */
    async subscribe(channel, data) {
        await this.#act(channel, { action: "subscribe", payload: toPayload(data) });
    }

    /** Unsubscribes from a channel, and waits for the host. */
    async unsubscribe(channel) {
        await this.#act(channel, { action: "unsubscribe", payload: NONE });
    }

    /** Publishes a message to a channel, and waits until it has its place or is refused. */
    async publish(channel, payload) {
        await this.#act(channel, { action: "publish", payload: toPayload(payload) });
    }

    async #act(channel, step) {
        this.#checkOpen();
        await plain(async () => {
            if (this.#state.socket) throw refused("invalid", "a plain WebSocket has no channels of its own");
            const origin = { tag: "session", val: this.id };
            await this.#clients.host.channels.offer(channel, { ...step, session: this.id }, origin);
        });
    }

    #checkOpen() {
        if (!this.closed) return;
        throw plainError(refused("unavailable", `the connection is closed: ${this.closed.code}`));
    }

    /** Answers the module's questions with this name. */
    answer(name, fn) {
        this.#state.answers.set(name, fn);
    }

    /** Shows a valid token with these claims. */
    async authenticate(claims) {
        if (typeof claims !== "object" || claims === null || Array.isArray(claims))
            throw new TypeError("the claims of a token are an object");
        const payload = { tag: "text", val: toJson(claims) };
        try {
            const passed = await plain(this.#clients.hook("authenticate", this.#state, payload));
            this.#state.record.claims = passed?.tag === "text" ? passed.val : payload.val;
        } catch (error) {
            this.#closeAfter(error);
            throw error;
        }
    }

    /** Closes the connection, and waits for the hook `disconnect`. */
    async disconnect(code = 1000, reason = "") {
        this.#clients.close(this.id, code, reason);
        await this.#clients.host.settle();
    }

    #closeAfter(error) {
        const code = closeCode(error);
        if (code !== undefined) this.#clients.close(this.id, code, error.message);
    }
}

/** Adds a message to those that a client has received. */
export function receive(state, name, payload) {
    state.received.push({ name: state.socket ? "" : name, payload });
}
