import { wit } from "../backend.js";
import { now } from "../errors.js";
import { toJson, toOptionalText, toText } from "../payload.js";
import { me } from "./arguments.js";

/** Emits an event with any value that JSON can hold. Without a type it is `message`. */
export function emit(type, value) {
    now(wit.events.emit, me(), toOptionalText(type, "the type of an event"), { tag: "text", val: toJson(value) });
}

/** Subscribes a route of this module to events, and returns the name of the subscription. */
export function subscribe(pattern, route) {
    return now(wit.events.subscribe, me(), toOptionalText(pattern, "a pattern"), toText(route, "a route"));
}

/** Ends a subscription. */
export function unsubscribe(subscription) {
    now(wit.events.unsubscribe, me(), toText(subscription, "a subscription"));
}
