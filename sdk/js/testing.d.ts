/** Tests in memory: a module in workers that run in this process, without a host. */

import type { Call, Entry, Level, Reply, Result, Sendable } from "fanfare";

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
    readonly published: {
        key: string | undefined;
        data: Sent;
        event: string | undefined;
        id: string | undefined;
        retry: number | undefined;
        comment: string | undefined;
        reach: string;
    }[];
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
