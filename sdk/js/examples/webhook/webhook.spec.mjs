import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import { TestHost } from "fanfare/testing";

const SECRET = "It's a secret to everybody";

async function start(config = {}) {
    const manifest = new URL("module.json", import.meta.url);
    const entry = new URL("webhook.js", import.meta.url);
    const host = await TestHost.start(entry, { manifest, name: "webhook", workers: 2 });
    Object.assign(host.config, { secrets: { webhook: SECRET } }, config);
    return host;
}

function signed(body, delivery) {
    const hash = createHmac("sha256", SECRET).update(body).digest("hex");
    const headers = { "x-hub-signature-256": `sha256=${hash}`, "x-github-event": "push" };
    return delivery ? { ...headers, "x-github-delivery": delivery } : headers;
}

const send = async (host, body, delivery, on = 0) =>
    (await host.call("POST ", body, { headers: signed(body, delivery), on })).json;

const named = (name) => (error) => error.failure?.name === name;

test("an event reaches every worker, and the stream once", async (t) => {
    const host = await start();
    t.after(() => host.stop());
    assert.deepEqual(await send(host, '{"n":1}', "one"), { delivery: "one", new: true });
    const event = { delivery: "one", event: "push", body: { n: 1 } };
    assert.deepEqual(
        host.published.map(({ key, event, data }) => [key, event, JSON.parse(data)]),
        [["webhook", "push", event]],
    );
    for (const on of [0, 1]) assert.deepEqual((await host.call("GET last", undefined, { on })).json, event);
});

test("a wrong signature and a missing one are refused", async (t) => {
    const host = await start();
    t.after(() => host.stop());
    const right = signed("hello", "one")["x-hub-signature-256"];
    const flipped = right.slice(0, -1) + (right.endsWith("0") ? "1" : "0");
    for (const signature of [undefined, "", "sha256=", "sha256=zz", right.slice(7), flipped, `${right}00`]) {
        const headers = signature === undefined ? {} : { "x-hub-signature-256": signature };
        await assert.rejects(host.call("POST ", "hello", { headers }), named("wrong-signature"));
    }
    await assert.rejects(host.call("POST ", "Hello", { headers: signed("hello") }), /wrong or missing/);
    assert.equal(host.emitted.length, 0);
});

test("bytes that are not UTF-8 are signed as they are", async (t) => {
    const host = await start();
    t.after(() => host.stop());
    assert.equal((await send(host, Uint8Array.of(0xff, 0, 1), "bytes")).new, true);
});

test("a delivery counts once, in whichever worker it arrives, also after a swap and a crash", async (t) => {
    const host = await start();
    t.after(() => host.stop());
    assert.equal((await send(host, "hello", "one")).new, true);
    assert.equal((await send(host, "hello", "one", 1)).new, false);
    await host.swap();
    assert.equal((await send(host, "hello", "one")).new, false);
    await host.restart(0);
    assert.equal((await send(host, "hello", "one")).new, false);
    assert.equal(host.published.length, 1);
});

test("the signature stands for a missing id", async (t) => {
    const host = await start();
    t.after(() => host.stop());
    assert.equal((await send(host, "hello")).new, true);
    assert.equal((await send(host, "hello")).new, false);
    assert.equal((await send(host, "hello again")).new, true);
});

test("a worker remembers the last ids only", async (t) => {
    const host = await start({ remember: 2 });
    t.after(() => host.stop());
    for (const id of ["one", "two", "three"]) await send(host, "hello", id);
    assert.equal((await send(host, "hello", "three")).new, false);
    assert.equal((await send(host, "hello", "two")).new, false);
    assert.equal((await send(host, "hello", "one")).new, true);
    await assert.rejects(send(host, "hello", "x".repeat(101)), named("bad-delivery"));
});
