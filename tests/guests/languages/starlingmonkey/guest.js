// The contract in JavaScript on StarlingMonkey without an SDK: one call at a time.
import * as broadcast from "fanfare:module/broadcast-blocking@0.1.0";
import * as channels from "fanfare:module/channels@0.1.0";
import * as channelsBlocking from "fanfare:module/channels-blocking@0.1.0";
import * as events from "fanfare:module/events@0.1.0";
import * as host from "fanfare:module/host@0.1.0";
import * as rpc from "fanfare:module/rpc-blocking@0.1.0";
import * as sessions from "fanfare:module/sessions@0.1.0";
import * as sessionsBlocking from "fanfare:module/sessions-blocking@0.1.0";
import * as sse from "fanfare:module/sse@0.1.0";

const SLOW = "echo/slow";
const NONE = { tag: "none" };

const handlers = {
    echo(call) {
        return call.payload;
    },

    pass(call) {
        return { tag: "pass", val: { payload: call.payload, extra: [["fact", String(call.id)]] } };
    },

    wait(call) {
        return ask(call.id, call.payload.tag === "text" ? call.payload.val : SLOW, NONE);
    },

    emit(call) {
        const what = { module: undefined, name: "ping", subdomain: undefined, extra: [] };
        const { id, seq, accepted } = attempt(() => broadcast.emit(call.id, what, call.payload));
        return text(`{"id":${id},"seq":${seq},"accepted":${accepted}}`);
    },

    charged(call) {
        for (let i = 0; i < 2; i++) ask(call.id, SLOW, text(String(call.id)));
        host.log(call.id, "info", "charged", []);
        return text(String(call.id));
    },

    stream(call) {
        const event = { data: text("grüße"), event: "tick", id: "7", retryMs: 1000, comment: undefined, extra: [] };
        const reached = attempt(() => sse.publish(call.id, call.payload.val, event, "this-node"));
        return text(`${reached} of ${sse.count(call.payload.val)}`);
    },

    tell(call) {
        const type = call.payload.tag === "text" ? call.payload.val : undefined;
        attempt(() => events.emit(call.id, type, text("grüße")));
        return NONE;
    },

    hear({ id, trigger, payload }) {
        if (trigger.tag !== "subscription") throw failure("not-an-event", "a subscription calls this handler");
        const from = trigger.val;
        const line = [from.name, from.source, from.topic, payload.val, from.id !== undefined].join(" ");
        const event = { data: text(line), event: undefined, id: undefined, retryMs: undefined, comment: undefined, extra: [] };
        attempt(() => sse.publish(id, "starlingmonkey", event, "everywhere"));
        return NONE;
    },

    /** Handles a message of a connected client. */
    greet({ id, trigger, payload }) {
        if (trigger.tag !== "client") throw failure("not-a-client", "a client calls this handler");
        const session = sessions.current(id);
        const own = { tag: "session", val: session.id };
        attempt(() => sessions.set(id, undefined, [["name", payload.val]]));
        attempt(() => sessions.send(id, own, "note", text("grüße")));
        const to = [own, { tag: "uid", val: "nobody" }];
        const { reached, unknown } = attempt(() => sessionsBlocking.push(id, to, "note", text("pushed")));
        const kept = attempt(() => sessions.get(id, undefined, "name"));
        return text([trigger.val.name, kept, reached, unknown.length, session.protocol].join(" "));
    },

    /** Publishes to the channel in the payload, and reads its history and its members. */
    channel({ id, payload }) {
        const name = payload.val;
        attempt(() => channels.publish(id, name, text("first")));
        const place = attempt(() => channelsBlocking.publish(id, name, text("grüße")));
        const page = attempt(() => channelsBlocking.history(id, name, place, 10));
        const { messages } = attempt(() => channelsBlocking.history(id, name, undefined, 10));
        const members = attempt(() => channelsBlocking.members(id, name));
        const last = messages[messages.length - 1].payload.val;
        const facts = [place.offset, last, page.messages.length, messages.length, page.complete, members.length];
        return text([...facts, channels.count(name)].join(" "));
    },
};

/** Calls a route. The whole instance waits for the answer. */
function ask(caller, route, payload) {
    const options = { timeoutMs: undefined, subdomain: undefined, extra: [] };
    return attempt(() => rpc.call(caller, { tag: "any" }, route, payload, options)).payload;
}

/** Converts an error of an import to a failure with the name of its kind. */
function attempt(work) {
    try {
        return work();
    } catch (error) {
        const { tag, val } = error.payload;
        switch (tag) {
            case "failure": throw failure(tag, val.message);
            case "other": throw failure(...val);
            default: throw failure(tag, val ?? "");
        }
    }
}

function text(val) {
    return { tag: "text", val };
}

function failure(name, message) {
    return { name, message, status: 0, data: NONE, extra: [] };
}

export const handlerSync = {
    handle(call) {
        const known = handlers[call.handler];
        if (!known) throw failure("no-such-handler", `there is no handler \`${call.handler}\``);
        const ended = known(call);
        return ended.tag === "pass" ? ended : { tag: "reply", val: { status: 0, headers: [], payload: ended, extra: [] } };
    },
};
