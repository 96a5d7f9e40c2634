// Values as text for the log.

import { place } from "./stack.js";

/** How deep to write objects in objects. */
const DEPTH = 4;

/** How many items of a list, and properties of an object, to write. */
const MOST = 100;

/** Formats the arguments of `console.log`, with the escapes of the Console standard and `%j`. */
export function format(args) {
    let rest = args;
    let text = "";
    if (typeof args[0] === "string" && args.length > 1 && args[0].includes("%")) {
        rest = args.slice(1);
        text = args[0].replace(/%([sdifjoOc%])/g, (whole, kind) => {
            if (kind === "%") return "%";
            if (rest.length === 0) return whole;
            const [value] = rest.splice(0, 1);
            return conversion(kind, value);
        });
        return [text, ...rest.map(plain)].join(" ");
    }
    return rest.map(plain).join(" ");
}

function conversion(kind, value) {
    switch (kind) {
        case "s":
            return plain(value);
        case "d":
            return String(Number(value));
        case "i":
            return String(Math.trunc(Number(value)));
        case "f":
            return String(Number.parseFloat(value));
        case "j":
            return JSON.stringify(value);
        case "c":
            return "";
        default:
            return inspect(value);
    }
}

function plain(value) {
    return typeof value === "string" ? value : inspect(value);
}

/** Returns a value as text, in one line. */
export function inspect(value, depth = 0, seen = []) {
    switch (typeof value) {
        case "string":
            return JSON.stringify(value);
        case "bigint":
            return `${value}n`;
        case "function":
            return `[Function: ${value.name || "(anonymous)"}]`;
        case "object":
            return value === null ? "null" : object(value, depth, seen);
        default:
            return String(value);
    }
}

function object(value, depth, seen) {
    if (seen.includes(value)) return "[Circular]";
    if (value instanceof Error) return errorText(value);
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
    if (value instanceof RegExp) return String(value);
    if (value instanceof Promise) return "Promise {}";
    if (depth > DEPTH) return Array.isArray(value) ? "[Array]" : "[Object]";
    const inner = (item) => inspect(item, depth + 1, [...seen, value]);
    if (Array.isArray(value)) return list(value, inner, "");
    if (ArrayBuffer.isView(value) && value.length !== undefined)
        return list([...value], inner, `${value.constructor.name} `);
    if (value instanceof Set) return braces([...value].map(inner), "Set ");
    if (value instanceof Map)
        return braces(
            [...value].map(([key, item]) => `${inner(key)} => ${inner(item)}`),
            "Map ",
        );
    const name = value.constructor?.name;
    const pairs = Object.entries(value).map(([key, item]) => `${key}: ${inner(item)}`);
    return braces(pairs, name && name !== "Object" ? `${name} ` : "");
}

function list(items, inner, prefix) {
    return `${prefix}[${items.slice(0, MOST).map(inner).concat(more(items)).join(", ")}]`;
}

function braces(parts, prefix) {
    if (parts.length === 0) return `${prefix}{}`;
    return `${prefix}{ ${parts.slice(0, MOST).concat(more(parts)).join(", ")} }`;
}

function more(items) {
    return items.length > MOST ? [`.. ${items.length - MOST} more`] : [];
}

function errorText(error) {
    const places = place(error);
    const at = places.length > 0 ? ` (${places.join(" < ")})` : "";
    const cause = error.cause === undefined ? "" : `: ${inspect(error.cause, 1)}`;
    return `${error.name}: ${error.message}${cause}${at}`;
}
