// `console`, which writes to the host's log with the current call.

import { caller } from "../current.js";
import { wit } from "../backend.js";
import { onceStarted } from "../component/instance.js";
import { format, inspect } from "../inspect.js";
import { place } from "../stack.js";

function line(level, text) {
    const call = caller() ?? null;
    onceStarted(() => wit.host.log(call, level, text, []));
}

const counts = new Map();
const times = new Map();

export const console = {
    log: (...args) => line("info", format(args)),
    info: (...args) => line("info", format(args)),
    warn: (...args) => line("warn", format(args)),
    error: (...args) => line("error", format(args)),
    debug: (...args) => line("debug", format(args)),
    trace: (...args) => line("trace", [format(args), ...place(new Error())].join(" < ")),
    dir: (value) => line("info", inspect(value)),
    table: (value) => line("info", inspect(value)),
    assert(condition, ...args) {
        if (!condition) line("error", args.length > 0 ? `Assertion failed: ${format(args)}` : "Assertion failed");
    },
    count(label = "default") {
        counts.set(label, (counts.get(label) ?? 0) + 1);
        line("info", `${label}: ${counts.get(label)}`);
    },
    countReset: (label = "default") => void counts.delete(label),
    time: (label = "default") => void times.set(label, performance.now()),
    timeLog: (label = "default", ...args) => took(label, args),
    timeEnd(label = "default", ...args) {
        took(label, args);
        times.delete(label);
    },
    group: (...args) => args.length > 0 && line("info", format(args)),
    groupCollapsed: (...args) => args.length > 0 && line("info", format(args)),
    groupEnd() {},
    clear() {},
};

function took(label, args) {
    const since = times.get(label);
    if (since === undefined) return;
    line("info", format([`${label}: ${(performance.now() - since).toFixed(3)} ms`, ...args]));
}

export { console as "globalThis.console" };
