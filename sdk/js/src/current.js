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

/** Makes promises and microtasks keep the current call. */
export function carryThroughPromises() {
    const plainThen = Promise.prototype.then;
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
