// `setTimeout` and its relatives, on a clock of the host that waits without holding up other calls.

import clock from "wasi:clocks/monotonic-clock@0.3.0";
import { report } from "../handler.js";
import { needsHost } from "../component/instance.js";

const NANOS = 1_000_000;

/**
 * How long to wait at once, in milliseconds. A wait cannot be cancelled, and the host counts the
 * call as running meanwhile, so that a cleared timer must not wait to its end. Each wait wakes
 * the instance, so that shorter ones would cost more.
 */
const SLICE = 1000;

let last = 0;
const timers = new Map();

/** Resolves after this number of milliseconds. */
export function sleep(millis) {
    return clock.waitFor(Math.max(0, Math.round(millis * NANOS)));
}

export function setTimeout(fn, millis = 0, ...args) {
    return begin(fn, millis, args, false);
}

export function setInterval(fn, millis = 0, ...args) {
    return begin(fn, millis, args, true);
}

export function clearTimeout(timer) {
    timers.delete(Number(timer));
}

export { clearTimeout as clearInterval };

function begin(fn, millis, args, repeat) {
    needsHost("a timer");
    if (typeof fn !== "function") throw new TypeError("a timer expects a function");
    const id = ++last;
    timers.set(id, true);
    // The wait carries the current call, as every async function does.
    wait(id, () => run(fn, args), Math.max(1, Number(millis) || 0), repeat);
    return id;
}

async function wait(id, fn, millis, repeat) {
    let due = clock.now() + millis * NANOS;
    for (;;) {
        const left = (due - clock.now()) / NANOS;
        if (left > 0) {
            await sleep(Math.min(left, SLICE));
            if (!timers.has(id)) return;
            continue;
        }
        if (!repeat) timers.delete(id);
        fn();
        if (!timers.has(id)) return;
        due = Math.max(due + millis * NANOS, clock.now());
    }
}

function run(fn, args) {
    try {
        const result = fn(...args);
        if (typeof result?.then === "function") result.then(undefined, (error) => report(error));
    } catch (error) {
        report(error);
    }
}

export {
    setTimeout as "globalThis.setTimeout",
    setInterval as "globalThis.setInterval",
    clearTimeout as "globalThis.clearTimeout",
    clearTimeout as "globalThis.clearInterval",
};
