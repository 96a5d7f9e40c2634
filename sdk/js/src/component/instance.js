// Whether this is an instance in a host. The build runs the module once and keeps its memory, so
// that code outside of handlers runs before there is a host.

let started = false;
const waiting = [];

/** Runs a function now, or when the instance starts. */
export function onceStarted(fn) {
    if (started) fn();
    else waiting.push(fn);
}

/** Throws during the build. */
export function needsHost(what) {
    if (started) return;
    throw new Error(
        `${what} needs a running module: code outside of handlers runs once, when the module is built. ` +
            "Move it into a handler or a startup",
    );
}

export function isStarted() {
    return started;
}

/** Called by the first function that the host calls. */
export function start() {
    if (started) return;
    started = true;
    for (const fn of waiting) fn();
    waiting.length = 0;
}
