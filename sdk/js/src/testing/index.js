// Tests in memory: a module in workers that run in this process, without a host.

import { AsyncLocalStorage } from "node:async_hooks";
import { readFile } from "node:fs/promises";
import { use } from "../backend.js";
import { runAs, useStorage } from "../current.js";
import { CallError } from "../errors.js";
import { run } from "../handler.js";
import { Reply, reply } from "../outcome.js";
import { isJson, toJson, toPayload } from "../payload.js";
import { toEntry, toMember, toMessage } from "../values.js";
import { interfaces } from "./backend.js";
import { plain, refused, running } from "./calls.js";
import { Channels } from "./channels.js";
import { Clients } from "./clients.js";
import { parseJsonc } from "./jsonc.js";
import { loader } from "./load.js";
import { Routes, parseRoute } from "./routes.js";
import { Streams } from "./streams.js";

export { Client, Rejection } from "./client.js";
export { Reader } from "./streams.js";

useStorage(new AsyncLocalStorage());
use(interfaces);

/** How long a call has, by default of the host. */
const DEADLINE_MS = 5_000;

const EMPTY = { status: 0, headers: [], payload: { tag: "none" }, extra: [] };
let lastId = 0;

export class TestHost {
    /** What the module has sent so far. */
    emitted = [];
    published = [];
    events = [];
    messages = [];
    logs = [];
    reloads = [];
    requests = [];

    /** The id of the node. */
    node = "test";

    #loader;
    #instances = [];
    #routes;
    #manifest;
    #answers;
    #middlewares;
    #responses;
    #pending = new Set();
    #sequence = 0;

    /** Loads a module by the path or the URL of its entry, into each worker. */
    static async start(entry, options = {}) {
        const host = new TestHost(await manifestOf(options.manifest), options);
        host.#loader = await loader(entry);
        for (let worker = 0; worker < host.workers; worker++) await host.#begin(worker, "start");
        return host;
    }

    constructor(
        manifest,
        { name = "module", workers = 1, config, options = {}, nodes = [], env = {}, answers = {}, middlewares = {}, responses = {} },
    ) {
        this.name = name;
        this.workers = workers;
        this.config = config ?? manifest.config ?? {};
        this.options = { environment: "test", workers, ...options };
        this.nodes = nodes;
        this.env = env;
        this.#manifest = manifest;
        this.#routes = new Routes(manifest);
        this.#answers = answers;
        this.#middlewares = middlewares;
        this.#responses = Object.entries(responses);
        this.subscriptions = new Map(Object.entries(manifest.subscriptions ?? {}));
        this.clients = new Clients(this, manifest);
        this.channels = new Channels(this, manifest);
        this.streams = new Streams(this, manifest);
    }

    /** Removes the files of the test. */
    async stop() {
        await this.settle();
        await this.#loader.remove();
    }

    /** Sends a request as a client does: `call("GET Ada?x=1")`. Rejects with a `CallError`. */
    async call(route, body, { headers = {}, on = 0, inside = false } = {}) {
        const wanted = parseRoute(route);
        const found = this.#routes.find(wanted);
        if (!found) throw new CallError("not-found", `${this.name} has no route ${route}`);
        if (!inside && closed(found.route)) throw new CallError("forbidden", `${route} is not open to clients`);
        const method = wanted.method ?? found.route.method;
        const fields = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]);
        if (isJson(body)) fields.push(["content-type", "application/json"]);
        const names = ["GET", "POST", "PUT", "PATCH", "DELETE"];
        const tag = names.includes(method) ? { tag: method.toLowerCase() } : { tag: "other", val: method };
        const path = `/api/${this.name}/${wanted.path}`;
        const outcome = this.#route(found, wanted.query, toPayload(body), {
            worker: on,
            headers: inside ? [] : fields,
            head: inside ? undefined : { path, scheme: "http", authority: "test", peer: "127.0.0.1:1" },
            trigger: inside ? { tag: "rpc" } : { tag: "http", val: { method: tag } },
            origin: { tag: inside ? "operator" : "client" },
        });
        const reply = await plain(outcome);
        const status = reply.status || (reply.payload.tag === "none" ? 204 : 200);
        return Reply.fromWit({ ...reply, status });
    }

    /** Emits a broadcast as the operator does. Resolves with one entry per worker. */
    async broadcast(name, payload) {
        await plain(async () => this.checkBroadcast(null, name));
        return (await this.startBroadcast(name, toPayload(payload)).entries).map(toEntry);
    }

    /** Runs a schedule once, in one worker or in all, with its `data` or another payload. */
    async runSchedule(name, payload) {
        const schedule = declared(this.#manifest.schedules, name, "schedule");
        const data =
            payload === undefined && schedule.data !== undefined
                ? { tag: "text", val: toJson(schedule.data) }
                : toPayload(payload);
        const val = { name, dueMs: Date.now(), run: `${++this.#sequence}` };
        const once = (worker) => this.runInside(schedule.path, data, worker, { tag: "schedule", val }, { tag: "host" });
        const entries = await this.everyWorker(once, schedule.type === "all" ? this.workers : 1);
        return entries.map(toEntry);
    }

    /** Emits an event as a process outside does, and waits for the handlers of subscriptions. */
    async emitEvent(type, value) {
        await this.deliver({ type: type ?? "message", value: JSON.parse(toJson(value)) });
        await this.settle();
    }

    /** Gives a message to a subscription by its name. Resolves with one entry per worker. */
    async receive(name, topic, payload, { id } = {}) {
        const subscription = this.subscriptions.get(name);
        if (!subscription) throw new TypeError(`the manifest has no subscription ${name}`);
        return (await this.#deliverTo(name, subscription, topic, toPayload(payload), id ?? null)).map(toEntry);
    }

    /** Connects a client. Rejects with a `Rejection` when a hook of the module does not admit it. */
    connect(options) {
        return this.clients.connect(options);
    }

    /** Opens a live stream. Rejects with a `Rejection` when the module does not admit the reader. */
    stream(key, options) {
        return this.streams.open(key, options);
    }

    /** Publishes a message to a channel as the operator, and waits for its place. */
    publishToChannel(channel, payload) {
        const step = { action: "publish", payload: toPayload(payload) };
        return plain(async () => this.channels.offer(channel, step, { tag: "operator" }));
    }

    /** Returns all messages of a channel so far, also those that a host would no longer keep. */
    channelMessages(channel) {
        return this.channels.messages(channel).map(toMessage);
    }

    /** Returns the members of a channel, in the order in which they subscribed. */
    channelMembers(channel) {
        return this.channels.members(channel).map(toMember);
    }

    /** Waits until no handler runs. */
    async settle() {
        while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
    }

    /** Replaces the instance of a worker, without its memory, as after a crash. */
    async restart(worker = 0) {
        await this.#begin(worker, "restart");
    }

    /** Replaces all instances, and hands their states over. */
    async swap() {
        for (let worker = 0; worker < this.workers; worker++) {
            const { snapshot } = this.#instances[worker];
            const state = snapshot && (await snapshot.save());
            await this.#begin(worker, "swap");
            const next = this.#instances[worker].snapshot;
            if (!snapshot || !next) continue;
            await next.load(state instanceof Uint8Array ? state : JSON.parse(toJson(state)), "0");
        }
    }

    async #begin(worker, reason) {
        this.#instances[worker] = await this.#loader.load();
        for (const [name, { path }] of Object.entries(this.#manifest.startups ?? {})) {
            const trigger = { tag: "startup", val: { name, reason: { tag: reason } } };
            await plain(this.runInside(path, { tag: "none" }, worker, trigger, { tag: "host" }));
        }
    }

    // What follows is for the functions of the contract. Payloads and results are those of the
    // contract, and errors are `{ payload }` with a variant `call-error`.

    track(promise) {
        const pending = Promise.resolve(promise).finally(() => this.#pending.delete(pending));
        this.#pending.add(pending);
        pending.catch(() => {});
    }

    checkBroadcast(module, name, durable = false) {
        const own = module === null || module === this.name;
        const declared = own ? this.#manifest.broadcasts?.[name] : undefined;
        if (!declared) throw refused("not-found", `there is no broadcast ${name}`);
        if (durable && declared.delivery !== "durable") {
            throw refused("invalid", `the broadcast ${name} is not durable`);
        }
    }

    startBroadcast(name, payload, from, call) {
        const seq = ++this.#sequence;
        this.emitted.push({ name, payload: payload.val });
        const { path } = this.#manifest.broadcasts[name];
        const origin = call === undefined ? { tag: "operator" } : this.guest(from);
        const entries = this.everyWorker((worker) => {
            const val = { name, id: seq, seq, sameAsCaller: worker === from };
            return this.runInside(path, payload, worker, { tag: "broadcast", val }, origin);
        });
        return { seq, entries };
    }

    async callInside(route, payload, worker, from) {
        const own = this.#ownRoute(route);
        const origin = this.guest(from);
        if (own !== undefined) return this.runInside(own, payload, worker, { tag: "rpc" }, origin);
        const answer = this.#answers[route] ?? this.#answers[route.replaceAll(".", "/")];
        if (!answer) throw refused("not-found", `the test has no answer for ${route}: add it to \`answers\``);
        return this.#stub("rpc", answer, { payload, query: "" }, from);
    }

    /** Responds to a request of the module to another server. */
    async respond({ method, url, headers, body, timeoutMs }) {
        const request = {
            method,
            url,
            headers: Object.fromEntries(headers),
            text: body ? new TextDecoder().decode(body) : "",
            timeout: timeoutMs ?? undefined,
        };
        this.requests.push(request);
        const [, response] = this.#responses.find(([prefix]) => url.startsWith(prefix)) ?? [];
        if (response === undefined) {
            throw refused("forbidden", `the test has no response for ${url}: add it to \`responses\``);
        }
        const value = typeof response === "function" ? await response(request) : response;
        const { status, fields, bytes } = value instanceof Reply ? value : reply(value);
        return { status: status || 200, headers: fields, body: bytes };
    }

    async everyWorker(each, count = this.workers) {
        return Promise.all(
            [...Array(count).keys()].map(async (worker) => {
                const isolate = { tag: "worker", val: worker };
                try {
                    return { isolate, node: null, outcome: { tag: "ok", val: await each(worker) } };
                } catch (error) {
                    if (!error?.payload) throw error;
                    return { isolate, node: null, outcome: { tag: "err", val: error.payload } };
                }
            }),
        );
    }

    async deliver({ type, value }) {
        const payload = { tag: "text", val: toJson(value) };
        for (const [name, subscription] of this.subscriptions) {
            if (covers(subscription.event, type))
                await this.#deliverTo(name, subscription, type, payload, `0-${++this.#sequence}`);
        }
    }

    #deliverTo(name, { event, nats, deliver, path }, topic, payload, id) {
        const other = nats === undefined ? "redis" : "nats";
        const source = event === undefined ? other : "event";
        const trigger = { tag: "subscription", val: { name, source, topic, id } };
        const once = (worker) => this.runInside(path, payload, worker, trigger, { tag: "host" });
        return this.everyWorker(once, deliver === "all" ? this.workers : 1);
    }

    /** A worker of the module as the origin of a call. */
    guest(worker) {
        return { tag: "guest", val: { module: this.name, isolate: { tag: "worker", val: worker }, node: null } };
    }

    /** The path of a route of this module, or `undefined` for one of another module. */
    #ownRoute(route) {
        const [, method = "", rest] = /^([A-Z]+ )?([^]*)$/.exec(route);
        const path = rest.includes("/") ? rest : rest.replaceAll(".", "/");
        if (path.startsWith("/")) return method + path.slice(1);
        return path.startsWith(`${this.name}/`) ? method + path.slice(this.name.length + 1) : undefined;
    }

    async runInside(route, payload, worker, trigger, origin) {
        const wanted = parseRoute(route);
        return this.#route(this.routeOf(wanted), wanted.query, payload, { worker, headers: [], trigger, origin });
    }

    /** The route of a path, and its parameters. */
    routeOf(wanted) {
        const parsed = typeof wanted === "string" ? parseRoute(wanted) : wanted;
        const found = this.#routes.find(parsed);
        if (!found) throw refused("not-found", `${this.name} has no route ${parsed.path}`);
        return found;
    }

    async #route(found, query, payload, how) {
        const outcome = await this.runRoute(found, query, payload, how);
        if (outcome.tag === "reply") return outcome.val;
        return { ...EMPTY, payload: outcome.val.payload ?? EMPTY.payload };
    }

    /** Runs the middlewares of a route, then its handler. Resolves with the outcome. */
    async runRoute({ route, params }, query, payload, how, facts = []) {
        const extra = [...facts];
        let current = payload;
        for (const name of route.middlewares) {
            if (!name.includes("/")) continue;
            const step = parseRoute(name);
            const outcome = await this.#middleware(name, step, { ...how, payload: current, extra: [...extra] });
            if (outcome.tag === "reply") return outcome;
            current = outcome.val.payload ?? current;
            const module = name.startsWith("/") ? this.name : name.split("/")[0];
            extra.push(...outcome.val.extra.map(([key, value]) => [`${module}.${key}`, value]));
        }
        return this.#run(route.handler, { ...how, params, query, payload: current, extra });
    }

    async #middleware(name, { path, query }, how) {
        if (name.startsWith("/")) {
            const found = this.#routes.find({ path });
            if (!found)
                throw new TypeError(`the manifest names the middleware ${name}, which is no route of the module`);
            return this.#run(found.route.handler, { ...how, params: found.params, query });
        }
        const stub = this.#middlewares[name.split("?")[0]];
        if (!stub) throw refused("unavailable", `the test has no middleware ${name}: add it to \`middlewares\``);
        return this.#run(name, { ...how, params: [], query }, new Map([[name, stub]]));
    }

    async #stub(name, fn, { payload, query }, worker) {
        const how = {
            worker,
            headers: [],
            trigger: { tag: "rpc" },
            origin: this.guest(worker),
        };
        const outcome = await this.#run(name, { ...how, params: [], query, payload, extra: [] }, new Map([[name, fn]]));
        return outcome.tag === "reply" ? outcome.val : EMPTY;
    }

    async #run(handler, how, handlers = this.#instances[how.worker].handlers) {
        const { worker, headers, head, session, subdomain = null, ...input } = how;
        const id = ++lastId;
        running.set(id, { host: this, worker, headers, head, session });
        const call = { id, handler, subdomain, deadlineMs: DEADLINE_MS, ...input };
        const outcome = new Promise((resolve, reject) => {
            const end = { resolve, reject: (failure) => reject(refused("failure", failure)), wait() {} };
            runAs(id, run, handlers, call, end);
        });
        this.track(outcome);
        return outcome;
    }
}

function closed({ middlewares }) {
    return middlewares.includes("inner") || middlewares.includes("session");
}

async function manifestOf(manifest = {}) {
    if (typeof manifest === "object" && !(manifest instanceof URL)) return manifest;
    return parseJsonc(await readFile(manifest, "utf8"));
}

function declared(section, name, what) {
    if (!section?.[name]) throw new TypeError(`the manifest has no ${what} ${name}`);
    return section[name];
}

/** Whether a pattern such as `order/*` covers a type. */
function covers(pattern, type) {
    if (pattern === undefined) return false;
    return pattern === "*" || pattern === type || (pattern.endsWith("/*") && type.startsWith(pattern.slice(0, -1)));
}
