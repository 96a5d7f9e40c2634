import { caller } from "../current.js";
import { toText } from "../payload.js";

/** The current call as the contract writes it. */
export function me() {
    return caller() ?? null;
}

/** Returns the call that a function needs, or throws. */
export function mine(what) {
    const call = caller();
    if (call === undefined) throw new Error(`${what} needs a call: use it in a handler`);
    return call;
}

/** Facts that later versions add. */
export const EXTRA = [];

/** Converts `worker-1`, `broker-0`, `master`, `any`, or an object such as `{ node: "chat-1" }`. */
export function toTarget(to = "any") {
    if (typeof to === "object") {
        const [tag, val] = Object.entries(to ?? {})[0] ?? [];
        if (["node", "server", "channel", "session"].includes(tag)) return { tag, val: toText(val, `a ${tag}`) };
    } else {
        if (to === "any" || to === "master") return { tag: to };
        const [, tag, index] = /^(worker|broker)-(\d+)$/.exec(to) ?? [];
        if (tag) return { tag, val: Number(index) };
    }
    throw new TypeError(
        `there is no place ${JSON.stringify(to)}: use "any", "worker-0", "broker-0", "master", { node }, { server }, ` +
            "{ channel } or { session }",
    );
}

const GROUPS = ["workers", "brokers", "nodes", "cluster"];

/** Converts `workers`, `brokers`, `nodes`, `cluster` or `{ servers }`. */
export function toGroup(to = "workers") {
    if (GROUPS.includes(to)) return { tag: to };
    if (typeof to?.servers === "string") return { tag: "servers", val: toText(to.servers, "a server type") };
    throw new TypeError(
        `there is no group ${JSON.stringify(to)}: use "workers", "brokers", "nodes", "cluster" or { servers }`,
    );
}

/** Converts one place or several. */
export function toAddress(to) {
    const several = GROUPS.includes(to) || typeof to?.servers === "string";
    return several ? { tag: "every", val: toGroup(to) } : { tag: "one", val: toTarget(to) };
}

/** Converts milliseconds. */
export function toMillis(timeout) {
    if (timeout === undefined || timeout === null) return null;
    if (!(timeout >= 0)) throw new TypeError(`a timeout is a number of milliseconds, not ${timeout}`);
    return Math.min(Math.round(timeout), 0xffff_ffff);
}
