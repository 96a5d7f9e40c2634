import { wit } from "../backend.js";
import { anyText } from "../errors.js";
import { isolateName } from "../values.js";
import { me } from "./arguments.js";

/** Returns the node, the isolate and the module of this instance. */
export function whoami() {
    const identity = wit.host.whoami();
    return { ...identity, isolate: isolateName(identity.isolate) };
}

/** Returns a variable that the manifest asks for in `capabilities.env`, or `undefined`. */
export function env(name) {
    return wit.environment.getEnvironment().find(([other]) => other === name)?.[1];
}

const LEVELS = ["trace", "debug", "info", "warn", "error"];

/** Writes one line to the host's log: `log("info", "sold", { item: "hat" })`, or `log.info(..)`. */
export function log(level, message, fields = {}) {
    if (!LEVELS.includes(level)) throw new TypeError(`there is no level ${anyText(level)}: use ${LEVELS.join(", ")}`);
    const pairs = Object.entries(fields).map(([name, value]) => [anyText(name), fieldText(value)]);
    wit.host.log(me(), level, anyText(message), pairs);
}

for (const level of LEVELS) {
    log[level] = (message, fields) => log(level, message, fields);
}

function fieldText(value) {
    try {
        return typeof value === "object" && value !== null ? JSON.stringify(value) : anyText(value);
    } catch {
        return anyText(value);
    }
}
