import { wit } from "../backend.js";
import { now } from "../errors.js";
import { toPayload, toText } from "../payload.js";
import { me } from "./arguments.js";

/** Queues a message for a topic of a connection such as `redis`, and returns at once. */
export function publish(connection, topic, payload) {
    now(wit.messages.publish, me(), toText(connection, "a connection"), toText(topic, "a topic"), toPayload(payload));
}
