import { wit } from "../backend.js";
import { later, now } from "../errors.js";
import { fromPayload, toJson, toOptionalText, toPayload, toText } from "../payload.js";
import { toSession } from "../values.js";
import { me, mine, toMillis } from "./arguments.js";

/** Returns the session of the current call, or `undefined`. */
export function current() {
    return toSession(wit.sessions.current(mine("`sessions.current`")));
}

/** Returns a session of this node, or `undefined`. */
export function look(session) {
    return toSession(now(wit.sessions.look, me(), toText(session, "a session")));
}

/** Returns the ids of the sessions of this node that are bound to a user. */
export function find(uid) {
    return now(wit.sessions.find, me(), toText(uid, "a user"));
}

/** Returns a value of a session, or `undefined`. Without `session`: of the session of the call. */
export function get(key, { session } = {}) {
    const text = now(wit.sessions.get, me(), own(session), toText(key, "the name of a value"));
    return text === null || text === undefined ? undefined : JSON.parse(text);
}

/** Returns all values of a session, by name. */
export function values({ session } = {}) {
    return parsed(now(wit.sessions.values, me(), own(session)));
}

/** Sets values of a session: `set({ name: "ada" })`. */
export function set(all, { session } = {}) {
    now(wit.sessions.set, me(), own(session), pairs(all));
}

/** Removes values of a session. */
export function remove(keys, { session } = {}) {
    now(wit.sessions.remove, me(), own(session), texts(keys));
}

/** Binds a session to a user. `taken`, when other sessions are: `refuse`, `share` or `replace`. */
export function bind(uid, { session, taken = "refuse" } = {}) {
    now(wit.sessions.bind, me(), own(session), toText(uid, "a user"), toTaken(taken));
}

/** Ends the binding of a session to its user. */
export function unbind({ session } = {}) {
    now(wit.sessions.unbind, me(), own(session));
}

/** Signs a token with these claims, and sends it to the client. */
export function authenticate(claims, { session, expires } = {}) {
    now(wit.sessions.authenticate, me(), own(session), toJson(claims), toMillis(expires));
}

/** Takes the token away from the client. */
export function deauthenticate({ session } = {}) {
    now(wit.sessions.deauthenticate, me(), own(session));
}

/** Sends a message to sessions of all nodes without waiting, and returns how many this node has. `null`: that of the call. */
export function send(to, name, payload) {
    return now(wit.sessions.send, me(), toRecipient(to), toText(name, "the name of a message"), toPayload(payload));
}

/** Ends a session after everything that is queued for it is sent. */
export function disconnect({ session, code = 1000, reason = "" } = {}) {
    now(wit.sessions.disconnect, me(), own(session), toCode(code), toText(reason, "a reason"));
}

/** Adds sessions to a group, by default that of the call. Returns how many were not in it. */
export function join(group, sessions) {
    return now(wit.sessions.join, me(), toText(group, "a group"), ids(sessions));
}

/** Removes sessions from a group. Returns how many were in it. */
export function leave(group, sessions) {
    return now(wit.sessions.leave, me(), toText(group, "a group"), ids(sessions));
}

/** Returns the ids of the members of a group. */
export function members(group) {
    return now(wit.sessions.members, me(), toText(group, "a group"));
}

/** Returns the number of sessions, and how many of them are bound to a user. */
export function count() {
    const [sessions, bound] = wit.sessions.count();
    return { sessions, bound };
}

/** Sends a message to each recipient on all nodes, and waits until it is queued. */
export async function push(to, name, payload) {
    const recipients = [to].flat().map(toRecipient);
    const { reached, unknown, silent } = await later(
        wit.sessionsAwait.push(me(), recipients, toText(name, "the name of a message"), toPayload(payload)),
    );
    return { reached, unknown: unknown.map(fromRecipient), silent };
}

/** Sends a message to one client, and resolves with its answer. */
export async function ask(session, name, payload, { timeout } = {}) {
    return fromPayload(
        await later(
            wit.sessionsAwait.ask(
                me(),
                toText(session, "a session"),
                toText(name, "the name of a message"),
                toPayload(payload),
                toMillis(timeout),
            ),
        ),
    );
}

/** Writes the values of the call's copy of its session back to the node of the session. */
export async function apply() {
    await later(wit.sessionsAwait.apply(mine("`sessions.apply`")));
}

/** Resolves with a session of any node, and its values. */
export async function read(session) {
    const [found, all] = await later(wit.sessionsAwait.read(me(), toText(session, "a session")));
    return { session: toSession(found), values: parsed(all) };
}

/** Removes values of a session of any node, then sets values. */
export async function write(session, { set: all = {}, remove: keys = [] } = {}) {
    await later(wit.sessionsAwait.write(me(), toText(session, "a session"), pairs(all), texts(keys)));
}

/** Resolves with the sessions of all nodes that are bound to a user. */
export async function findEverywhere(uid) {
    return (await later(wit.sessionsAwait.find(me(), toText(uid, "a user")))).map(toSession);
}

function ids(sessions) {
    if (sessions !== undefined) return texts(sessions);
    const session = current();
    if (!session) throw new TypeError("this call belongs to no session: name the sessions");
    return [session.id];
}

/** A session, or that of the call. */
function own(session) {
    return toOptionalText(session, "a session");
}

function texts(all) {
    return [all].flat().map((text) => toText(text, "a name"));
}

function pairs(all) {
    return Object.entries(all).map(([name, value]) => [toText(name, "a name"), toJson(value)]);
}

const TAKEN = ["refuse", "share", "replace"];

function toTaken(taken) {
    if (TAKEN.includes(taken)) return taken;
    throw new TypeError(`\`taken\` is ${TAKEN.join(", ")}, not ${JSON.stringify(taken)}`);
}

function toCode(code) {
    if (code === 1000 || (Number.isInteger(code) && code >= 4000 && code <= 4999)) return code;
    throw new TypeError(`a close code is 1000, or 4000 to 4999, not ${JSON.stringify(code)}`);
}

function parsed(all) {
    return Object.fromEntries(all.map(([name, text]) => [name, JSON.parse(text)]));
}

/** Converts `everyone`, `bound`, `{ session }`, `{ uid }`, `{ uid, node }` or `{ group }`. */
function toRecipient(to) {
    if (to === null || to === undefined) return { tag: "session", val: ids()[0] };
    if (to === "everyone" || to === "bound") return { tag: to };
    if (typeof to.uid === "string") {
        return to.node === undefined
            ? { tag: "uid", val: toText(to.uid, "a user") }
            : { tag: "uid-on", val: [toText(to.uid, "a user"), toText(to.node, "a node")] };
    }
    if (typeof to.session === "string") return { tag: "session", val: toText(to.session, "a session") };
    if (typeof to.group === "string") return { tag: "group", val: toText(to.group, "a group") };
    throw new TypeError(
        `there is no recipient ${JSON.stringify(to)}: use "everyone", "bound", { session }, { uid } or { group }`,
    );
}

function fromRecipient({ tag, val }) {
    switch (tag) {
        case "uid-on":
            return { uid: val[0], node: val[1] };
        case "everyone":
        case "bound":
            return tag;
        case "other":
            return { [val[0]]: val[1] };
        default:
            return { [tag]: val };
    }
}
