// Channels of a test: their members, messages and routes.

import { encode } from "../text.js";
import { allowed, refused } from "./calls.js";
import { best, parseRoute } from "./routes.js";

/** The epoch of every channel. */
const EPOCH = "test";

/** When every message got its place. */
const AT = 1_700_000_000_000;

/** Members of a channel are announced on the channel with this prefix. */
const PRESENCE = "presence/";

/** The most bytes of a name, and the most messages of a page, as in a host. */
const MAX_NAME = 256;
const MOST = 1000;

/** The actions that a route decides about, unless `on` names others. */
const ASKED = ["subscribe", "unsubscribe", "publish"];

function checkName(name) {
    const size = encode(name).length;
    if (size > 0 && size <= MAX_NAME && !/\p{Cc}/u.test(name)) return;
    const rule = `the name of a channel has 1 to ${MAX_NAME} bytes and no control characters`;
    throw refused("invalid", `${rule}: ${JSON.stringify(name)}`);
}

/** The channel whose members a channel announces. */
function announced(channel) {
    return channel.startsWith(PRESENCE) ? channel.slice(PRESENCE.length) || undefined : undefined;
}

/** The data of a message as a client of SocketCluster receives it. */
function dataOf({ tag, val }) {
    if (tag === "none") return null;
    if (tag === "bytes") return { base64: true, data: Buffer.from(val).toString("base64") };
    try {
        return JSON.parse(val);
    } catch {
        return val;
    }
}

export class Channels {
    #all = new Map();
    #lines = new Map();
    #subscriptions = [];
    #made = 0;
    #manifest;

    constructor(host, manifest) {
        this.host = host;
        this.#manifest = manifest;
    }

    #entry(channel) {
        return best(this.#manifest.channels, channel);
    }

    #of(channel) {
        if (!this.#all.has(channel)) this.#all.set(channel, { members: [], messages: [] });
        return this.#all.get(channel);
    }

    /** How many messages a channel keeps. */
    #kept(channel) {
        const history = this.#entry(channel)?.history;
        return typeof history === "object" && history !== null ? (history.count ?? 100) : (history ?? 0);
    }

    /** The route of a channel, if it decides about this action. */
    #asked(channel, action) {
        const { path, on = ASKED } = this.#entry(channel) ?? {};
        return on.includes(action) ? path : undefined;
    }

    messages(channel) {
        return this.#all.get(channel)?.messages ?? [];
    }

    members(channel) {
        return this.#all.get(channel)?.members ?? [];
    }

    /**
     * Does an action after those before it, and after the route of the channel allows it. Without a
     * route it is done at once. Resolves with the position of a message.
     */
    offer(channel, step, origin) {
        checkName(channel);
        if (step.action === "publish" && announced(channel) !== undefined)
            throw refused("forbidden", `only the host publishes to ${channel}`);
        return this.#add(channel, step, origin);
    }

    /** Puts an action at the end of its line, and calls the route if it decides about the action. */
    #add(channel, step, origin) {
        const line = step.action === "deliver" ? `${step.session} ${channel}` : ` ${channel}`;
        if (!this.#lines.has(line)) this.#lines.set(line, []);
        const waiting = { channel, step };
        const done = new Promise((resolve, reject) => Object.assign(waiting, { resolve, reject }));
        this.host.track(done);
        this.#lines.get(line).push(waiting);
        const asked = announced(channel) ?? channel;
        const path = this.#asked(asked, step.action);
        if (path === undefined) waiting.outcome = { tag: "pass", val: {} };
        else {
            const decided = (key, value) => {
                waiting[key] = value;
                this.#advance(line);
            };
            this.#askRoute(path, asked, step, origin).then(
                (outcome) => decided("outcome", outcome),
                (error) => decided("error", error),
            );
        }
        this.#advance(line);
        return done;
    }

    /** Calls the route of a channel. A test has no brokers: worker 0 runs it. */
    async #askRoute(path, channel, { action, session, payload }, origin, tag = action) {
        const wanted = parseRoute(path);
        const named = ASKED.includes(tag) || tag === "deliver" ? { tag } : { tag: "other", val: tag };
        return this.host.runRoute(this.host.routeOf(wanted), wanted.query, payload, {
            headers: [],
            worker: 0,
            session,
            subdomain: this.host.clients.find(undefined, session)?.subdomain,
            trigger: { tag: "channel", val: { channel, action: named, session: session ?? null } },
            origin,
        });
    }

    /** Does the first actions of a line, up to one whose route has not decided. */
    #advance(line) {
        const steps = this.#lines.get(line);
        while (steps?.[0]?.outcome || steps?.[0]?.error) {
            const { channel, step, outcome, error, resolve, reject } = steps.shift();
            try {
                if (error) throw error;
                resolve(this.#act(channel, step, allowed(outcome)));
            } catch (refusal) {
                reject(refusal);
            }
        }
        if (steps?.length === 0) this.#lines.delete(line);
    }

    /** Does an action that is allowed. `replaced` is the payload that the route passed. */
    #act(channel, { action, session, payload, message }, replaced = payload) {
        switch (action) {
            case "publish":
                return this.#place(channel, session, replaced);
            case "subscribe":
                return this.join(channel, session, replaced.tag === "none" ? null : JSON.stringify(dataOf(replaced)));
            case "unsubscribe":
                this.#leave(channel, session);
                return undefined;
            default:
                this.#send(channel, session, { ...message, payload: replaced });
                return undefined;
        }
    }

    /** Orders a message, and sends it to the members and the subscribed routes. */
    #place(channel, session, payload) {
        const { members, messages } = this.#of(channel);
        const message = { offset: messages.length + 1, atMs: AT, session: session ?? null, payload, extra: [] };
        messages.push(message);
        const position = this.#kept(channel) > 0 ? { epoch: EPOCH, offset: message.offset } : undefined;
        for (const member of [...members])
            this.#add(channel, { action: "deliver", session: member.session, payload, message }, { tag: "host" });
        for (const { name, route, worker } of this.#subscriptions.filter((made) => made.channel === channel)) {
            const id = position ? `${EPOCH}-${position.offset}` : null;
            const trigger = { tag: "subscription", val: { name, source: "channel", topic: channel, id } };
            this.host.track(this.host.runInside(route, payload, worker, trigger, { tag: "host" }));
        }
        return position;
    }

    #send(channel, session, { offset, payload }) {
        const state = this.host.clients.find(undefined, session);
        if (!state) return;
        if (state.socket && !this.#entry(channel)?.envelope) {
            this.host.clients.receive(session, "#publish", payload);
            return;
        }
        const packet = { channel };
        if (payload.tag !== "none") packet.data = dataOf(payload);
        if (this.#kept(channel) > 0) packet.position = `${EPOCH}-${offset}`;
        this.host.clients.receive(session, "#publish", { tag: "text", val: JSON.stringify(packet) });
    }

    /** Makes a client a member. A member that subscribes again is not an error. */
    join(channel, session, info = null) {
        const { uid } = this.host.clients.of(undefined, session).record;
        const { members } = this.#of(channel);
        if (members.some((member) => member.session === session)) return undefined;
        const member = { session, uid, info };
        members.push(member);
        this.#announce(channel, member, "join");
        return undefined;
    }

    /** Ends a membership. Returns whether there was one. */
    #leave(channel, session) {
        const members = this.members(channel);
        const at = members.findIndex((member) => member.session === session);
        if (at < 0) return false;
        const [member] = members.splice(at, 1);
        this.#announce(channel, member, "leave");
        return true;
    }

    /** Ends all memberships of a client. */
    leaveAll(session) {
        for (const channel of [...this.#all.keys()]) this.#leave(channel, session);
    }

    /** Tells the route of a channel with presence, and the readers of its announcements. */
    #announce(channel, { session, uid, info }, action) {
        if (!this.#entry(channel)?.presence || announced(channel) !== undefined) return;
        const member = { id: session.slice(session.indexOf("/") + 1), uid, info: info === null ? null : JSON.parse(info) };
        const text = JSON.stringify({ action, member, count: this.members(channel).length });
        this.#place(`${PRESENCE}${channel}`, undefined, { tag: "text", val: text });
        const path = this.#asked(channel, action);
        if (path === undefined) return;
        const step = { session, payload: { tag: "none" } };
        this.host.track(this.#askRoute(path, channel, step, { tag: "host" }, action));
    }

    // The functions of the contract.

    subscribe(worker, channel, route) {
        checkName(channel);
        this.host.routeOf(route);
        const same = (made) => made.channel === channel && made.route === route && made.worker === worker;
        const known = this.#subscriptions.find(same);
        if (known) return known.name;
        const name = `channel-${++this.#made}`;
        this.#subscriptions.push({ name, channel, route, worker });
        return name;
    }

    unsubscribe(worker, name) {
        const at = this.#subscriptions.findIndex((made) => made.name === name && made.worker === worker);
        if (at < 0) throw refused("not-found", `there is no subscription \`${name}\` in this worker`);
        this.#subscriptions.splice(at, 1);
    }

    add(channel, session) {
        checkName(channel);
        this.join(channel, session);
    }

    kickOut(channel, session, message) {
        checkName(channel);
        const { socket } = this.host.clients.of(undefined, session);
        if (!this.#leave(channel, session) || socket) return;
        const packet = { tag: "text", val: JSON.stringify({ message, channel }) };
        this.host.clients.receive(session, "#kickOut", packet);
    }

    history(channel, after, most) {
        checkName(channel);
        const all = this.messages(channel);
        const latest = all.length;
        const count = announced(channel) === undefined ? this.#kept(channel) : 0;
        const kept = count > 0 ? all.slice(-count) : [];
        const limit = Math.min(most, MOST);
        if (!after) {
            const messages = limit > 0 ? kept.slice(-limit) : [];
            return { epoch: EPOCH, messages, latest, complete: (messages[0]?.offset ?? 1) === 1 };
        }
        const same = after.epoch === EPOCH;
        const rest = kept.filter(({ offset }) => !same || offset > after.offset);
        const next = rest[0]?.offset ?? latest + 1;
        return { epoch: EPOCH, messages: rest.slice(0, limit), latest, complete: same && next <= after.offset + 1 };
    }

    listed(channel) {
        checkName(channel);
        if (this.#entry(channel)?.presence && announced(channel) === undefined) return this.members(channel);
        throw refused("invalid", `${channel} has no presence: set \`presence\` of its entry in \`channels\``);
    }
}
