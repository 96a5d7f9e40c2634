// The functions of the contract, for modules in a test.

import { at, refused } from "./calls.js";
import { parseRoute } from "./routes.js";

function later(promise) {
    const result = promise.then(
        (val) => ({ tag: "ok", val }),
        (error) => {
            if (!error?.payload) throw error;
            return { tag: "err", val: error.payload };
        },
    );
    return { read: () => result, drop() {} };
}

/** What a function that waits does, whose errors are those of the contract. */
function waiting(fn) {
    return later((async () => fn())());
}

/** The nodes of the cluster: that of the test, and those that it was given. */
function nodes() {
    const { host } = at();
    const own = { id: host.node, server: "test", frontend: true, workers: host.workers };
    const all = [own, ...host.nodes].map(({ settings = {}, sinceMs = 0, extra = {}, ...node }) => ({
        frontend: false,
        workers: 1,
        ...node,
        settings: JSON.stringify(settings),
        sinceMs: BigInt(sinceMs),
        extra: Object.entries(extra),
    }));
    return all.sort((one, other) => (one.id < other.id ? -1 : 1));
}

export const interfaces = {
    broadcast: {
        emit(call, { module, name }, payload) {
            const { host } = at(call);
            host.checkBroadcast(module, name);
            const { seq, entries } = host.startBroadcast(name, payload, at(call).worker, call);
            host.track(entries);
            return { id: seq, seq, accepted: host.workers, skipped: [], extra: [] };
        },
        gather(call, { module, name }, payload) {
            const { host, worker } = at(call);
            return later(
                (async () => {
                    host.checkBroadcast(module, name);
                    return host.startBroadcast(name, payload, worker, call).entries;
                })(),
            );
        },
        reload(call, module) {
            const { host } = at(call);
            host.reloads.push(module ?? undefined);
            return {
                id: host.reloads.length,
                seq: host.reloads.length,
                accepted: host.workers,
                skipped: [],
                extra: [],
            };
        },
    },

    durable: {
        emit(call, { module, name }, payload) {
            return waiting(() => {
                const { host, worker } = at(call);
                host.checkBroadcast(module, name, true);
                const { seq, entries } = host.startBroadcast(name, payload, worker, call);
                host.track(entries);
                return { id: seq, seq, accepted: host.workers, skipped: [], extra: [["position", `${seq}`]] };
            });
        },
    },

    rpc: {
        call(call, target, route, payload) {
            const { host, worker } = at(call);
            const to = target.tag === "worker" ? target.val : worker;
            return later(host.callInside(route, payload, to, worker));
        },
        callEvery(call, group, route, payload) {
            const { host, worker } = at(call);
            return later(host.everyWorker((to) => host.callInside(route, payload, to, worker)));
        },
        notify(call, address, route, payload) {
            const { host, worker } = at(call);
            const every = address.tag === "every";
            const places = every
                ? [...Array(host.workers).keys()]
                : [address.val.tag === "worker" ? address.val.val : worker];
            for (const to of places) host.track(host.callInside(route, payload, to, worker).catch(() => {}));
            return places.length;
        },
    },

    http: {
        header: (call, name) =>
            at(call)
                .headers.filter(([other]) => other === name.toLowerCase())
                .map(([, value]) => value),
        headers: (call) => at(call).headers,
        head: (call) => at(call).head ?? null,
    },

    fetch: {
        send(call, request) {
            return later(at(call).host.respond(request));
        },
    },

    host: {
        whoami() {
            const { host, worker } = at();
            const isolate = { tag: "worker", val: worker };
            return { node: host.node, server: "test", isolate, workers: host.workers, module: host.name, generation: "0" };
        },
        log(call, level, message, fields) {
            const { host, worker } = at(call);
            host.logs.push({ level, message, fields: Object.fromEntries(fields), worker, call: call ?? undefined });
        },
    },

    environment: { getEnvironment: () => Object.entries(at().host.env) },

    config: { get: (call, pointer) => pointed(at(call).host.config, pointer) },

    nodes: {
        list: (server) => nodes().filter((node) => server === null || node.server === server),
        get: (id) => nodes().find((node) => node.id === id) ?? null,
    },

    master: {
        options: (pointer) => pointed(at().host.options, pointer),
        post() {
            throw refused("unavailable", "nobody listens to messages for the master");
        },
    },
    masterAwait: {
        send: () => later(Promise.reject(refused("unavailable", "nobody listens to messages for the master"))),
    },

    sse: {
        publish(call, key, event, reach) {
            const { host, worker } = at(call);
            return host.streams.publish(key, event, worker, reach);
        },
        publishAll(call, event, reach) {
            const { host, worker } = at(call);
            return host.streams.publish(undefined, event, worker, reach);
        },
        close(call, key, reach) {
            const { host, worker } = at(call);
            return host.streams.close(key, worker, reach);
        },
        closeAll(call, reach) {
            const { host, worker } = at(call);
            return host.streams.close(undefined, worker, reach);
        },
        count: (key) => at().host.streams.count(key ?? undefined),
    },

    events: {
        emit(call, type, { val }) {
            const { host } = at(call);
            const event = { type: type ?? "message", value: JSON.parse(val) };
            host.events.push(event);
            host.track(host.deliver(event));
        },
        subscribe(call, pattern, route) {
            const { host } = at(call);
            const name = `${pattern ?? "*"} ${route}`;
            host.subscriptions.set(name, { event: pattern ?? "*", path: parseRoute(route).path });
            return name;
        },
        unsubscribe(call, name) {
            if (!at(call).host.subscriptions.delete(name))
                throw refused("not-found", `there is no subscription ${name}`);
        },
    },

    messages: {
        publish(call, connection, topic, payload) {
            at(call).host.messages.push({ connection, topic, payload: payload.val });
        },
    },

    sessions: {
        current: (call) => clientsOf(call).find(call)?.record ?? null,
        look: (call, session) => clientsOf(call).find(call, session)?.record ?? null,
        find: (call, uid) => clientsOf(call).bound(uid).map(({ record }) => record.id),
        get: (call, session, key) => clientsOf(call).of(call, session ?? undefined).values.get(key) ?? null,
        values: (call, session) => [...clientsOf(call).of(call, session ?? undefined).values],
        set: (call, session, values) => clientsOf(call).set(call, session ?? undefined, values),
        remove: (call, session, keys) => clientsOf(call).set(call, session ?? undefined, [], keys),
        bind: (call, session, uid, taken) => clientsOf(call).bind(call, session ?? undefined, uid, taken),
        unbind(call, session) {
            clientsOf(call).of(call, session ?? undefined).record.uid = null;
        },
        authenticate: (call, session, claims) => clientsOf(call).authenticate(call, session ?? undefined, claims),
        deauthenticate(call, session) {
            clientsOf(call).of(call, session ?? undefined).record.claims = null;
        },
        send: (call, to, name, payload) => clientsOf(call).send(to, name, payload),
        disconnect: (call, session, code, reason) =>
            clientsOf(call).disconnect(call, session ?? undefined, code, reason),
        join: (call, group, sessions) => clientsOf(call).regroup(group, sessions, true),
        leave: (call, group, sessions) => clientsOf(call).regroup(group, sessions, false),
        members: (call, group) => clientsOf(call).members(group),
        count: () => clientsOf().count(),
    },
    sessionsAwait: {
        push: (call, to, name, payload) => waiting(() => clientsOf(call).push(to, name, payload)),
        ask: (call, session, name, payload) => waiting(() => clientsOf(call).ask(call, session, name, payload)),
        // A test has one node, whose calls have no copies of sessions.
        apply: (call) => waiting(() => void clientsOf(call)),
        read: (call, session) =>
            waiting(() => {
                const { record, values } = clientsOf(call).of(call, session);
                return [record, [...values]];
            }),
        write: (call, session, set, remove) => waiting(() => clientsOf(call).set(call, session, set, remove)),
        find: (call, uid) => waiting(() => clientsOf(call).bound(uid).map(({ record }) => record)),
    },

    channels: {
        publish: (call, channel, payload) => void publish(call, channel, payload),
        subscribe(call, channel, route) {
            const { host, worker } = at(call);
            return host.channels.subscribe(worker, channel, route);
        },
        unsubscribe(call, name) {
            const { host, worker } = at(call);
            host.channels.unsubscribe(worker, name);
        },
        add: (call, channel, session) => at(call).host.channels.add(channel, session),
        kickOut: (call, channel, session, message) => at(call).host.channels.kickOut(channel, session, message),
        count: (channel) => at().host.channels.members(channel).length,
    },
    channelsAwait: {
        publish: (call, channel, payload) => waiting(async () => (await publish(call, channel, payload)) ?? null),
        history: (call, channel, after, most) => waiting(() => at(call).host.channels.history(channel, after, most)),
        members: (call, channel) => waiting(() => at(call).host.channels.listed(channel)),
    },
};

function clientsOf(call) {
    return at(call).host.clients;
}

function publish(call, channel, payload) {
    const { host, worker } = at(call);
    return host.channels.offer(channel, { action: "publish", payload }, host.guest(worker));
}

/** Returns the value at a JSON Pointer as JSON text, or `null`. */
function pointed(value, pointer) {
    let found = value;
    for (const part of pointer.split("/").slice(1)) {
        const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
        if (typeof found !== "object" || found === null || !Object.hasOwn(found, key)) return null;
        found = found[key];
    }
    return JSON.stringify(found) ?? null;
}
