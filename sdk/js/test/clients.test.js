// Clients, channels and streams of `fanfare/testing`.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { CallError } from "fanfare";
import { Rejection, TestHost } from "fanfare/testing";

const FIXTURES = join(import.meta.dirname, "fixtures");

async function start(t, options = {}) {
    const manifest = join(FIXTURES, "lobby.json");
    const host = await TestHost.start(join(FIXTURES, "lobby.js"), { name: "lobby", manifest, ...options });
    t.after(() => host.stop());
    return host;
}

async function thrown(promise) {
    return promise.then(
        () => assert.fail("nothing was thrown"),
        (error) => error,
    );
}

/** The messages that a log has, without those of the level `debug`. */
function lines({ logs }, level = "info") {
    return logs.filter((line) => line.level === level).map(({ message }) => message);
}

const names = (client) => client.received.map(({ name, payload }) => [name, payload]);

test("hooks admit clients, and reject them as a host does", async (t) => {
    const host = await start(t, { workers: 2 });
    const ada = await host.connect({ data: { name: "ada" }, on: 1, headers: { "X-Color": "red" } });
    assert.equal(ada.id, "test/client00000000000000");
    assert.equal(ada.value("name"), "ada");
    const { worker, protocol, uid, claims } = ada.session;
    assert.deepEqual([worker, protocol, uid, claims], [1, "socketcluster/2", undefined, undefined]);
    const plain = await host.connect({ socket: "seat/7?color=red" });
    assert.deepEqual([plain.session.protocol, plain.value("name")], ["plain", "guest"]);
    assert.deepEqual(lines(host), [
        "upgrade /socketcluster/ {}",
        'upgrade /api/lobby/seat/7 {"number":"7","color":"red"}',
    ]);

    const banned = await thrown(host.connect({ headers: { "x-banned": "1" } }));
    assert.ok(banned instanceof Rejection && banned.cause instanceof CallError);
    assert.deepEqual([banned.status, banned.code, banned.cause.failure.name], [451, undefined, "banned"]);
    const nobody = await thrown(host.connect({ data: { name: "nobody" } }));
    assert.deepEqual([nobody.status, nobody.code], [undefined, 4100]);
    assert.equal((await thrown(host.connect({ socket: "seat" }))).status, 404);
    await assert.rejects(host.connect({ on: 2 }), /no worker-2/);
    await assert.rejects(host.connect({ socket: "seat/1", data: 1 }), /no data/);
    assert.deepEqual((await host.call("open")).json, { session: { sessions: 2, bound: 0 } });
});

test("messages run the filters and their route", async (t) => {
    const host = await start(t);
    const ada = await host.connect({ subdomain: "shop" });
    const answer = await ada.request("say", " hi ");
    assert.equal(answer, `hi POST say ${ada.id} say true shop [POST say]`);
    for (const name of ["lobby.say", "lobby/say", "/say"])
        assert.equal(await ada.request(name, "x"), `x POST say ${ada.id} ${name} true shop [POST say]`);
    assert.equal(await ada.request("say", "spam"), "no spam");
    await ada.send("say", "unheard");
    assert.deepEqual(ada.received, []);
    for (const [name, kind] of [["open", "forbidden"], ["nowhere", "not-found"], ["other.say", "not-found"]])
        assert.equal((await thrown(ada.request(name))).kind, kind, name);
    const seat = await host.connect({ socket: "seat/7?color=red" });
    assert.equal(await seat.request("", "taken"), "7 red taken [POST seat]");
    await seat.send("", "again");
    assert.deepEqual(names(seat), [["", "7 red taken [POST seat]"], ["", "7 red again [POST seat]"]]);
    assert.equal((await thrown(seat.subscribe("room/1"))).kind, "invalid");
    const other = await host.connect({ socket: "other" });
    assert.equal((await thrown(other.request("", "x"))).kind, "not-found");
});

test("sessions have values, users, groups and tokens", async (t) => {
    const host = await start(t);
    const ada = await host.connect({ data: { name: "ada" } });
    const bob = await host.connect({ data: { name: "bob" } });
    const does = async (client, deed, payload) => {
        const text = await client.request(`lobby/do/${deed}`, payload);
        return text.replace(/ ?\[POST .*\]$/, "");
    };
    const json = async (...all) => JSON.parse(await does(...all));
    assert.deepEqual(await json(ada, "values"), { all: { name: "ada", a: { b: 1 } }, name: "ada", none: null });
    assert.deepEqual(ada.value("a"), { b: 1 });
    assert.equal(await does(ada, "bind", "user"), "");
    assert.equal(await does(bob, "bind", "user"), "forbidden");
    await does(bob, "share", "user");
    assert.deepEqual([ada.session.uid, bob.session.uid], ["user", "user"]);
    assert.deepEqual(await json(ada, "group"), { joined: [1, 0], members: true, sessions: 2, bound: 2 });
    assert.deepEqual(await json(ada, "tell"), { reached: 4, unknown: [{ uid: "nobody" }], silent: [] });
    const pushed = ["note", "pushed"];
    assert.deepEqual(names(ada), [["note", "to you"], ["note", '{"to":"the team"}'], pushed, pushed]);
    assert.deepEqual(names(bob), [pushed, pushed]);
    assert.equal(await does(ada, "leave"), "1");
    await does(ada, "unbind");
    await does(ada, "bind", "ada");
    assert.deepEqual(await json(ada, "elsewhere"), { values: { a: { b: 1 }, there: true }, found: [true] });
    assert.deepEqual(await json(ada, "sign"), { claims: { name: "carol" }, after: null });

    assert.equal(await does(ada, "ask"), "timeout");
    ada.answer("question", (payload) => `${payload} seven`);
    assert.equal(await does(ada, "ask"), "how many? seven");
    ada.answer("question", () => {
        throw new Error("no idea");
    });
    assert.equal(await does(ada, "ask"), "failure");

    await does(ada, "replace", "user");
    assert.deepEqual(bob.closed, { code: 4010, reason: "the user has connected again" });
    await host.settle();
    assert.equal(lines(host).at(-1), "left 4010 the user has connected again undefined");
    assert.equal((await thrown(bob.request("say", "x"))).kind, "unavailable");
});

test("claims are those of the hook, and a failure may close the connection", async (t) => {
    const host = await start(t);
    const ada = await host.connect({ claims: { name: "ada" } });
    assert.deepEqual(ada.session.claims, { name: "ada", checked: true });
    const failed = await thrown(ada.authenticate({ expired: true }));
    assert.equal(failed.failure.name, "expired");
    assert.equal(ada.closed.code, 4005);
    const bob = await host.connect();
    await bob.request("lobby/do/bye");
    assert.deepEqual(bob.closed, { code: 4001, reason: "goodbye" });
    const carol = await host.connect();
    await carol.disconnect(4002, "off");
    const left = lines(host).filter((line) => line.startsWith("left"));
    assert.deepEqual(left.slice(-2), ["left 4001 goodbye undefined", "left 4002 off undefined"]);
    await assert.rejects(carol.authenticate([]), TypeError);
});

test("channels have an order, a history, members and routes", async (t) => {
    const host = await start(t);
    const ada = await host.connect();
    const result = JSON.parse((await ada.request("lobby/do/channel", "room/1")).replace(/ \[POST .*\]$/, ""));
    assert.deepEqual(result, {
        positions: [1, 2, 3],
        kept: ["TWO", "THREE"],
        latest: 3,
        complete: false,
        after: [["THREE"], true],
        members: [true],
        count: 1,
        refused: "failure",
    });
    assert.deepEqual(
        host.channelMessages("room/1").map(({ offset, payload }) => [offset, payload]),
        [[1, "ONE"], [2, "TWO"], [3, "THREE"]],
    );
    await ada.subscribe("room/1");
    assert.equal(host.channelMembers("room/1").length, 1, "a member that subscribes again");

    const bob = await host.connect();
    await ada.subscribe("presence/room/1");
    await bob.subscribe("room/1", { color: "red" });
    assert.deepEqual(host.channelMembers("room/1")[1], { session: bob.id, uid: undefined, info: { color: "red" } });
    await bob.publish("room/1", "hi");
    assert.deepEqual(await host.publishToChannel("room/1", { n: 1 }), { epoch: "test", offset: 5 });
    const publish = (channel, data, offset) => ["#publish", JSON.stringify({ channel, data, position: offset })];
    const member = { id: bob.id.slice("test/".length), uid: null, info: { color: "red" } };
    const join = { action: "join", member, count: 2 };
    assert.deepEqual(names(ada), [
        publish("presence/room/1", join),
        publish("room/1", "HI", "test-4"),
        publish("room/1", { N: 1 }, "test-5"),
    ]);
    assert.equal((await thrown(bob.publish("room/1", "bad"))).failure.name, "bad-word");
    assert.deepEqual((await thrown(bob.publish("room/1", "no"))).failure.name, "refused");
    assert.equal((await thrown(bob.publish("presence/room/1", "x"))).kind, "forbidden");
    await bob.unsubscribe("room/1");
    await ada.request("lobby/do/kick", "room/1");
    assert.deepEqual(names(ada).at(-1), ["#kickOut", '{"message":"enough","channel":"room/1"}']);
    assert.deepEqual(host.channelMembers("room/1"), []);
    await bob.subscribe("room/1");
    await bob.disconnect();
    assert.deepEqual(host.channelMembers("room/1"), [], "a client that left");
    assert.equal(lines(host, "debug").filter((line) => line.startsWith("subscribe room/1")).length, 4);
});

test("a route changes what is delivered, in the order of the channel", async (t) => {
    const host = await start(t);
    const ada = await host.connect();
    await ada.subscribe("quiet");
    await Promise.all([ada.publish("quiet", "1"), ada.publish("quiet", "2")]);
    await host.settle();
    const deliver = (text) => ["#publish", JSON.stringify({ channel: "quiet", data: `${text} for ${ada.id}` })];
    assert.deepEqual(names(ada), [deliver(1), deliver(2)]);
    // Without a route, a message is delivered at once.
    await ada.subscribe("open");
    assert.match(await ada.request("lobby/do/say", "hello"), /^1 /);
    assert.deepEqual(names(ada).at(-1), ["#publish", '{"channel":"open","data":"hello"}']);
});

test("the module listens to channels", async (t) => {
    const host = await start(t);
    const ada = await host.connect();
    assert.match(await ada.request("lobby/do/listen", "room/1"), /^\["channel-1","channel-1"\]/);
    await host.publishToChannel("room/1", "news");
    await host.settle();
    assert.equal(lines(host).at(-1), "heard channel room/1 test-1 NEWS");
    await ada.request("lobby/do/deaf", "channel-1");
    await host.publishToChannel("room/1", "more");
    await host.settle();
    assert.equal(lines(host).filter((line) => line.startsWith("heard")).length, 1);
});

test("streams are admitted, receive events and are closed", async (t) => {
    const host = await start(t, { workers: 2 });
    const open = await host.stream("news");
    const refused = await thrown(host.stream("secret/1"));
    assert.ok(refused instanceof Rejection);
    assert.deepEqual([refused.status, refused.cause.failure.name], [401, "no-cookie"]);
    const headers = { cookie: "yes" };
    const moved = await thrown(host.stream("secret/moved", { headers }));
    assert.deepEqual([moved.status, moved.reply.headers.location], [303, "/"]);
    const secret = await host.stream("secret/1", { headers, lastEventId: "7", on: 1 });
    assert.equal(lines(host).at(-1), "resumes after 7");

    const ada = await host.connect();
    assert.match(await ada.request("lobby/do/stream"), /^\[1,2,1,2,1\]/);
    assert.deepEqual(open.events.map(({ data, event, id }) => [data, event, id]), [
        ["one", "tick", "7"],
        ["all", undefined, undefined],
        ["near", undefined, undefined],
    ]);
    assert.deepEqual(
        secret.events.map(({ data }) => data),
        ["all"],
    );
    assert.deepEqual([open.open, secret.open], [false, true]);
    assert.deepEqual(
        host.published.map(({ key, reach }) => [key, reach]),
        [["news", "everywhere"], [undefined, "everywhere"], [undefined, "this-worker"]],
    );
    secret.close();
    assert.equal(secret.open, false);
});

test("errors are those of a host", async (t) => {
    const host = await start(t);
    const ada = await host.connect();
    const text = await ada.request("lobby/do/wrong");
    assert.deepEqual(JSON.parse(text.replace(/ \[POST .*\]$/, "")), [
        "no session",
        "not-found",
        "invalid",
        "invalid",
        "invalid",
        "forbidden",
        "invalid",
        "invalid",
        "not-found",
        "not-found",
        "not-found",
        "invalid",
        "invalid",
    ]);
});
