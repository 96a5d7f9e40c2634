// Receives webhooks: checks the signature of each, then tells every worker and the readers of the
// stream `webhook`.

import { Failure, broadcast, config, handler, host, log, rpc, snapshot, sse } from "fanfare";
import { Deliveries } from "./deliveries.js";

const deliveries = new Deliveries();

snapshot({ save: () => deliveries.save(), load: (state) => deliveries.load(state) });

/** `POST ""`: one delivery. A delivery that is known already gets the same reply as a new one. */
export const receive = handler(async ({ headers, bytes }) => {
    const signature = headers[config.get("/signature")];
    if (!(await isSigned(bytes, signature))) {
        throw new Failure("wrong-signature", "the signature of the body is wrong or missing", { status: 401 });
    }
    // The signature stands for the id of a sender that sends none.
    const delivery = headers[config.get("/delivery")] ?? signature;
    if (!/^[\w.:=-]{1,100}$/.test(delivery)) {
        throw new Failure("bad-delivery", "an id has 1 to 100 letters, digits and . : = _ -", { status: 400 });
    }
    if (deliveries.has(delivery)) return { delivery, new: false };
    const event = { delivery, event: headers[config.get("/event")] ?? "message", body: read(bytes) };
    const workers = await broadcast.gather("received", event);
    const results = workers.filter(({ reply }) => reply).map(({ reply }) => reply.json);
    if (results.length === 0) {
        // The sender then sends it again.
        throw new Failure("not-received", "no worker has received the event", { status: 503 });
    }
    return { delivery, new: results.some((isNew) => isNew) };
});

/** The inner route of the broadcast. */
export const received = handler(({ json: event, trigger }) => {
    if (trigger.kind !== "broadcast") throw new Failure("not-a-broadcast", "this route is for the broadcast");
    // Every worker sees the deliveries in the same order, so all of them agree which are new.
    const isNew = deliveries.add(event, config.get("/remember"));
    if (isNew && trigger.sameAsCaller) sse.publish("webhook", event, { event: event.event });
    return isNew;
});

/** `GET last`: the last event. */
export const last = handler(() => {
    if (!deliveries.last) throw new Failure("no-event", "there was no event yet", { status: 404 });
    return deliveries.last;
});

/** What this worker remembers, for a new instance in another worker. */
export const state = handler(() => deliveries.save());

/** The startup: an instance that follows a crash reads what another worker remembers. */
export const catchUp = handler(async ({ trigger }) => {
    if (trigger.reason === "start" || trigger.reason === "swap") return;
    const { isolate, workers } = host.whoami();
    for (let worker = 0; worker < workers; worker++) {
        if (isolate === `worker-${worker}`) continue;
        try {
            const reply = await rpc.call("GET /inner/state", undefined, { to: `worker-${worker}`, timeout: 1000 });
            return deliveries.load(reply.json);
        } catch (error) {
            log.warn(`cannot read the deliveries of worker-${worker}: ${error.message}`);
        }
    }
});

/** Returns whether a text such as `sha256=0a1b..` is the HMAC of the body. */
async function isSigned(body, signature) {
    const hex = /^sha256=([0-9a-f]{64})$/i.exec(signature ?? "")?.[1];
    if (!hex) return false;
    const bytes = Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
    const secret = new TextEncoder().encode(config.get("/secrets/webhook"));
    const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
    // `verify` compares in constant time: how long it takes tells nobody how many bytes are right.
    return crypto.subtle.verify("HMAC", key, bytes, body);
}

/** Returns the body as JSON, or as text if it is not JSON. */
function read(bytes) {
    const text = new TextDecoder().decode(bytes);
    try {
        return JSON.parse(text);
    } catch {
        return text;
    }
}
