// The contract in JavaScript on QuickJS, without an SDK.
import broadcast from "fanfare:module/broadcast@0.1.0";
import channels from "fanfare:module/channels@0.1.0";
import channelsAwait from "fanfare:module/channels-await@0.1.0";
import events from "fanfare:module/events@0.1.0";
import host from "fanfare:module/host@0.1.0";
import rpc from "fanfare:module/rpc@0.1.0";
import sessions from "fanfare:module/sessions@0.1.0";
import sessionsAwait from "fanfare:module/sessions-await@0.1.0";
import sse from "fanfare:module/sse@0.1.0";

const SLOW = "echo/slow";
const NONE = { tag: "none" };

/** The calls that wait in `hold` until `release`. */
let held = [];

const handlers = {
    async echo(call) {
        return call.payload;
    },

    async pass(call) {
        return pass(call);
    },

    async wait(call) {
        return ask(call.id, call.payload.tag === "text" ? call.payload.val : SLOW, NONE);
    },

    async emit(call) {
        try {
            const what = { module: null, name: "ping", subdomain: null, extra: [] };
            const { id, seq, accepted } = broadcast.emit(call.id, what, call.payload);
            return text(JSON.stringify({ id, seq, accepted }));
        } catch (error) {
            throw refused(error.payload);
        }
    },

    async charged(call) {
        for (let i = 0; i < 2; i++) await ask(call.id, SLOW, text(String(call.id)));
        host.log(call.id, "info", "charged", []);
        return text(String(call.id));
    },

    async stream(call) {
        const event = { data: text("grüße"), event: "tick", id: "7", retryMs: 1000, comment: null, extra: [] };
        try {
            const reached = sse.publish(call.id, call.payload.val, event, "this-node");
            return text(`${reached} of ${sse.count(call.payload.val)}`);
        } catch (error) {
            throw refused(error.payload);
        }
    },

    async tell(call) {
        try {
            events.emit(call.id, call.payload.tag === "text" ? call.payload.val : null, text("grüße"));
            return NONE;
        } catch (error) {
            throw refused(error.payload);
        }
    },

    async hear({ id, trigger, payload }) {
        if (trigger.tag !== "subscription") throw failure("not-an-event", "a subscription calls this handler");
        const from = trigger.val;
        const line = [from.name, from.source, from.topic, payload.val, from.id !== null].join(" ");
        const event = { data: text(line), event: null, id: null, retryMs: null, comment: null, extra: [] };
        try {
            sse.publish(id, "javascript", event, "everywhere");
            return NONE;
        } catch (error) {
            throw refused(error.payload);
        }
    },

    /** Handles a message of a connected client. */
    async greet({ id, trigger, payload }) {
        if (trigger.tag !== "client") throw failure("not-a-client", "a client calls this handler");
        try {
            const session = sessions.current(id);
            const own = { tag: "session", val: session.id };
            sessions.set(id, null, [["name", payload.val]]);
            sessions.send(id, own, "note", text("grüße"));
            const to = [own, { tag: "uid", val: "nobody" }];
            const pushed = await settled(sessionsAwait.push(id, to, "note", text("pushed")));
            const kept = sessions.get(id, null, "name");
            const { reached, unknown } = pushed;
            return text([trigger.val.name, kept, reached, unknown.length, session.protocol].join(" "));
        } catch (error) {
            throw error.payload ? refused(error.payload) : error;
        }
    },

    /** Publishes to the channel in the payload, and reads its history and its members. */
    async channel({ id, payload }) {
        const name = payload.val;
        try {
            channels.publish(id, name, text("first"));
        } catch (error) {
            throw refused(error.payload);
        }
        const place = await settled(channelsAwait.publish(id, name, text("grüße")));
        const page = await settled(channelsAwait.history(id, name, place, 10));
        const { messages } = await settled(channelsAwait.history(id, name, null, 10));
        const members = await settled(channelsAwait.members(id, name));
        const last = messages[messages.length - 1].payload.val;
        const facts = [place.offset, last, page.messages.length, messages.length, page.complete, members.length];
        return text([...facts, channels.count(name)].join(" "));
    },

    async hold() {
        await new Promise((resolve) => held.push(resolve));
        return text("released");
    },

    async release() {
        const calls = held;
        held = [];
        for (const resolve of calls) resolve();
        return text(String(calls.length));
    },
};

/** Calls a route and waits. An error becomes a failure with the name of its kind. */
async function ask(caller, route, payload) {
    const options = { timeoutMs: null, subdomain: null, extra: [] };
    return (await settled(rpc.call(caller, { tag: "any" }, route, payload, options))).payload;
}

/** Waits for the result of an import. */
async function settled(answer) {
    const result = await answer.read();
    answer.drop(); // QuickJS has no finaliser: without this, each call leaves a handle until the table is full.
    if (result.tag === "err") throw refused(result.val);
    return result.val;
}

function text(val) {
    return { tag: "text", val };
}

function pass({ id, payload }) {
    return { tag: "pass", val: { payload, extra: [["fact", String(id)]] } };
}

function failure(name, message) {
    return { name, message, status: 0, data: NONE, extra: [] };
}

function refused({ tag, val }) {
    switch (tag) {
        case "failure": return failure(tag, val.message);
        case "other": return failure(...val);
        default: return failure(tag, val ?? "");
    }
}

async function run(call) {
    const known = handlers[call.handler];
    if (!known) throw failure("no-such-handler", `there is no handler \`${call.handler}\``);
    const ended = await known(call);
    return ended.tag === "pass" ? ended : { tag: "reply", val: { status: 0, headers: [], payload: ended, extra: [] } };
}

// A call must end in its own turn. QuickJS runs every job that is ready in the turn of any call,
// and the end of a call answers the call whose turn it is. So a call that another call wakes would
// answer the other call's caller, and a call that waits for nothing of its own when its turn ends
// traps. Therefore a call that does not end at once waits for a future of its own. Its end writes
// the future, in the turn of any call. With this wrapper a handler may await anything.
export const handler = {
    async handle(call) {
        let end;
        let own;
        run(call).then(
            (value) => { end = () => value; },
            (error) => { end = () => { throw error; }; },
        ).then(() => own?.writable.write(0));
        // These jobs still run in the first turn of the call. They cost less than a future.
        for (let i = 0; i < 8 && !end; i++) await null;
        if (!end) {
            own = wit.Future(wit.Future.U8);
            await own.readable.read();
            own.readable.drop();
            own.writable.drop();
        }
        return end();
    },
};
