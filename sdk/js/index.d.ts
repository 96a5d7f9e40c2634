/** Write Fanfare modules in JavaScript or TypeScript. */

/** What a payload may be: text, bytes, nothing, or any other value, which is sent as JSON. */
export type Sendable = unknown;

/** A payload as it was sent. */
export type Payload = string | Uint8Array | undefined;

/** A value that JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** The result of a handler. */
export type Result = Sendable | Reply | Pass;

/** A handler, which `handler` has made. */
export interface Handler {
    (call: Call): unknown;
}

/** Makes a handler of a function. The name of its export is the name of the handler. */
export function handler(fn: (call: Call) => Result | Promise<Result>): Handler;

/** Makes handlers of functions, for names that no export can have. */
export function handlers(
    functions: Record<string, Handler | ((call: Call) => Result | Promise<Result>)>,
): Record<string, Handler>;

/** A body with the three ways to read it. */
export interface Body {
    /** The body as it was sent. */
    readonly payload: Payload;
    /** The body as text. Throws when it is not UTF-8. */
    readonly text: string;
    readonly bytes: Uint8Array;
    /** The body, parsed as JSON. Nothing is `null`. Throws when it is not JSON. */
    readonly json: any;
}

/** One call of a handler: its input, and who made it. */
export interface Call extends Body {
    /** The number of the call, unique on its node. */
    readonly id: number;
    /** The name of the handler. */
    readonly handler: string;
    /** The values of the `{name}` segments of the path, decoded. */
    readonly params: Readonly<Record<string, string>>;
    /** The parameters of the query, decoded. Of a repeated name, the first value. */
    readonly query: Readonly<Record<string, string>>;
    /** The query as it was sent, without its `?`. */
    readonly queryString: string;
    /** The method of an HTTP request, such as `GET`. */
    readonly method: string | undefined;
    /** The header fields of an HTTP request by name, in lower case. */
    readonly headers: Readonly<Record<string, string>>;
    /** Path, scheme, authority and peer of an HTTP request. */
    readonly head: Head | undefined;
    /** What caused the call. */
    readonly trigger: Trigger;
    /** Who made the call. */
    readonly origin: Origin;
    /** The session of a connected client. */
    readonly session: Session | undefined;
    /** The tenant that the call belongs to. */
    readonly subdomain: string | undefined;
    /** The milliseconds that were left when the call started. */
    readonly deadlineMs: number;
    /** Facts that middlewares passed on, each named `<module>.<name>`. */
    readonly extra: Readonly<Record<string, string>>;
    /** The body, parsed as JSON. Ends the call with `invalid-body` (400) when it is not JSON. */
    readonly json: any;
    /** The body as text. Ends the call with `invalid-body` (400) when it is not UTF-8. */
    readonly text: string;
}

export interface Head {
    /** The path without the query, not decoded. */
    path: string;
    scheme: string;
    authority: string;
    /** The address and port of the client's end of the socket. */
    peer: string;
}

/** What caused a call. */
export type Trigger =
    | { kind: "http"; method: string }
    | { kind: "broadcast"; method?: undefined; name: string; id: number; seq: number; sameAsCaller: boolean }
    | { kind: "rpc"; method?: undefined }
    | { kind: "schedule"; method?: undefined; name: string; dueMs: number; run: string }
    | { kind: "subscription"; method?: undefined; name: string; source: string; topic: string; id: string | undefined }
    | { kind: "client"; method?: undefined; session: string; name: string; wantsReply: boolean }
    | { kind: "channel"; method?: undefined; channel: string; action: string; session: string | undefined }
    | { kind: "hook"; method?: undefined; name: string }
    | { kind: "startup"; method?: undefined; name: string; reason: string }
    | { kind: "stream"; method?: undefined; key: string; lastEventId: string | null };

/** Who made a call. */
export type Origin =
    | { kind: "client" | "host" | "operator" }
    | { kind: "session"; session: string }
    | { kind: "guest"; module: string; isolate: string; node: string | undefined };

/** A reply: of a handler, or of another route that a handler called. */
export interface Reply extends Body {
    readonly status: number;
    /** The header fields by name, in lower case. A comma joins the values of a repeated field. */
    readonly headers: Readonly<Record<string, string>>;
    /** The header fields, as pairs of name and value. */
    readonly fields: [string, string][];
}
export const Reply: abstract new () => Reply;

/** A list as the value repeats the field. */
export type Headers = Record<string, string | number | (string | number)[]> | Iterable<[string, string]>;

/** Creates a reply with a status and header fields. */
export function reply(body?: Sendable, options?: { status?: number; headers?: Headers }): Reply;

/** The call continues with its next step. */
export interface Pass {
    readonly payload: Sendable;
    readonly extra: Record<string, unknown>;
}
export const Pass: abstract new () => Pass;

/** Lets the call continue, with another payload if given. `extra`: facts for the next steps. */
export function pass(options?: { payload?: Sendable; extra?: Record<string, unknown> }): Pass;

/** How a handler refuses a call: a name to match on, a sentence for a person, a status and data. */
export class Failure extends Error {
    constructor(
        name: string,
        message: string,
        options?: { status?: number; data?: Sendable; extra?: Record<string, unknown>; cause?: unknown },
    );
    /** 400 to 599. The log has a failure with status 500, which is the default. */
    status: number;
    /** For the host: `close-code` closes the connection of a client, `silent` keeps it out of the log. */
    extra: Record<string, unknown>;
    /** The data for the caller's program. */
    readonly data: Body;
}

/** The kinds of call errors. A later version of the host may add more. */
export type CallErrorKind =
    | "failure"
    | "timeout"
    | "not-found"
    | "forbidden"
    | "overloaded"
    | "crashed"
    | "unavailable"
    | "would-deadlock"
    | "too-deep"
    | "invalid"
    | (string & {});

/** Why a function of the host failed, or a call to a route returned no reply. */
export class CallError extends Error {
    constructor(kind: CallErrorKind, message: string, failure?: Failure);
    readonly kind: CallErrorKind;
    /** The failure that the handler returned, when the kind is `failure`. */
    readonly failure: Failure | undefined;
}

/**
 * Hands the state of the module over during a swap. `save` returns it: bytes, or any value that
 * JSON can hold. `load` gets this value, and the digest of the previous generation.
 */
export function snapshot<S>(functions: {
    save(): S | Promise<S>;
    load(state: S, from: string): void | Promise<void>;
}): unknown;

/** Returns the id of the current call. `undefined` outside a handler, which is background work. */
export function caller(): number | undefined;

/** Returns a function that runs as part of the call in which `bind` was called. */
export function bind<F extends (...args: any[]) => unknown>(fn: F): F;

/** The answer of one place, when a call went to several. */
export type Entry = { isolate: string; node: string | undefined } & (
    { reply: Reply; error?: undefined } | { reply?: undefined; error: CallError }
);

/** What the host returns for a broadcast or a reload that it accepted. */
export interface Receipt {
    id: number;
    seq: number;
    /** The number of workers that it was queued for. */
    accepted: number;
    /** The workers where the module has failed. */
    skipped: { isolate: string; node: string | undefined; reason: string }[];
    extra: Record<string, string>;
}

/** Broadcasts: one call to the same inner route in every worker. */
export namespace broadcast {
    interface Options {
        /** The module that declares the broadcast. Another module needs the grant `broadcast`. */
        module?: string;
        subdomain?: string;
    }
    /** Queues a broadcast in every worker, or in none, and returns at once. */
    function emit(name: string, payload?: Sendable, options?: Options): Receipt;
    /**
     * Emits a broadcast with `"delivery": "durable"` in the manifest. Resolves when the stream of the cluster has it:
     * from then on every node with the module runs it, also one that is away now.
     */
    function emitDurable(name: string, payload?: Sendable, options?: Options): Promise<Receipt>;
    /** Emits a broadcast, then waits for all workers. Resolves with one entry per worker. */
    function gather(name: string, payload?: Sendable, options?: Options & { timeout?: number }): Promise<Entry[]>;
    /** Requests a reload of a module, or of all modules without a name. */
    function reload(module?: string): Receipt;
}

/** Calls routes of this module or of another one. */
export namespace rpc {
    /** One place: `any`, `worker-0`, `broker-0`, `master`, or an object. */
    type Place = string | { node: string } | { server: string } | { channel: string } | { session: string };
    /** Several places. */
    type Places = "workers" | "brokers" | "nodes" | "cluster" | { servers: string };
    interface Options {
        /** How long to wait, in milliseconds. */
        timeout?: number;
        subdomain?: string;
    }
    /** Calls a route in one place, and waits for its reply. */
    function call(route: string, payload?: Sendable, options?: Options & { to?: Place }): Promise<Reply>;
    /** Calls a route in several places, and waits for all. Resolves with one entry per place. */
    function callEvery(route: string, payload?: Sendable, options?: Options & { to?: Places }): Promise<Entry[]>;
    /** Queues a call in one place or several. Returns the number of places that accepted it. */
    function notify(route: string, payload?: Sendable, options?: Options & { to?: Place | Places }): number;
}

/** The parts of the current HTTP request that a call does not have. */
export namespace http {
    /** Returns the values of a header field, in order of arrival. */
    function header(name: string): string[];
    /** Returns all header fields, as pairs of name and value. */
    function headers(): [string, string][];
    function head(): Head | undefined;
}

export type Level = "trace" | "debug" | "info" | "warn" | "error";

/** Values beside the message of a line of the log. */
export type Fields = Record<string, unknown>;

interface Log {
    /** Writes one line to the host's log. */
    (level: Level, message: string, fields?: Fields): void;
    trace(message: string, fields?: Fields): void;
    debug(message: string, fields?: Fields): void;
    info(message: string, fields?: Fields): void;
    warn(message: string, fields?: Fields): void;
    error(message: string, fields?: Fields): void;
}
export const log: Log;

/** Where the module runs, and the host's log. */
export namespace host {
    interface Identity {
        node: string;
        server: string;
        /** The isolate that this instance lives in, such as `worker-0`. */
        isolate: string;
        workers: number;
        module: string;
        generation: string;
    }
    function whoami(): Identity;
    /** Returns a variable that the manifest asks for in `capabilities.env`. */
    function env(name: string): string | undefined;
    const log: Log;
}

/** The module's configuration. */
export namespace config {
    /** Returns the value at a JSON Pointer such as `/limits/most`, or all of it. */
    function get<T = any>(pointer?: string): T | undefined;
}

/** The host as its guests see it. */
export namespace master {
    /** Returns the host's option at a JSON Pointer, or all options. */
    function options<T = any>(pointer?: string): T | undefined;
    /** Sends a message to the embedding program, and returns without waiting for its reply. */
    function post(payload: Sendable): void;
    /** Sends a message to the embedding program, and resolves with its reply. */
    function send(payload: Sendable, options?: { timeout?: number }): Promise<Payload>;
}

/** A node of the cluster. */
export interface Node {
    id: string;
    /** Its server type. */
    server: string;
    /** Whether clients connect to it. */
    frontend: boolean;
    workers: number;
    /** The keys of its entry in `cluster.servers` that the host does not know. */
    settings: Record<string, any>;
    /** When it started, in milliseconds since 1970-01-01 UTC. */
    sinceMs: number;
    extra: Record<string, string>;
}

/** The nodes of the cluster. Without a cluster, there is only this node. */
export namespace nodes {
    /** Returns the nodes that calls can reach now, of a server type or all, sorted by id. */
    function list(server?: string): Node[];
    /** Returns the node with this id, or `undefined` when no such node can be reached. */
    function get(id: string): Node | undefined;
}

/** Live streams: server-sent events to clients. */
export namespace sse {
    /** The clients that a function reaches. */
    type Reach = "everywhere" | "this-node" | "this-worker";
    interface Options {
        /** The type of the event. */
        event?: string;
        id?: string | number;
        /** How long the client waits before it connects again, in milliseconds. */
        retry?: number;
        comment?: string;
        reach?: Reach;
    }
    /** Sends an event to every client of a key. Returns the number of clients of this node. */
    function publish(key: string, data?: Sendable, options?: Options): number;
    /** Sends an event to the clients of all keys. */
    function publishAll(data?: Sendable, options?: Options): number;
    /** Closes the connections of a key. Returns their number on this node. */
    function close(key: string, options?: { reach?: Reach }): number;
    function closeAll(options?: { reach?: Reach }): number;
    /** Returns the number of open connections of a key, or of all keys without one. */
    function count(key?: string): number;
}

/** The event service: typed values that modules and other processes exchange. */
export namespace events {
    /** Emits an event with any value that JSON can hold. Without a type it is `message`. */
    function emit(type: string | null | undefined, value?: unknown): void;
    /** Subscribes a route of this module, and returns the name of the subscription. */
    function subscribe(pattern: string | null | undefined, route: string): string;
    function unsubscribe(subscription: string): void;
}

/** Messages to brokers outside, such as Redis. */
export namespace messages {
    /** Queues a message for a topic of a connection such as `redis`, and returns at once. */
    function publish(connection: string, topic: string, payload?: Sendable): void;
}

/** A connected client. */
export interface Session {
    id: string;
    worker: number;
    uid: string | undefined;
    ip: string;
    protocol: string;
    claims: any;
    sinceMs: number;
    extra: Record<string, string>;
}

/** Connected clients. Without `session`, a function is about the session of the call. */
export namespace sessions {
    /** Whom a message is for. `null` is the session of the call. */
    type Recipient =
        null | "everyone" | "bound" | { session: string } | { uid: string; node?: string } | { group: string };
    interface Of {
        session?: string;
    }
    function current(): Session | undefined;
    /** Returns a session of this node. */
    function look(session: string): Session | undefined;
    /** Returns the ids of the sessions of this node that are bound to a user. */
    function find(uid: string): string[];
    function get<T = any>(key: string, options?: Of): T | undefined;
    function values(options?: Of): Record<string, any>;
    function set(values: Record<string, unknown>, options?: Of): void;
    function remove(keys: string | string[], options?: Of): void;
    /** Binds a session to a user. `taken`: what happens when other sessions are bound to it. */
    function bind(uid: string, options?: Of & { taken?: "refuse" | "share" | "replace" }): void;
    function unbind(options?: Of): void;
    /** Signs a token with these claims for the client. `expires` is in milliseconds. */
    function authenticate(claims: object, options?: Of & { expires?: number }): void;
    function deauthenticate(options?: Of): void;
    /** Sends a message to sessions of all nodes. Returns the number of those of this node. */
    function send(to: Recipient, name: string, payload?: Sendable): number;
    function disconnect(options?: Of & { code?: number; reason?: string }): void;
    /** Adds sessions to a group. Returns how many were not in it. */
    function join(group: string, sessions?: string | string[]): number;
    function leave(group: string, sessions?: string | string[]): number;
    function members(group: string): string[];
    function count(): { sessions: number; bound: number };
    /** Sends a message to each recipient on all nodes, and waits until it is queued. */
    function push(
        to: Recipient | Recipient[],
        name: string,
        payload?: Sendable,
    ): Promise<{ reached: number; unknown: Recipient[]; silent: string[] }>;
    /** Sends a message to one client, and resolves with its answer. */
    function ask(session: string, name: string, payload?: Sendable, options?: { timeout?: number }): Promise<Payload>;
    /** Writes the values of the call's copy of its session back to the node of the session. */
    function apply(): Promise<void>;
    /** Resolves with a session of any node, and its values. */
    function read(session: string): Promise<{ session: Session; values: Record<string, any> }>;
    function write(session: string, changes: { set?: Record<string, unknown>; remove?: string[] }): Promise<void>;
    /** Resolves with the sessions of all nodes that are bound to a user. */
    function findEverywhere(uid: string): Promise<Session[]>;
}

/** A place in the order of a channel. */
export interface Position {
    epoch: string;
    offset: number;
}

/** Messages between clients and modules, by the names of the channels. */
export namespace channels {
    interface Message {
        offset: number;
        atMs: number;
        session: string | undefined;
        payload: Payload;
        extra: Record<string, string>;
    }
    interface Page {
        epoch: string;
        messages: Message[];
        latest: number;
        complete: boolean;
    }
    interface Member {
        session: string;
        uid: string | undefined;
        info: any;
    }
    /** Publishes a message, and returns without waiting for the route of the channel. */
    function publish(channel: string, payload?: Sendable): void;
    /** Publishes a message, and resolves with its position, if the channel has a history. */
    function publishAndWait(channel: string, payload?: Sendable): Promise<Position | undefined>;
    /** Subscribes a route of this module, and returns the name of the subscription. */
    function subscribe(channel: string, route: string): string;
    function unsubscribe(subscription: string): void;
    /** Subscribes a client to a channel without asking its route. */
    function add(channel: string, session: string): void;
    /** Ends the subscription of a client, which receives the message as the reason. */
    function kickOut(channel: string, session: string, message?: string): void;
    function count(channel: string): number;
    /** Resolves with the kept messages after a position, or with the newest ones. */
    function history(channel: string, options?: { after?: Position; most?: number }): Promise<Page>;
    /** Resolves with the members of a channel with presence. */
    function members(channel: string): Promise<Member[]>;
}

declare global {
    interface RequestInit {
        /** How long the server may take until its response begins, in milliseconds. */
        timeout?: number;
    }
}
