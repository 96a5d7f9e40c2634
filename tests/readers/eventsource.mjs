// Follows a stream with the package `eventsource`, and prints a line of JSON for each event:
//
//   node eventsource.mjs <url> [event name]..
//
// Without names it prints `message`. It reconnects by itself, as the package does.
import { createRequire } from "node:module";

// `tests/readers/install` installs the package there.
const require = createRequire(new URL("../../target/readers/npm/", import.meta.url));
const { EventSource } = require("eventsource");

const [url, ...names] = process.argv.slice(2);
const print = (value) => process.stdout.write(JSON.stringify(value) + "\n");

const source = new EventSource(url);
source.addEventListener("open", () => print({ state: "open" }));
source.addEventListener("error", (error) => {
  print({ state: source.readyState === EventSource.CLOSED ? "closed" : "connecting", code: error.code ?? null });
});
for (const name of names.length ? names : ["message"]) {
  source.addEventListener(name, ({ lastEventId, data }) => print({ id: lastEventId, event: name, data }));
}
