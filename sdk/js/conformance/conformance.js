// The module of `sdk/cases` in JavaScript.

import {
    CallError,
    Failure,
    broadcast,
    channels,
    config,
    events,
    handler,
    handlers,
    host,
    http,
    log,
    master as program,
    messages,
    nodes,
    pass,
    reply,
    rpc,
    sessions,
    snapshot,
    sse,
} from "fanfare";

const KEY = "conformance";

/** Returns the kind of the error of a function, or `none`. */
async function kindOf(fn) {
    try {
        await fn();
        return "none";
    } catch (error) {
        if (error instanceof CallError) return error.kind;
        throw error;
    }
}

// What a handler receives, and what it returns.

export const echo = handler(({ payload }) => payload);

export const greet = handler(({ params }) => `Hello, ${params.name}`);

export default handlers({ "kebab-name": (call) => call.handler });

export const query = handler((call) => ({ ...call.query, raw: call.queryString }));

export const request = handler((call) => ({
    method: call.method,
    trigger: call.trigger.kind,
    origin: call.origin.kind,
    color: call.headers["x-color"] ?? null,
    same: http.header("X-Color"),
    none: call.headers["x-none"] ?? null,
    listed: http.headers().some(([name]) => name === "host"),
    path: call.head.path,
    scheme: http.head().scheme,
    deadline: call.deadlineMs > 0 && call.id > 0,
}));

export const json = handler(async (call) => ({ got: call.json }));

export const text = handler((call) => ({ length: call.text.length }));

export const reversed = handler(({ bytes }) => bytes.slice().reverse());

export const number = handler(() => 42);

export const nothing = handler(() => {});

export const made = handler(() =>
    reply({ made: true }, { status: 201, headers: { "X-Color": "red", location: "/made/1" } }),
);

export const later = handler(async () => {
    await rpc.call("/echo");
    return "later";
});

export const gate = handler((call) => {
    const user = call.headers["x-user"];
    if (!user) throw new Failure("no-user", "log in first", { status: 401 });
    return pass({ payload: call.text.toUpperCase(), extra: { user, level: call.query.level } });
});

export const gated = handler((call) => ({
    user: call.extra[`${KEY}.user`],
    payload: call.text,
    level: call.query.level ?? null,
}));

// Failures.

export const fail = handler(() => {
    throw new Failure("no-such-flag", "there is no flag `dark`", { status: 404, data: { flag: "dark" } });
});

export const fault = handler(async () => {
    await null;
    throw new Error("out of cheese");
});

export const unsendable = handler(() => {
    const circle = {};
    circle.self = circle;
    return circle;
});

/** The memory of the module in its worker. */
let calls = 0;

export const state = handler(() => ({ calls: ++calls }));

snapshot({
    save: () => ({ calls }),
    load: (saved) => {
        calls = saved.calls;
    },
});

/** The calls that wait in `hold` until `release`. */
let held = [];

export const hold = handler(async ({ text }) => {
    await new Promise((resolve) => held.push(resolve));
    const { text: echoed } = await rpc.call("/echo", text);
    log.info(`released ${echoed} of the held calls`);
    return echoed;
});

export const release = handler(() => {
    const calls = held;
    held = [];
    for (const resolve of calls) resolve();
    return calls.length;
});

export const spin = handler(() => {
    for (;;);
});

export const random = handler(() => Math.random());

// The host, its log, config and options.

export const whoami = handler(() => host.whoami());

export const note = handler(() => {
    log.info("sold a hat", { shop: "main", left: 3 });
    console.log("printed", { a: [1, "two"] });
});

export const settings = handler(() => ({
    word: config.get("/word"),
    second: config.get("/list/1"),
    none: config.get("/none") ?? null,
    all: config.get(),
}));

export const options = handler(() => ({
    environment: program.options("/environment"),
    workers: program.options("/workers"),
    none: program.options("/none") ?? null,
}));

export const cluster = handler(() => {
    const mine = host.whoami();
    const found = nodes.get(mine.node);
    return {
        all: nodes.list().map(({ id }) => id === mine.node),
        mine: nodes.list(mine.server).length,
        others: nodes.list("no-such-type").length,
        unknown: nodes.get("no-such-node") ?? null,
        frontend: found.frontend,
        workers: found.workers === mine.workers,
        settings: found.settings,
        since: found.sinceMs > 1_700_000_000_000,
    };
});

export const master = handler(async ({ json }) => {
    const found = { send: "none", reply: null, failure: null, post: await kindOf(() => program.post(json)) };
    try {
        found.reply = JSON.parse(await program.send(json));
    } catch ({ kind, failure }) {
        found.send = kind;
        found.failure = failure?.name ?? null;
    }
    return found;
});

/** The hook that receives messages to the master. */
export const asked = handler(({ json, trigger: { kind, name } }) => {
    if (json.word === "bad") throw new Failure("bad-word", "this word is bad");
    return { kind, name, isolate: host.whoami().isolate, body: json };
});

/** Asks for 256 MiB. */
export const hoard = handler(() => {
    const all = [];
    for (let i = 0; i < 256; i++) all.push(new Uint8Array(1 << 20).fill(1));
    return `there was enough for ${all.length}`;
});

// Calls of other routes.

export const ask = handler(async ({ payload }) => {
    const [made, echoed] = await Promise.all([rpc.call("/reply"), rpc.call(`${KEY}.echo`, payload)]);
    const worker = await rpc.call("/echo", payload, { to: "worker-0", timeout: 5000 });
    return {
        status: made.status,
        json: made.json,
        color: made.headers["x-color"],
        echoed: echoed.text,
        worker: worker.text,
    };
});

export const refused = handler(() => rpc.call("flags/all"));

export const caught = handler(async () => {
    const found = {};
    found.forbidden = await kindOf(() => rpc.call("flags/all"));
    found.unknown = await kindOf(() => rpc.call("/nothing/here"));
    found.large = await kindOf(() => rpc.call("/echo", "x".repeat(70_000)));
    try {
        await rpc.call("/fail");
    } catch (error) {
        found.failure = error.failure.name;
        found.status = error.failure.status;
        found.data = error.failure.data.json;
    }
    return found;
});

export const every = handler(async (call) => {
    if (call.text === "origin") {
        const entries = await rpc.callEvery("/inner/origin");
        const origins = entries.map(({ reply }) => reply.json);
        return { origins: origins.map(({ trigger, ...origin }) => origin), trigger: origins[0].trigger };
    }
    const entries = await rpc.callEvery("/echo", "hi", { to: "workers" });
    return {
        isolates: entries.map(({ isolate }) => isolate),
        texts: entries.map(({ reply }) => reply.text),
        accepted: rpc.notify("/echo", { a: 1 }, { to: "workers" }),
    };
});

export const deep = handler(() => rpc.call("/rpc/deep"));

export const late = handler(async () => {
    const kind = await kindOf(() => rpc.call("/hold", "late", { timeout: 50 }));
    return { kind, released: (await rpc.call("/release")).json };
});

export const origin = handler((call) => ({ ...call.origin, trigger: call.trigger.kind }));

// Broadcasts, startups and schedules.

export const emit = handler(({ payload }) => {
    const { seq, accepted, skipped } = broadcast.emit("told", payload);
    return { seq, accepted, skipped };
});

export const gather = handler(async (call) => {
    const entries = await broadcast.gather("told", call.json, { timeout: 5000 });
    return entries.map(({ isolate, reply, error }) =>
        error ? { isolate, error: error.failure.name } : { isolate, reply: reply.json },
    );
});

export const told = handler(({ trigger, text, payload }) => {
    const body = text.startsWith("{") ? JSON.parse(text) : payload;
    if (body.word === "bad") throw new Failure("bad-word", "this word is bad");
    const { kind, name, seq, sameAsCaller } = trigger;
    return { kind, name, seq, mine: sameAsCaller, body };
});

export const keep = handler(async ({ payload }) => ({
    kept: await kindOf(() => broadcast.emitDurable("kept", payload)),
    told: await kindOf(() => broadcast.emitDurable("told", payload)),
}));

export const renew = handler(async () => ({ kind: await kindOf(() => broadcast.reload("no-such-module")) }));

let started;

export const warm = handler(({ trigger }) => {
    started = { name: trigger.name, reason: trigger.reason };
});

export const warmed = handler(() => started);

export const tick = handler((call) => {
    const { kind, name, dueMs, run } = call.trigger;
    return { kind, name, due: dueMs > 0, run: run.length > 0, data: call.json };
});

// Subdomains.

export const tenant = handler((call) => {
    rpc.notify("/inner/visited", "first", { subdomain: call.text });
    return { subdomain: call.subdomain ?? null };
});

export const visited = handler(({ text, subdomain }) => {
    sse.publish(KEY, { visit: text, subdomain: subdomain ?? null }, { event: "visited" });
    if (text === "first") rpc.notify("/inner/visited", "second");
    if (text === "second") broadcast.emit("visited", "third", { subdomain: "other" });
});

// Live streams.

export const publish = handler((call) => {
    const { key, data, event, id, close, closeAll } = call.json;
    if (closeAll) return { closed: sse.closeAll() };
    if (close) return { closed: sse.close(close) };
    if (!key) return { reached: sse.publishAll(data, { reach: "this-node" }) };
    return { reached: sse.publish(key, data, { event, id, retry: 1000 }), open: sse.count(key) };
});

export const admit = handler((call) => {
    if (!call.headers["x-user"]) throw new Failure("no-user", "log in first", { status: 401 });
    const { kind, key, lastEventId } = call.trigger;
    sse.publish(KEY, { kind, key, last: lastEventId }, { event: "admitted" });
    return pass();
});

// Events and messages.

export const tell = handler((call) => events.emit(call.json.type, call.json.value));

export const heard = handler((call) => {
    const { kind, name, source, topic, id } = call.trigger;
    if (call.json === "bad") throw new Failure("bad-value", "this value is bad", { status: 422 });
    sse.publish(KEY, { kind, name, source, topic, id: id !== undefined, value: call.json }, { event: "heard" });
});

export const subscribe = handler(async () => {
    const name = events.subscribe("conformance/later", "inner/heard");
    const same = events.subscribe("conformance/later", "inner/heard") === name;
    events.unsubscribe(name);
    const ended = await kindOf(() => events.unsubscribe(name));
    channels.unsubscribe(channels.subscribe("conformance/talk", "inner/heard"));
    return { same, ended, channel: "ended" };
});

export const message = handler(async ({ text }) => ({
    news: await kindOf(() => messages.publish("redis", "news", text)),
    other: await kindOf(() => messages.publish("redis", "other", text)),
}));

// Connected clients.

const USERS = { ada: "user-1", bob: "user-2" };

export const upgrade = handler((call) => {
    if (!USERS[call.query.as] && !call.headers["x-user"]) throw new Failure("no-such-user", "use ?as=ada or ?as=bob", { status: 401 });
    return pass();
});

const deeds = {
    async values(call) {
        sessions.bind("user-1", { taken: "share" });
        sessions.send(null, "note", { note: "first" });
        sessions.set({ name: { a: 1 }, list: [1] });
        const value = sessions.get("name");
        const values = sessions.values();
        sessions.remove(["name"]);
        await sessions.apply();
        const { id, uid, protocol } = sessions.current();
        return {
            kind: call.trigger.kind,
            id: call.params.id,
            wants: call.trigger.wantsReply,
            mine: call.trigger.session === id && call.session.id === id && call.origin.session === id,
            uid,
            protocol,
            value,
            values,
            left: Object.keys(sessions.values()),
            none: sessions.get("none") ?? null,
        };
    },

    group() {
        sessions.unbind();
        sessions.bind("user-2");
        sessions.set({ name: "bob" });
        const joined = sessions.join("team");
        const [id] = sessions.find("user-2");
        const found = sessions.look(id).uid === "user-2" ? 1 : 0;
        return { joined, members: sessions.members("team").length, found, ...sessions.count() };
    },

    async push() {
        sessions.send({ group: "team" }, "note", JSON.stringify("to the group"));
        const { reached, unknown, silent } = await sessions.push(
            [{ uid: "user-2" }, { uid: "nobody" }],
            "note",
            JSON.stringify("to user-2"),
        );
        sessions.send("everyone", "note", JSON.stringify("to all"));
        const [bob] = await sessions.findEverywhere("user-2");
        const { values } = await sessions.read(bob.id);
        await sessions.write(bob.id, { set: { five: 5 }, remove: ["name"] });
        return {
            reached,
            unknown,
            silent,
            ask: await kindOf(() => sessions.ask(bob.id, "question", "?")),
            read: values,
            written: sessions.get("five", { session: bob.id }),
        };
    },

    sign(call) {
        sessions.authenticate({ name: "carol" }, { expires: 60_000 });
        const { claims, protocol } = sessions.current();
        sessions.deauthenticate();
        const { exp, iat, ...own } = claims;
        const expires = exp > iat;
        return { name: call.trigger.name, protocol, claims: own, expires, after: sessions.current().claims ?? null };
    },

    fail() {
        throw new Failure("no-deed", "there is nothing to do");
    },

    leave() {
        sessions.leave("team");
        sessions.disconnect({ code: 4001, reason: "goodbye" });
    },

    async channel(call) {
        channels.add("conformance/room", call.session.id);
        const count = channels.count("conformance/room");
        const [{ uid }] = await channels.members("conformance/room");
        channels.kickOut("conformance/room", call.session.id, "enough");
        return { count, uid, after: channels.count("conformance/room") };
    },
};

export const room = handler((call) => deeds[call.json.do](call));

export const left = handler((call) => {
    const { kind, name } = call.trigger;
    sse.publish(KEY, { kind, name, code: call.json.code }, { event: "left" });
});

export const clients = handler(async (call) => ({
    session: call.session ?? null,
    get: await kindOf(() => sessions.get("name")),
    look: sessions.look("nobody") ?? null,
}));

// Channels.

export const channel = handler(async () => {
    const name = "conformance/room";
    channels.publish(name, "one");
    const { epoch, offset } = await channels.publishAndWait(name, "two");
    const page = await channels.history(name);
    const after = await channels.history(name, { after: { epoch, offset: offset - 1 }, most: 10 });
    let refused;
    try {
        await channels.publishAndWait(name, "bad");
    } catch (error) {
        refused = error.failure.name;
    }
    return {
        offset,
        messages: page.messages.map(({ payload }) => payload),
        after: after.messages.map(({ payload }) => payload),
        latest: page.latest,
        complete: page.complete,
        members: await channels.members(name),
        count: channels.count(name),
        refused,
        forbidden: await kindOf(() => channels.publish("lobby", "hi")),
        without: (await channels.publishAndWait("conformance/talk", "hi")) ?? null,
    };
});

export const may = handler((call) => {
    const { kind, channel: name, action } = call.trigger;
    if (call.text === "bad") throw new Failure("bad-word", "this word is bad", { status: 422 });
    if (kind !== "channel" || name !== "conformance/room" || action !== "publish") throw new Error("not a channel");
    return pass({ payload: call.text.toUpperCase() });
});
