// Global names of the web, timers and random numbers, in a host.

import {
    Failure,
    broadcast,
    channels,
    config,
    events,
    handler,
    handlers,
    host,
    log,
    pass,
    reply,
    rpc,
    sessions,
    sse,
} from "fanfare";
import { runChecks } from "./checks.js";

export const check = handler(() => runChecks());

export const random = handler(async () => {
    const entries = await rpc.callEvery("/inner/numbers");
    return entries.map(({ reply }) => reply.json);
});

export const numbers = handler(() => [Math.random(), Math.random(), Math.random()]);

let asleep = 0;
let stopped = false;

/** Sleeps until `stop`. */
export const sleep = handler(async () => {
    asleep++;
    while (!stopped) await new Promise((done) => setTimeout(done, 5));
    await new Promise((done) =>
        setTimeout(() => {
            log.info("a timer fired");
            done();
        }, 1),
    );
    return "stopped";
});

export const sleeping = handler(() => asleep);

export const stop = handler(() => {
    stopped = true;
});

/** Replies before its timer throws. */
export const late = handler(() => {
    setTimeout(() => {
        throw new Error("thrown by a timer");
    }, 20);
    return "later";
});

// Values that the contract cannot express, and errors that are no errors. A value of another type
// than the contract has would be a trap in the runtime.

const unwritable = {
    toString() {
        throw new Error("no text");
    },
};

function thrown(value) {
    throw value;
}

const oddities = {
    "text-surrogate": () => "a\ud800",
    "header-surrogate": () => reply("a", { headers: { "x-odd": "\udfff", "x-none": undefined, "x-list": [1, null] } }),
    "status-99": () => reply("a", { status: 99 }),
    "status-half": () => reply("a", { status: 200.5 }),
    "status-text": () => reply("a", { status: "200" }),
    "result-symbol": () => Symbol("a"),
    "result-function": () => () => 1,
    "result-bigint": () => 10n,
    "result-error": () => new Error("returned"),
    "result-failure": async () => new Failure("odd", "returned", { status: 404 }),
    "result-view": () => new DataView(new ArrayBuffer(3), 1),
    "result-thenable": () => ({ then: (resolve) => resolve("then") }),
    "result-thenable-throws": () => ({ then: () => thrown(new Error("then")) }),
    "pass-odd": () => pass({ payload: Symbol("a"), extra: { a: undefined } }),
    "throw-null": () => thrown(null),
    "throw-undefined": async () => thrown(undefined),
    "throw-symbol": () => thrown(Symbol("a")),
    "throw-bare": () => thrown(Object.create(null)),
    "throw-unwritable": async () => thrown(unwritable),
    "throw-surrogate": () => thrown(new Error("\ud800")),
    "throw-circle": () => {
        const error = new Error("circle");
        error.cause = error;
        throw error;
    },
    "throw-stackless": () => thrown(Object.assign(new Error("no stack"), { stack: unwritable, name: unwritable })),
    "failure-status": () => thrown(new Failure("odd", "odd", { status: 1e9 })),
    "failure-odd": () =>
        thrown(Object.assign(new Failure("odd", "odd"), { message: unwritable, status: "x", extra: null })),
    "log-odd": () => log.info(unwritable, { a: Symbol("a"), b: 1n, c: unwritable, "\ud800": [1n] }),
    "log-level": () => log("loud", "a"),
    "console-odd": () =>
        console.log("%s %d %j", Symbol("a"), 1n, { a: 1 }, unwritable, [new Map([[1, new Set()]])], null, -0),
    "rpc-number": () => rpc.call(5),
    "rpc-nothing": () => rpc.call(undefined),
    "rpc-place": () => rpc.call("/random", "", { to: "worker--1" }),
    "rpc-timeout": () => rpc.call("/random", "", { timeout: -1 }),
    "rpc-payload": () => rpc.call("/random", { a: 1n }),
    "broadcast-odd": () => broadcast.emit({}, "a"),
    "config-odd": () => config.get({}),
    "sse-key": () => sse.publish(undefined, "a"),
    "sse-retry": () => sse.publish("web", "a", { retry: "soon", id: {} }),
    "sse-reach": () => sse.close("web", { reach: "all" }),
    "events-odd": () => events.emit("web/odd", () => 1),
    "sessions-code": () => sessions.disconnect({ session: "a", code: 5 }),
    "sessions-set": () => sessions.set({ a: undefined, "\ud800": 1 }),
    "sessions-to": () => sessions.send("ada", "a"),
    "channels-after": () => channels.history("web", { after: { epoch: 1, offset: -1 } }),
    "channels-most": () => channels.history("web", { most: 1.5 }),
};

export const variable = handler((call) => host.env(call.text) ?? "none");

let counted = 0;

export const count = handler(() => ++counted);

/** Sends a request to another server. */
export const fetched = handler(async ({ json: { url, options } }) => {
    try {
        const response = await fetch(url, options);
        const { status, ok, redirected, headers } = response;
        return { status, ok, redirected, length: headers.get("content-length"), text: await response.text() };
    } catch ({ name, kind, message }) {
        return { name, kind, message };
    }
});

export default handlers({ "odd-one": (call) => oddities[call.params.name]() });
