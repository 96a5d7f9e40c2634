import { wit } from "../backend.js";
import { later, now } from "../errors.js";
import { toPayload, toText } from "../payload.js";
import { toMember, toMessage } from "../values.js";
import { me } from "./arguments.js";

/** Publishes a message, and returns without waiting for the route of the channel. */
export function publish(channel, payload) {
    now(wit.channels.publish, me(), toText(channel, "a channel"), toPayload(payload));
}

/** Publishes a message, and resolves with its position. `undefined`: the channel has no history. */
export async function publishAndWait(channel, payload) {
    return (
        (await later(wit.channelsAwait.publish(me(), toText(channel, "a channel"), toPayload(payload)))) ?? undefined
    );
}

/** Subscribes a route of this module to a channel, and returns the name of the subscription. */
export function subscribe(channel, route) {
    return now(wit.channels.subscribe, me(), toText(channel, "a channel"), toText(route, "a route"));
}

/** Ends a subscription. */
export function unsubscribe(subscription) {
    now(wit.channels.unsubscribe, me(), toText(subscription, "a subscription"));
}

/** Subscribes a client to a channel without asking its route. */
export function add(channel, session) {
    now(wit.channels.add, me(), toText(channel, "a channel"), toText(session, "a session"));
}

/** Ends the subscription of a client, which receives the message as the reason. */
export function kickOut(channel, session, message = "") {
    now(
        wit.channels.kickOut,
        me(),
        toText(channel, "a channel"),
        toText(session, "a session"),
        toText(message, "a message"),
    );
}

/** Returns the number of members. */
export function count(channel) {
    return wit.channels.count(toText(channel, "a channel"));
}

/** The most messages of a page. */
const MOST = 1000;

/** Resolves with the kept messages after a position, or with the newest ones. */
export async function history(channel, { after, most = MOST } = {}) {
    const page = await later(
        wit.channelsAwait.history(me(), toText(channel, "a channel"), toPosition(after), toMost(most)),
    );
    return { ...page, messages: page.messages.map(toMessage) };
}

/** Resolves with the members of a channel with presence. */
export async function members(channel) {
    const all = await later(wit.channelsAwait.members(me(), toText(channel, "a channel")));
    return all.map(toMember);
}

function toMost(most) {
    if (Number.isInteger(most) && most >= 0) return Math.min(most, MOST);
    throw new TypeError(`\`most\` is a number of messages, not ${JSON.stringify(most)}`);
}

function toPosition(position) {
    if (position === undefined || position === null) return null;
    const { epoch, offset } = position;
    if (Number.isSafeInteger(offset) && offset >= 0) return { epoch: toText(epoch, "an epoch"), offset };
    throw new TypeError(`a position is { epoch, offset }, not ${JSON.stringify(position)}`);
}
