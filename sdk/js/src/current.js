// The current call. The host charges the work of an import to the call that the guest names.
//
// Calls interleave at each `await`, and QuickJS has no hook for `await`. So the build turns async
// functions into generators that wait with `then`, and `then` restores the call that waits.

let current;

/** How Node.js carries the call, in the tests in memory: an `AsyncLocalStorage`. */
let storage;

/** Returns the id of the current call. `undefined` outside a handler, which is background work. */
export function caller() {
    return storage ? storage.getStore() : current;
}

/** Runs a function as part of a call. `undefined` makes it background work. */
export function runAs(call, fn, ...args) {
    if (storage) return storage.run(call, fn, ...args);
    const previous = current;
    current = call;
    try {
        return fn(...args);
    } finally {
        current = previous;
    }
}

/** Makes a call the current one, without the cost of `runAs`. Returns what `leave` needs. */
export function enter(call) {
    const previous = current;
    current = call;
    return previous;
}

/** Ends what `enter` began, in the same turn. */
export function leave(previous) {
    current = previous;
}

/** Returns a function that runs as part of the call in which `bind` was called. */
export function bind(fn) {
    const call = caller();
    if (call === undefined || typeof fn !== "function") return fn;
    return function (...args) {
        return runAs(call, () => fn.apply(this, args));
    };
}

/** Makes the tests in memory carry the call. */
export function useStorage(asyncLocalStorage) {
    storage = asyncLocalStorage;
}

/** `then` without the current call. */
const plainThen = Promise.prototype.then;

/** Makes async functions, promises and microtasks keep the current call. */
export function carryThroughPromises() {
    // The build makes the async functions of the module call it.
    globalThis.__fanfareAsync = runAsync;
    Object.defineProperty(Promise.prototype, "then", {
        configurable: true,
        writable: true,
        value: function then(resolved, rejected) {
            if (current === undefined) return plainThen.call(this, resolved, rejected);
            return plainThen.call(this, carried(resolved), carried(rejected));
        },
    });
    const plainMicrotask = globalThis.queueMicrotask;
    globalThis.queueMicrotask = (fn) => plainMicrotask(bind(fn));
}

/**
 * Runs the body of an async function, which the build has made a generator. Most end without a
 * wait, and so need no functions of their own.
 */
function runAsync(self, args, body) {
    let steps;
    let first;
    try {
        steps = body.apply(self, args);
        first = steps.next();
    } catch (error) {
        return Promise.reject(error);
    }
    if (first.done) return Promise.resolve(first.value);
    return new Promise((resolve, reject) => waitFor(first.value, steps, resolve, reject));
}

/** Continues a body after each of its waits, as part of the call that began it. */
function waitFor(awaited, steps, resolve, reject) {
    const call = current;
    const go = (failed, value) => {
        const previous = current;
        current = call;
        let next;
        try {
            next = failed ? steps.throw(value) : steps.next(value);
        } catch (error) {
            return reject(error);
        } finally {
            current = previous;
        }
        if (next.done) resolve(next.value);
        else plainThen.call(Promise.resolve(next.value), fulfilled, rejected);
    };
    const fulfilled = (value) => go(false, value);
    const rejected = (error) => go(true, error);
    plainThen.call(Promise.resolve(awaited), fulfilled, rejected);
}

/** `bind` for a function with one argument, which runs for each `await`. */
function carried(fn) {
    if (typeof fn !== "function") return fn;
    const call = current;
    return (value) => {
        const previous = current;
        current = call;
        try {
            return fn(value);
        } finally {
            current = previous;
        }
    };
}
