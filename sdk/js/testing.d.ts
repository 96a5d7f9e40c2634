/** Tests in memory: a module in workers that run in this process, without a host. */

import type { Call, CallError, Entry, Level, Node, Position, Reply, Result, Sendable, Session, channels } from "fanfare";

/** A function in place of a route of another module. */
export type Stub = (call: Call) => Result | Promise<Result>;

export interface Options {
    /** The manifest: its path, its URL, or its content. */
    manifest?: string | URL | Record<string, unknown>;
    /** The name of the module. Default: `module`. */
    name?: string;
    /** The number of workers. Default: 1. */
    workers?: number;
    /** What `config.get` reads. Default: `config` of the manifest. */
    config?: Record<string, unknown>;
    /** What `master.options` reads. */
    options?: Record<string, unknown>;
    /** Other nodes of the cluster. The node of the test is `test`, of the server type `test`. */
    nodes?: (Partial<Node> & { id: string; server: string })[];
    /** What `host.env` reads. */
    env?: Record<string, string>;
    /** Replies in place of routes of other modules, by route: `"shop/rates"`. */
    answers?: Record<string, Stub>;
    /** Middlewares of other modules, by route: `"limiter/check"`. */
    middlewares?: Record<string, Stub>;
    /** Responses of other servers to `fetch`, by how the URL begins: a body, or a `reply`. */
    responses?: Record<string, Result | ((request: Requested) => Result | Promise<Result>)>;
}

/** A request of the module to another server. */
export interface Requested {
    method: string;
    url: string;
    /** By name, in lower case. */
    headers: Record<string, string>;
    text: string;
    /** In milliseconds. */
    timeout: number | undefined;
}

/** The payload of a message: text, or bytes. */
export type Sent = string | Uint8Array | undefined;

/** How a client connects. */
export interface Connecting {
    /** The worker. Default: 0. */
    on?: number;
    /** A plain WebSocket, of this path below the module: `live/7`. Without it: SocketCluster. */
    socket?: string;
    /** The data of the handshake of SocketCluster, for the hook `connect`. */
    data?: Sendable;
    /** Shows a valid token with these claims, as a client does that connects again. */
    claims?: Record<string, unknown>;
    /** The tenant. */
    subdomain?: string;
    /** Header fields of the request. */
    headers?: Record<string, string>;
}

/** A connected client. */
export class Client {
    private constructor();
    /** The id of the session. */
    readonly id: string;
    /** The facts of the session. */
    readonly session: Session;
    /** The messages so far, in order. A message of a channel is named `#publish`. */
    readonly received: { name: string; payload: Sent }[];
    /** The close code and the reason, when the connection is closed. */
    readonly closed: { code: number; reason: string } | undefined;
    /** Returns a value of the session. */
    value<T = any>(key: string): T | undefined;

    /** Sends a message, and resolves with the payload of the reply. */
    request(name: string, payload?: Sendable): Promise<Sent>;
    /** Sends a message that needs no answer. A plain WebSocket receives the reply as a message. */
    send(name: string, payload?: Sendable): Promise<void>;
    /** Subscribes to a channel, and waits for the host. */
    subscribe(channel: string, data?: Sendable): Promise<void>;
    unsubscribe(channel: string): Promise<void>;
    /** Publishes to a channel, and waits until the message has its place or is refused. */
    publish(channel: string, payload?: Sendable): Promise<void>;
    /** Answers the module's questions with this name. */
    answer(name: string, answer: (payload: Sent) => Sendable | Promise<Sendable>): void;
    /** Shows a valid token with these claims. */
    authenticate(claims: Record<string, unknown>): Promise<void>;
    /** Closes the connection, and waits for the hook `disconnect`. */
    disconnect(code?: number, reason?: string): Promise<void>;
}

/** Why a client was not admitted, or a stream did not open. */
export class Rejection extends Error {
    private constructor();
    /** The status of the HTTP response. */
    readonly status: number | undefined;
    /** The close code, of a client of SocketCluster. */
    readonly code: number | undefined;
    /** The reply of the route, if it replied. */
    readonly reply: Reply | undefined;
    readonly cause: CallError | undefined;
}

/** An event that a reader received. */
export interface StreamEvent {
    data: Sent;
    event: string | undefined;
    id: string | undefined;
    retry: number | undefined;
    comment: string | undefined;
}

/** An open stream, which collects what is published to its key. */
export class Reader {
    private constructor();
    /** The events so far, in order. */
    readonly events: StreamEvent[];
    /** Whether neither the module nor the reader has closed it. */
    readonly open: boolean;
    /** Closes the stream, as a client does that leaves. */
    close(): void;
}

export class TestHost {
    private constructor();

    /** Loads a module by the path or the URL of its entry, into each worker. */
    static start(entry: string | URL, options?: Options): Promise<TestHost>;

    /** Removes the files of the test. */
    stop(): Promise<void>;

    /** Sends a request as a client does: `call("GET Ada?x=1")`. Rejects with a `CallError`. */
    call(
        route: string,
        body?: Sendable,
        options?: {
            headers?: Record<string, string>;
            /** The worker. Default: 0. */
            on?: number;
            /** Calls as another module or the operator does, so that `inner` routes are open. */
            inside?: boolean;
        },
    ): Promise<Reply>;

    /** Emits a broadcast as the operator does. Resolves with one entry per worker. */
    broadcast(name: string, payload?: Sendable): Promise<Entry[]>;

    /** Runs a schedule once, with its `data` or another payload. */
    runSchedule(name: string, payload?: Sendable): Promise<Entry[]>;

    /** Emits an event as a process outside does, and waits for the handlers of subscriptions. */
    emitEvent(type: string | null, value: unknown): Promise<void>;

    /** Gives a message to a subscription by its name. */
    receive(name: string, topic: string, payload?: Sendable, options?: { id?: string }): Promise<Entry[]>;

    /** Connects a client. Rejects with a `Rejection` when a hook of the module does not admit it. */
    connect(options?: Connecting): Promise<Client>;

    /** Opens a live stream. Rejects with a `Rejection` when the module does not admit the reader. */
    stream(
        key: string,
        options?: { on?: number; lastEventId?: string; subdomain?: string; headers?: Record<string, string> },
    ): Promise<Reader>;

    /** Publishes a message to a channel as the operator, and waits for its place. */
    publishToChannel(channel: string, payload?: Sendable): Promise<Position | undefined>;
    /** Returns all messages of a channel so far. */
    channelMessages(channel: string): channels.Message[];
    /** Returns the members of a channel, in the order in which they subscribed. */
    channelMembers(channel: string): channels.Member[];

    /** Waits until no handler runs. */
    settle(): Promise<void>;

    /** Replaces the instance of a worker, without its memory, as after a crash. */
    restart(worker?: number): Promise<void>;

    /** Replaces all instances, and hands their states over. */
    swap(): Promise<void>;

    /** What `config.get` reads. A test may change it. */
    config: Record<string, unknown>;
    readonly options: Record<string, unknown>;
    readonly name: string;
    readonly workers: number;

    /** The broadcasts that were emitted. */
    readonly emitted: { name: string; payload: Sent }[];
    /** The events of live streams. Without a key: for everyone. */
    readonly published: (StreamEvent & { key: string | undefined; reach: string })[];
    /** The events that the module emitted. */
    readonly events: { type: string; value: unknown }[];
    /** The messages to brokers. */
    readonly messages: { connection: string; topic: string; payload: Sent }[];
    readonly logs: {
        level: Level;
        message: string;
        fields: Record<string, string>;
        worker: number;
        call: number | undefined;
    }[];
    /** The requests to other servers. */
    readonly requests: Requested[];
    /** The modules whose reload was requested. `undefined`: all of them. */
    readonly reloads: (string | undefined)[];
}
