import { wit } from "../backend.js";
import { toText } from "../payload.js";
import { me } from "./arguments.js";

/** Returns the value at a JSON Pointer such as `/most`, or all of it. `undefined`: no such value. */
export function get(pointer = "") {
    const text = wit.config.get(me(), toText(pointer, "a pointer"));
    return text === null || text === undefined ? undefined : JSON.parse(text);
}
