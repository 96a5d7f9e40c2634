// Connected clients of a test, and their sessions.

import { fromPayload, toJson, toPayload } from "../payload.js";
import { plain, plainError, refusal, refused, running } from "./calls.js";
import { Client, Rejection, closeCode, mayCloseWith, receive } from "./client.js";
import { matchPath, parseRoute } from "./routes.js";

/** The most bytes of a name, and of the reason of a close, as in a host. */
const MAX_NAME = 256;
const MAX_REASON = 123;

/** The close code of a client of SocketCluster that the hook `connect` rejects. */
const REJECTED = 4008;

/** The close code of a session whose user another session was bound to. */
const REPLACED = 4010;

/** When every client connected. */
const SINCE = 1_700_000_000_000;

const NONE = { tag: "none" };

function sizeOf(text) {
    return new TextEncoder().encode(text).length;
}

function checkName(what, name) {
    const size = sizeOf(name);
    if (size < 1 || size > MAX_NAME)
        throw refused("invalid", `the name of ${what} has 1 to ${MAX_NAME} bytes, found ${size}`);
}

function checkMessage(name, to = []) {
    if (to.some(({ tag }) => tag === "other"))
        throw refused("invalid", "this version does not know the kind of recipient");
    checkName("a message", name);
    if (/\p{Cc}/u.test(name)) throw refused("invalid", "the name of a message has no control characters");
}

/** The sessions of a `TestHost`. */
export class Clients {
    #all = [];
    #manifest;

    constructor(host, manifest) {
        this.host = host;
        this.#manifest = manifest;
    }

    /** Runs the hooks `upgrade` and `connect`, and connects a client if both admit it. */
    async connect({ on = 0, socket: path, data, claims, subdomain, headers = {} } = {}) {
        if (!(on < this.host.workers)) throw new TypeError(`there is no worker-${on}`);
        if (path !== undefined && data !== undefined)
            throw new TypeError("a plain WebSocket sends no data with its handshake");
        const socket = path === undefined ? undefined : this.#socketOf(path);
        const state = {
            record: {
                id: `${this.host.node}/client${String(this.#all.length).padStart(14, "0")}`,
                worker: on,
                uid: null,
                ip: "127.0.0.1",
                protocol: socket ? "plain" : "socketcluster/2",
                claims: null,
                sinceMs: SINCE,
                extra: [],
            },
            values: new Map(),
            groups: new Set(),
            answers: new Map(),
            received: [],
            closed: undefined,
            socket,
            subdomain,
        };
        const [below] = (path ?? "").split("?");
        const http = {
            headers: Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]),
            head: {
                path: socket ? `/api/${this.host.name}/${below}` : "/socketcluster/",
                scheme: "http",
                authority: "test",
                peer: "127.0.0.1:1",
            },
        };
        const statusOf = ({ failure }, fallback) => failure?.status || fallback;
        await plain(this.hook("upgrade", { ...state, record: { ...state.record, id: undefined } }, NONE, http)).catch(
            (cause) => {
                throw new Rejection({ status: statusOf(cause, 401), cause });
            },
        );
        this.#all.push(state);
        await plain(this.hook("connect", state, toPayload(data), http)).catch((cause) => {
            this.#all.splice(this.#all.indexOf(state), 1);
            if (socket) throw new Rejection({ status: statusOf(cause, 403), cause });
            throw new Rejection({ code: closeCode(cause) ?? REJECTED, cause });
        });
        const client = new Client(this, state);
        // A host connects a client whose token is rejected, too: it is not authenticated.
        if (claims) await client.authenticate(claims).catch(() => {});
        return client;
    }

    #socketOf(path) {
        const { path: below, query } = parseRoute(path);
        const found = Object.entries(this.#manifest.sockets ?? {})
            .map(([pattern, entry]) => ({ ...entry, pattern, query, params: matchPath(pattern, below) }))
            .filter(({ params }) => params)
            .sort((a, b) => a.params.length - b.params.length);
        if (found.length > 0) return found[0];
        throw new Rejection({ status: 404, cause: plainError(refused("not-found", `the module has no socket ${below}`)) });
    }

    /** Runs a hook about a client. Resolves with the payload of a `pass`. */
    async hook(name, { record, socket, subdomain }, payload, http = {}) {
        const hook = this.#manifest.hooks?.[name];
        if (!hook) return undefined;
        const { route } = this.host.routeOf(hook.path);
        const outcome = await this.host.runRoute({ route, params: socket?.params ?? [] }, socket?.query ?? "", payload, {
            headers: [],
            ...http,
            worker: record.worker,
            subdomain,
            session: record.id,
            trigger: { tag: "hook", val: { name } },
            origin: record.id === undefined ? { tag: "client" } : { tag: "session", val: record.id },
        });
        return outcome.tag === "pass" ? (outcome.val.payload ?? undefined) : undefined;
    }

    /** Runs the filters and the route of a message. Resolves with the payload of the reply. */
    async message({ record, socket, subdomain }, name, payload, wantsReply) {
        const named = parseRoute(socket ? this.#checkOwn(socket.module ?? "", socket.path) : this.#ownRoute(name));
        const found = this.host.routeOf(named);
        if (!found.route.middlewares.includes("session")) {
            throw refused(
                "forbidden",
                "messages of connected clients reach only routes with the middleware `session`: " +
                    `\`${socket?.pattern ?? name}\` has none`,
            );
        }
        const query = socket ? socket.query : named.query;
        const how = {
            headers: [],
            worker: record.worker,
            subdomain,
            session: record.id,
            origin: { tag: "session", val: record.id },
        };
        const message = { session: record.id, name: socket?.pattern ?? name, wantsReply };
        const trigger = { tag: "client", val: message };
        const text = `${found.route.method} ${found.route.pattern}`;
        const { before = [], after = [] } = this.#manifest.filters ?? {};
        const extra = [];
        let current = payload;
        for (const path of [before].flat()) {
            const facts = [...extra, ["for", text]];
            const outcome = await this.host.runRoute(this.host.routeOf(path), query, current, { ...how, trigger }, facts);
            if (outcome.tag === "reply") return outcome.val.payload;
            current = outcome.val.payload ?? current;
            extra.push(...outcome.val.extra.map(([key, value]) => [`${this.host.name}.${key}`, value]));
        }
        const params = socket ? socket.params : found.params;
        const outcome = await this.host.runRoute({ ...found, params }, query, current, { ...how, trigger }, extra);
        let status = 0;
        let reply = NONE;
        if (outcome.tag === "reply") ({ status, payload: reply } = outcome.val);
        else reply = outcome.val.payload ?? NONE;
        for (const path of [after].flat()) {
            const later = { tag: "other", val: ["after", toJson({ route: text, status })] };
            const end = await this.host.runRoute(this.host.routeOf(path), query, reply, { ...how, trigger: later });
            if (end.tag === "reply") ({ status, payload: reply } = end.val);
            else reply = end.val.payload ?? reply;
        }
        return reply;
    }

    /** The route of this module that the name of a message means. */
    #ownRoute(name) {
        const [path] = name.split("?");
        const [, module, rest] = /^([^/]*)\/([^]*)$/.exec(name) ?? [];
        if (module !== undefined) return this.#checkOwn(module, rest);
        const at = path.indexOf(".");
        return at < 0 ? name : this.#checkOwn(path.slice(0, at), path.slice(at + 1).replaceAll(".", "/"));
    }

    #checkOwn(module, rest) {
        if (module === "" || module === this.host.name) return rest;
        throw refused("not-found", `the test host has no module \`${module}\``);
    }

    /** Ends a session, and calls the hook `disconnect`, whose outcome changes nothing. */
    close(id, code, reason) {
        const state = this.#all.find(({ record, closed }) => record.id === id && !closed);
        if (!state) return;
        state.closed = { code, reason };
        this.host.channels.leaveAll(id);
        const payload = { tag: "text", val: toJson({ code, reason }) };
        this.host.track(this.hook("disconnect", state, payload));
    }

    // The functions of the contract.

    /** The named session, or that of the call. One that ended exists for its own call only. */
    of(call, session) {
        const own = running.get(call)?.session;
        const id = session ?? own;
        if (id === undefined) throw refused("invalid", "the call belongs to no session: name the session");
        const found = this.#all.find(({ record, closed }) => record.id === id && (id === own || !closed));
        if (!found) throw refused("not-found", `there is no session ${id}`);
        return found;
    }

    find(call, session) {
        try {
            return this.of(call, session);
        } catch {
            return undefined;
        }
    }

    open() {
        return this.#all.filter(({ closed }) => !closed);
    }

    bound(uid) {
        return this.open().filter(({ record }) => record.uid === uid);
    }

    set(call, session, set, remove = []) {
        for (const [key, text] of set) {
            checkName("a value", key);
            try {
                JSON.parse(text);
            } catch (error) {
                throw refused("invalid", `the value \`${key}\` is not JSON: ${error.message}`);
            }
        }
        const { values } = this.of(call, session);
        for (const key of remove) values.delete(key);
        for (const [key, text] of set) values.set(key, text);
    }

    bind(call, session, uid, taken) {
        checkName("a user", uid);
        const state = this.of(call, session);
        const others = taken === "share" ? [] : this.bound(uid).filter((other) => other !== state);
        if (taken === "refuse" && others.length > 0) throw refused("forbidden", `another session is bound to ${uid}`);
        state.record.uid = uid;
        // A session that is replaced has no user any more, also in its hook `disconnect`.
        for (const { record } of others) record.uid = null;
        for (const { record } of others) this.close(record.id, REPLACED, "the user has connected again");
    }

    authenticate(call, session, claims) {
        const parsed = JSON.parse(claims);
        if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
            throw refused("invalid", "the claims are not a JSON object");
        const state = this.of(call, session);
        if (state.socket) throw refused("invalid", "a plain WebSocket has no tokens");
        state.record.claims = claims;
    }

    #deliver({ tag, val }, name, payload) {
        const fits = {
            session: ({ record }) => record.id === val,
            uid: ({ record }) => record.uid === val,
            "uid-on": ({ record }) => record.uid === val[0] && val[1] === this.host.node,
            group: ({ groups }) => groups.has(val),
            bound: ({ record }) => record.uid !== null,
            everyone: () => true,
        };
        const to = this.open().filter(fits[tag]);
        for (const state of to) receive(state, name, payload);
        return to.length;
    }

    send(to, name, payload) {
        checkMessage(name, [to]);
        return this.#deliver(to, name, payload);
    }

    push(to, name, payload) {
        checkMessage(name, to);
        const pushed = { reached: 0, unknown: [], silent: [] };
        const seen = new Set();
        for (const one of to) {
            // A recipient that is named twice counts once.
            const key = JSON.stringify(one);
            if (seen.has(key)) continue;
            seen.add(key);
            const reached = this.#deliver(one, name, payload);
            if (reached === 0 && one.tag !== "bound" && one.tag !== "everyone") pushed.unknown.push(one);
            pushed.reached += reached;
        }
        return pushed;
    }

    async ask(call, session, name, payload) {
        checkMessage(name);
        const state = this.of(call, session);
        if (state.socket) throw refused("invalid", "a plain WebSocket sends no answers");
        receive(state, name, payload);
        const answer = state.answers.get(name);
        // Nobody answers: the test does not wait for it.
        if (!answer) throw refused("timeout");
        try {
            return toPayload(await answer(fromPayload(payload)));
        } catch (error) {
            throw refusal(error);
        }
    }

    disconnect(call, session, code, reason) {
        if (!mayCloseWith(code)) throw refused("invalid", `a close code is 1000 or 4000 to 4999, found ${code}`);
        const size = sizeOf(reason);
        if (size > MAX_REASON)
            throw refused("invalid", `the reason of a disconnect has at most ${MAX_REASON} bytes, found ${size}`);
        this.close(this.of(call, session).record.id, code, reason);
    }

    /** Adds sessions to a group, or removes them. Returns how many changed. */
    regroup(group, ids, joins) {
        checkName("a group", group);
        const named = this.open().filter(({ record, groups }) => ids.includes(record.id) && groups.has(group) !== joins);
        for (const { groups } of named) joins ? groups.add(group) : groups.delete(group);
        return named.length;
    }

    members(group) {
        return this.open()
            .filter(({ groups }) => groups.has(group))
            .map(({ record }) => record.id);
    }

    count() {
        return [this.open().length, this.open().filter(({ record }) => record.uid !== null).length];
    }

    receive(id, name, payload) {
        const state = this.open().find(({ record }) => record.id === id);
        if (state) receive(state, name, payload);
    }
}
