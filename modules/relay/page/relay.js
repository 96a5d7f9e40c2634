// Follows the stream, and counts the workers that have handled each event.
const ROWS = 20;
const EVENTS = 200;

const DETAILS = {
  connecting: "The page waits for the host.",
  open: "Messages arrive as they are published.",
  full: "The host has no room for another reader. The browser tries again.",
  refused: "The host refuses the stream. The browser does not try again.",
};

const element = (id) => document.getElementById(id);
// The latest events by position, each with its row and its workers. Workers may be behind others.
const events = new Map();
let last = "";

function show(state) {
  const shown = element("state");
  if (shown.dataset.state === state) return;
  shown.dataset.state = state;
  shown.textContent = state;
  element("detail").textContent = DETAILS[state];
}

function row(from, message) {
  const line = document.createElement("tr");
  for (const text of [new Date().toLocaleTimeString([], { hour12: false }), from, message, ""]) {
    const cell = document.createElement("td");
    cell.textContent = text;
    line.append(cell);
  }
  const messages = element("messages");
  messages.prepend(line);
  element("empty").className = "filled";
  while (messages.children.length > ROWS) messages.lastChild.remove();
  return line;
}

// A worker has handled an event.
function handled({ data }) {
  const { position, type, value, worker } = JSON.parse(data);
  const text = typeof value === "string" ? value : JSON.stringify(value);
  if (!events.has(position)) {
    events.set(position, { line: row(type, text), workers: new Set() });
    if (events.size > EVENTS) events.delete(events.keys().next().value);
    last = position;
  }
  const { line, workers } = events.get(position);
  workers.add(worker);
  line.lastChild.textContent = workers.size;
  if (position !== last) return;
  element("type").textContent = type;
  element("value").textContent = text;
  element("workers").textContent = workers.size === 1 ? "1 worker" : `${workers.size} workers`;
  element("names").textContent = [...workers].sort().join(", ");
}

const source = new EventSource("/stream?connectKey=relay");
show("connecting");
source.addEventListener("open", () => show("open"));
source.addEventListener("error", () => {
  show(source.readyState === EventSource.CLOSED ? "refused" : "connecting");
});
for (const name of ["full", "unavailable"]) source.addEventListener(name, () => show("full"));
source.addEventListener("news", ({ data }) => row("Redis: news", data));
source.addEventListener("handled", handled);

element("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const failure = element("failure");
  failure.textContent = "";
  try {
    const answer = await fetch("/api/relay/said", { method: "POST", body: element("text").value });
    if (!answer.ok) failure.textContent = (await answer.json()).detail;
  } catch (error) {
    failure.textContent = `The host does not answer: ${error.message}`;
  }
});
