// `fanfare/testing`: a module in TypeScript, in memory.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { CallError, reply } from "fanfare";
import { TestHost } from "fanfare/testing";

const FIXTURES = join(import.meta.dirname, "fixtures");

/** Starts the module, and stops it with the test. */
async function start(t, options = {}) {
    const manifest = join(FIXTURES, "shop.json");
    const host = await TestHost.start(join(FIXTURES, "shop.ts"), { name: "shop", manifest, ...options });
    t.after(() => host.stop());
    return host;
}

/** The error of a call that fails. */
async function error(promise) {
    const thrown = await promise.then(
        () => assert.fail("the call succeeded"),
        (thrown) => thrown,
    );
    assert.ok(thrown instanceof CallError, thrown.stack);
    return thrown;
}

test("a handler replies, and calls a route of another module", async (t) => {
    const prices = { "bank/price": ({ text }) => text.length };
    const host = await start(t, { answers: prices });
    const bought = await host.call("buy", { item: "hat", count: 2 });
    assert.deepEqual([bought.status, bought.json, bought.headers.location], [201, { price: 6 }, "/hat"]);
    assert.equal(bought.headers["content-type"], "application/json");
    const total = await host.call("GET total/hat", undefined, { headers: { "User-Agent": "test" } });
    assert.deepEqual([total.status, total.json], [200, { item: "hat", count: 2, agent: "test" }]);
    const [{ level, message, fields }] = host.logs;
    assert.deepEqual(
        { level, message, fields },
        { level: "info", message: "sold", fields: { item: "hat", count: "2" } },
    );
    assert.deepEqual((await host.call("GET bytes")).payload, Uint8Array.of(1, 2));
});

test("a route without an answer is not found", async (t) => {
    const host = await start(t);
    const { failure } = await error(host.call("buy", { item: "hat", count: 2 }));
    assert.deepEqual([failure.name, failure.status], ["not-found", 404]);
    assert.match(failure.message, /has no answer for bank\.price/);
    assert.deepEqual((await host.call("kinds")).json, ["not-found", "not-found"]);
});

test("routes are open to whom the manifest says", async (t) => {
    const host = await start(t);
    assert.equal((await error(host.call("news"))).kind, "forbidden");
    assert.equal((await error(host.call("none"))).kind, "not-found");
    assert.equal((await error(host.call("news", "bad", { inside: true }))).failure.name, "error");
});

test("each worker handles a broadcast, with memory of its own", async (t) => {
    const host = await start(t, { workers: 2, answers: { "bank/price": () => 1 } });
    const heard = (await host.call("announce", '"x"', { on: 1 })).json;
    assert.deepEqual(
        heard,
        ['worker-0: worker-0 false "x"', 'worker-1: worker-1 true "x"'].map((line) => line.replaceAll('"', "")),
    );
    await host.settle();
    assert.deepEqual(host.emitted, [
        { name: "news", payload: "x" },
        { name: "news", payload: "again" },
    ]);
    const [entry] = await host.broadcast("news", '"bad"');
    assert.deepEqual(
        [entry.isolate, entry.error.failure.name, entry.error.failure.data.json],
        ["worker-0", "bad-news", { text: '"bad"' }],
    );
    assert.equal((await error(host.broadcast("none"))).kind, "not-found");
    await host.call("buy", { item: "hat", count: 1 }, { on: 1 });
    const counts = await Promise.all([0, 1].map((on) => host.call("GET total/hat", undefined, { on })));
    assert.deepEqual(
        counts.map(({ json }) => json.count),
        [0, 1],
    );
});

test("a swap hands the state over, and a restart loses it", async (t) => {
    const host = await start(t, { answers: { "bank/price": () => 1 } });
    await host.call("buy", { item: "hat", count: 1 });
    await host.swap();
    assert.equal((await host.call("GET total/hat")).json.count, 1);
    assert.equal((await host.call("GET facts")).json.warmed, "swap");
    await host.restart();
    assert.equal((await host.call("GET total/hat")).json.count, 0);
    assert.equal((await host.call("GET facts")).json.warmed, "restart");
});

test("config and options are those of the test", async (t) => {
    const host = await start(t, { env: { REGION: "eu" } });
    assert.deepEqual((await host.call("GET facts")).json, {
        region: "eu",
        warmed: "start",
        word: "hello",
        environment: "test",
    });
    host.config = { word: "hi" };
    assert.equal((await host.call("GET facts")).json.word, "hi");
});

test("nodes are this one and those of the test", async (t) => {
    const alone = await start(t);
    assert.deepEqual((await alone.call("GET cluster?id=chat-1")).json, { ids: ["test"], chat: [] });
    const nodes = [
        { id: "z-1", server: "z" },
        { id: "chat-1", server: "chat", frontend: true, settings: { weight: 3 } },
    ];
    const host = await start(t, { nodes });
    assert.deepEqual((await host.call("GET cluster?id=chat-1")).json, {
        ids: ["chat-1", "test", "z-1"],
        chat: ["chat-1"],
        settings: { weight: 3 },
        frontend: true,
    });
    assert.equal((await host.call("GET cluster?id=chat-2")).json.settings, undefined);
});

test("schedules, events and messages", async (t) => {
    const host = await start(t);
    const [ran] = await host.runSchedule("tick");
    assert.equal(ran.reply.text, "tick");
    const [tick, all] = host.published;
    assert.deepEqual([tick.key, tick.data, tick.event, tick.id], ["shop", '{"n":1}', "tick", "7"]);
    assert.deepEqual([all.key, all.data, all.reach], [undefined, "hello", "this-worker"]);
    await host.call("tell", { a: 1 });
    await host.emitEvent("shop/other", "x");
    assert.deepEqual(host.events, [{ type: "shop/told", value: { a: 1 } }]);
    assert.deepEqual(host.messages, [{ connection: "redis", topic: "news", payload: "hi" }]);
    assert.deepEqual(
        host.logs.map(({ message }) => message),
        ['heard shop/told {"a":1}', 'heard shop/other "x"'],
    );
    const [received] = await host.receive("told", "shop/third", "3", { id: "1-1" });
    assert.equal(received.error, undefined);
    await host.receive("bids", "bids.a", "4");
    assert.equal(host.logs.at(-1).message, "heard bids.a 4 of nats");
});

test("middlewares run before the handler", async (t) => {
    const stub = { "limiter/check": ({ query }) => ({ refused: query.rate }) };
    const host = await start(t, { middlewares: stub });
    assert.equal((await host.call("own", undefined, { headers: { "x-user": "ada" } })).text, "ada!");
    assert.equal((await error(host.call("own"))).failure.name, "no-user");
    assert.deepEqual((await host.call("limited")).json, { refused: "1" });
    const none = await start(t);
    assert.equal((await error(none.call("limited"))).kind, "unavailable");
});

test("calls that interleave keep their ids", async (t) => {
    const host = await start(t);
    const all = await Promise.all(Array.from({ length: 64 }, (_, n) => host.call("interleaved", `${n}`)));
    assert.deepEqual(
        all.map(({ text }) => text),
        Array.from({ length: 64 }, (_, n) => `${n} true`),
    );
});

test("an error is a failure, and a line in the log", async (t) => {
    const host = await start(t);
    const { kind, failure } = await error(host.call("broken"));
    assert.deepEqual(
        [kind, failure.name, failure.message, failure.status],
        ["failure", "error", "broken: inside", 500],
    );
    const [{ level, message, fields }] = host.logs;
    assert.equal(level, "error");
    assert.match(message, /^RangeError: broken: inside \(.*:\d+\)$/);
    assert.equal(fields.handler, "broken");
});

test("a failure with status 500 is logged once, and no other one", async (t) => {
    const host = await start(t);
    for (const body of [{ status: 404 }, { status: 503 }, { extra: { silent: "true" } }]) {
        await error(host.call("faults", body));
    }
    assert.deepEqual(host.logs, []);
    await error(host.call("faults", {}));
    assert.match(host.logs[0].message, /^no-stock: the shelf is empty \(.*:\d+\)$/);
    assert.equal((await error(host.call("passed-on"))).failure.name, "no-stock");
    assert.deepEqual(
        host.logs.map(({ fields }) => fields.handler),
        ["faults", "faults"],
        "the handler that passes it on logs nothing",
    );
});

test("a failure that is returned counts as thrown", async (t) => {
    const host = await start(t);
    const { failure } = await error(host.call("returned"));
    assert.deepEqual([failure.name, failure.status], ["returned", 409]);
});

test("a response takes the place of another server", async (t) => {
    const responses = {
        "https://api.test/moved": ({ headers }) => reply(null, { status: 301, headers: { location: headers["x-to"] } }),
        "https://api.test/": ({ text }) => reply({ sent: text }, { status: 201 }),
        "https://other.test/": ({ headers }) => headers,
    };
    const host = await start(t, { responses });
    const ask = async (url, options) => (await host.call("POST rates", { url, ...options })).json;
    const made = await ask("https://api.test/rates", { method: "POST", body: "EUR", timeout: 700 });
    assert.deepEqual(made, { url: "https://api.test/rates", redirected: false, status: 201, text: '{"sent":"EUR"}' });
    assert.deepEqual(host.requests, [
        {
            method: "POST",
            url: "https://api.test/rates",
            headers: { "content-type": "text/plain;charset=UTF-8" },
            text: "EUR",
            timeout: 700,
        },
    ]);
    const denied = await error(host.call("POST rates", { url: "https://none.test/" }));
    assert.equal(denied.kind, "failure");
    assert.match(denied.message, /no response for https:\/\/none.test\/: add it to `responses`/);
});

test("fetch follows redirects as a browser does", async (t) => {
    const responses = {
        "https://api.test/a/moved": ({ headers }) =>
            reply(null, { status: Number(headers["x-status"] ?? 302), headers: { location: headers["x-to"] } }),
        "https://": "here",
    };
    const host = await start(t, { responses });
    const follow = async (to, { url = "https://api.test/a/moved?q", headers, ...options } = {}) => {
        host.requests.length = 0;
        const { text, redirected } = (
            await host.call("POST rates", { url, headers: { "x-to": to, ...headers }, ...options })
        ).json;
        assert.deepEqual([text, redirected], ["here", true]);
        return host.requests[1];
    };
    for (const [to, url] of [
        ["/b", "https://api.test/b"],
        ["b?c#d", "https://api.test/a/b?c#d"],
        ["../b/./c/..", "https://api.test/b/"],
        ["//other.test/x", "https://other.test/x"],
        ["https://other.test", "https://other.test"],
    ]) {
        assert.equal((await follow(to)).url, url, to);
    }
    const secrets = { authorization: "Bearer a", cookie: "b=1", "content-type": "text/css", "x-c": "c" };
    const post = { method: "POST", body: "sent", headers: secrets };
    const same = await follow("/b", post);
    assert.deepEqual([same.method, same.text, same.headers.authorization], ["GET", "", "Bearer a"]);
    assert.equal(same.headers["content-type"], undefined);
    const kept = await follow("/b", { ...post, headers: { ...secrets, "x-status": "307" } });
    assert.deepEqual([kept.method, kept.text, kept.headers["content-type"]], ["POST", "sent", "text/css"]);
    const other = await follow("https://other.test/", post);
    assert.deepEqual([other.headers.authorization, other.headers.cookie, other.headers["x-c"]], [undefined, undefined, "c"]);
    host.requests.length = 0;
    const endless = await error(host.call("POST rates", { url: "https://api.test/a/moved", headers: { "x-to": "moved" } }));
    assert.match(endless.message, /redirects more than 20 times/);
    assert.equal(host.requests.length, 21);
});
