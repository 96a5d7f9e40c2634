import { Call } from "./call.js";
import { caller, enter, leave } from "./current.js";
import { Failure, anyText, describe, isFault, toFailure } from "./errors.js";
import { wit } from "./backend.js";
import { toOutcome } from "./outcome.js";
import { place } from "./stack.js";

const HANDLER = Symbol("fanfare.handler");
const GROUP = Symbol("fanfare.handlers");

/** Makes a handler of a function. The name of its export is the name of the handler. */
export function handler(fn) {
    if (typeof fn !== "function") throw new TypeError("`handler` expects a function");
    const made = (call) => fn(call);
    made[HANDLER] = fn;
    return made;
}

/** Makes handlers of functions, for names that no export can have. */
export function handlers(functions) {
    const group = {};
    for (const [name, fn] of Object.entries(functions)) group[name] = fn[HANDLER] ? fn : handler(fn);
    Object.defineProperty(group, GROUP, { value: true });
    return group;
}

/** Returns the handlers among the exports of a module, by name. */
export function collect(exported) {
    const all = new Map();
    const add = (name, fn) => {
        if (all.has(name)) throw new Error(`two handlers have the name \`${name}\`: rename one of them`);
        all.set(name, fn[HANDLER]);
    };
    for (const [name, value] of Object.entries(exported)) {
        if (value?.[HANDLER]) add(name, value);
        else if (value?.[GROUP]) for (const [inner, fn] of Object.entries(value)) add(inner, fn);
        else if (name === "default" && value !== null && typeof value === "object") {
            for (const [inner, fn] of Object.entries(value)) if (fn?.[HANDLER]) add(inner, fn);
        }
    }
    if (all.size === 0) {
        throw new Error("the module exports no handler: write `export const greet = handler((call) => ..)`");
    }
    return all;
}

/**
 * Runs one call. `end` gets the outcome by `resolve`, or the record of a failure by `reject`, in
 * this function unless the handler returns a promise. Then `wait` of `end` is called first.
 */
export function run(all, call, end) {
    const previous = enter(call.id);
    let outcome;
    try {
        const fn = all.get(call.handler);
        if (!fn) throw unknown(all, call);
        const result = fn(new Call(call));
        if (typeof result?.then === "function") return waitFor(result, call, end);
        outcome = toOutcome(result);
    } catch (error) {
        return end.reject(refused(call, error));
    } finally {
        leave(previous);
    }
    end.resolve(outcome);
}

function waitFor(result, call, end) {
    end.wait();
    const failed = (error) => end.reject(refused(call, error));
    Promise.resolve(result).then((value) => {
        let outcome;
        try {
            outcome = toOutcome(value);
        } catch (error) {
            return failed(error);
        }
        end.resolve(outcome);
    }, failed);
}

function unknown(all, { handler }) {
    const names = [...all.keys()].map((name) => `\`${name}\``).join(", ");
    return new Failure("no-such-handler", `there is no handler \`${handler}\`, only ${names}`);
}

/** Returns the record of a failure. */
function refused(call, error) {
    if (isFault(error)) report(error, [["handler", call.handler]]);
    return toFailure(error).toWit();
}

/** Writes an error that nothing caught to the log, with its place in the source. */
export function report(error, fields = []) {
    const places = place(error);
    const at = places.length > 0 ? ` (${places[0]})` : "";
    const name = error instanceof Error && error.name !== "Error" ? `${error.name}: ` : "";
    const stack = places.length > 1 ? [["stack", places.join(" < ")]] : [];
    wit.host.log(caller() ?? null, "error", `${anyText(name)}${describe(error)}${at}`, [...fields, ...stack]);
}
