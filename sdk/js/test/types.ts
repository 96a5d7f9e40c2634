// Compiled by `types.test.js`: what a module in TypeScript may write, and what it may not.

import { Failure, broadcast, config, handler, handlers, pass, reply, rpc, sessions, snapshot, sse } from "fanfare";
import { TestHost } from "fanfare/testing";
import { build } from "fanfare/build";

export const greet = handler(({ params, query }) => `${params["name"]} ${query["x"] ?? ""}`);
export const tell = handler(async ({ json }) => ({ workers: (await broadcast.gather("told", json)).length }));
export const many = handler(async () => {
    const entries = await rpc.callEvery("/a", [1], { to: "workers", timeout: 5 });
    return entries.map((entry) => (entry.error ? entry.error.kind : entry.reply.status));
});
export const gate = handler((call) => {
    if (call.trigger.kind === "broadcast") return pass({ extra: { mine: call.trigger.sameAsCaller } });
    if (call.origin.kind === "guest") return reply("x", { status: 418, headers: { a: ["b", 1] } });
    throw new Failure("no", "no", { status: 403, data: { a: 1 } });
});
export const rate = handler(async () => (await fetch("https://api.test/", { timeout: 500 })).json());
export default handlers({ "kebab-name": (call) => call.bytes });
snapshot({ save: () => ({ calls: 1 }), load: (state) => void state.calls.toFixed() });

const limit: number | undefined = config.get<number>("/limit");
sessions.send({ uid: "ada" }, "note", limit);

// @ts-expect-error A handler is a function.
handler("greet");
// @ts-expect-error There is no such place.
rpc.callEvery("/a", undefined, { to: "everywhere" });
// @ts-expect-error There is no such reach.
sse.publish("a", "b", { reach: "world" });
// @ts-expect-error A recipient is an object.
sessions.send("ada", "note");
// @ts-expect-error The state has no `count`.
snapshot({ save: () => ({ calls: 1 }), load: (state) => void state.count });
// @ts-expect-error An entry has a reply or an error.
broadcast.gather("a").then(([entry]) => entry?.reply.status);
// @ts-expect-error A call has no `body`.
handler(({ body }) => body);

export async function test() {
    const host = await TestHost.start(new URL("./greet.ts", import.meta.url), { manifest: "module.json", workers: 2 });
    const { status } = await host.call("GET Ada", undefined, { on: 1 });
    const { size } = await build({ entry: "greet.ts", output: "greet.wasm" });
    const client = await host.connect({ socket: "live/7", headers: { cookie: "a" } });
    const reader = await host.stream("news", { lastEventId: "7" });
    const position = await host.publishToChannel("room", { n: 1 });
    const texts = [client.received[0]?.name, reader.events[0]?.event, host.channelMembers("room")[0]?.uid];
    // @ts-expect-error A client has a name for each message.
    await client.request();
    return status + size + host.published.length + (position?.offset ?? 0) + texts.length;
}
