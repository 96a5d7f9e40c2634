// The exports of the component.

import broadcast from "fanfare:module/broadcast@0.1.0";
import channels from "fanfare:module/channels@0.1.0";
import channelsAwait from "fanfare:module/channels-await@0.1.0";
import config from "fanfare:module/config@0.1.0";
import durable from "fanfare:module/durable@0.1.0";
import events from "fanfare:module/events@0.1.0";
import fetch from "fanfare:module/fetch@0.1.0";
import host from "fanfare:module/host@0.1.0";
import http from "fanfare:module/http@0.1.0";
import master from "fanfare:module/master@0.1.0";
import masterAwait from "fanfare:module/master-await@0.1.0";
import messages from "fanfare:module/messages@0.1.0";
import nodes from "fanfare:module/nodes@0.1.0";
import rpc from "fanfare:module/rpc@0.1.0";
import sessions from "fanfare:module/sessions@0.1.0";
import sessionsAwait from "fanfare:module/sessions-await@0.1.0";
import sse from "fanfare:module/sse@0.1.0";
import environment from "wasi:cli/environment@0.2.0";
import { use } from "../backend.js";
import { carryThroughPromises } from "../current.js";
import { collect, run } from "../handler.js";
import { onceStarted, start } from "./instance.js";
import { seedMathRandom } from "./random.js";

onceStarted(() => {
    use({
        broadcast,
        channels,
        channelsAwait,
        config,
        durable,
        environment,
        events,
        fetch,
        host,
        http,
        master,
        masterAwait,
        messages,
        nodes,
        rpc,
        sessions,
        sessionsAwait,
        sse,
    });
    seedMathRandom();
});

/** The jobs to run in the first turn of a call. They cost less than a future. */
const JOBS = 12;

/** Runs a job without a current call. */
const queueJob = globalThis.queueMicrotask;

carryThroughPromises();

/** Returns the interfaces that a module exports. */
export function exportsOf(module) {
    const all = collect(module);
    return {
        describe: { handlers: () => [...all.keys()] },
        handler: {
            handle(call) {
                start();
                return new Ending((ending) => run(all, call, ending));
            },
        },
    };
}

/** Makes the functions of an export end in the turn of their own call. */
export function inOwnTurn(functions) {
    const wrapped = {};
    for (const [name, fn] of Object.entries(functions)) {
        wrapped[name] = (...args) => {
            start();
            return new Ending((ending) => {
                ending.wait();
                fn(...args).then(
                    (value) => ending.resolve(value),
                    (error) => ending.reject(error),
                );
            });
        };
    }
    return wrapped;
}

/**
 * The end of a call of an export, in place of the promise that an export returns: the runtime calls
 * `then` at once, and a call that does not wait ends there, without a promise.
 *
 * A call must end in its own turn. QuickJS runs every job that is ready in the turn of any call,
 * and the end of a call answers the call whose turn it is. So a call that another call wakes would
 * answer the other call's caller, and a call that waits for nothing of its own when its turn ends
 * traps. Therefore a call that does not end in its first turn waits for a future of its own. Its
 * end writes the future, in the turn of any call.
 */
class Ending {
    constructor(begin) {
        this.begin = begin;
        this.answer = undefined;
        this.refuse = undefined;
        this.ended = false;
        /** The end of the future that the call waits for. */
        this.own = undefined;
        this.end = undefined;
    }

    then(answer, refuse) {
        this.answer = answer;
        this.refuse = refuse;
        this.begin(this);
    }

    /** Called in the first turn by a call that waits. */
    wait() {
        let jobs = JOBS;
        const next = () => {
            if (this.ended) return;
            if (jobs-- > 0) queueJob(next);
            else this.#waitForOwnTurn();
        };
        queueJob(next);
    }

    #waitForOwnTurn() {
        const { readable, writable } = wit.Future(wit.Future.U8);
        this.own = writable;
        readable.read().then(() => {
            readable.drop();
            writable.drop();
            this.end();
        });
    }

    resolve(outcome) {
        if (!this.own) {
            this.ended = true;
            return this.answer(outcome);
        }
        this.end = () => this.answer(outcome);
        this.own.write(0);
    }

    reject(failure) {
        if (!this.own) {
            this.ended = true;
            return this.refuse(failure);
        }
        this.end = () => this.refuse(failure);
        this.own.write(0);
    }
}
