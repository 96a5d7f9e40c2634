// The functions of the contract, for modules in a test.

import { caller } from "../current.js";
import { parseRoute } from "./routes.js";

/** The calls that run, of all hosts of the process: the host and the worker of each. */
export const running = new Map();

/** An error of a function that returns at once. */
function refused(tag, val) {
    return { payload: { tag, val } };
}

function at(call) {
    const found = running.get(call ?? caller());
    if (!found) throw new Error("this function of the host is used outside of a call of a `TestHost`");
    return found;
}

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

const CLIENTS = "a `TestHost` has no clients and no channels: test them with `fanfare test`";

/** An interface whose functions all fail. */
function missing(waits) {
    const fail = () => {
        const error = refused("unavailable", CLIENTS);
        if (waits) return later(Promise.reject(error));
        throw error;
    };
    return new Proxy({}, { get: () => fail });
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
            return { node: "test", server: "test", isolate, workers: host.workers, module: host.name, generation: "0" };
        },
        log(call, level, message, fields) {
            const { host, worker } = at(call);
            host.logs.push({ level, message, fields: Object.fromEntries(fields), worker, call: call ?? undefined });
        },
    },

    environment: { getEnvironment: () => Object.entries(at().host.env) },

    config: { get: (call, pointer) => pointed(at(call).host.config, pointer) },

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
            at(call).host.published.push(published(key, event, reach));
            return 0;
        },
        publishAll(call, event, reach) {
            at(call).host.published.push(published(undefined, event, reach));
            return 0;
        },
        close: () => 0,
        closeAll: () => 0,
        count: () => 0,
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

    sessions: new Proxy({}, { get: (_, name) => (name === "current" ? () => null : missing(false)[name]) }),
    sessionsAwait: missing(true),
    channels: missing(false),
    channelsAwait: missing(true),
};

function published(key, { data, event, id, retryMs, comment }, reach) {
    return {
        key,
        data: data.val,
        event: event ?? undefined,
        id: id ?? undefined,
        retry: retryMs ?? undefined,
        comment: comment ?? undefined,
        reach,
    };
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

export { refused };
