// Follows the stream and checks that its ticks are consecutive.
const STREAM = "/stream?connectKey=ticker";
const ROWS = 20;
const MARKS = 60;
// A tick that arrives later than this after its second was kept by the host during a cut.
const LATE_MS = 1500;

const element = (id) => document.getElementById(id);
const counts = { received: 0, missed: 0, doubled: 0, cuts: 0, resumed: 0 };
let source = null;
let wasOpen = false;
let lastId = "";
let lastNumber = null;

const DETAILS = {
  connecting: "The page waits for the host.",
  open: "Ticks arrive as they are published.",
  resumed: "The host has sent what the page missed.",
  reset: "The host no longer has all that the page missed.",
  cut: "The page receives nothing. Reconnect to receive what it misses.",
  full: "The host has no room for another reader. The browser tries again.",
  refused: "The host refuses the stream. The browser does not try again.",
};

function show(state) {
  const shown = element("state");
  if (shown.dataset.state !== state) {
    shown.dataset.state = state;
    shown.textContent = state;
    element("detail").textContent = DETAILS[state];
  }
  element("cut").disabled = state === "cut" || state === "refused";
  element("reconnect").disabled = !element("cut").disabled;
}

function count(name, amount = 1) {
  counts[name] += amount;
  const shown = element(name);
  shown.textContent = counts[name];
  shown.classList.toggle("bad", (name === "missed" || name === "doubled") && counts[name] > 0);
}

function connect() {
  // The browser sends the last id by itself only when the same EventSource reconnects.
  const resume = lastId ? `&lastEventId=${encodeURIComponent(lastId)}` : "";
  source = new EventSource(STREAM + resume);
  show("connecting");
  source.addEventListener("open", () => {
    if (wasOpen) count("resumed");
    show(wasOpen ? "resumed" : "open");
    wasOpen = true;
  });
  source.addEventListener("error", ({ target }) => {
    if (target !== source) return;
    if (element("state").dataset.state !== "connecting") count("cuts");
    show(target.readyState === EventSource.CLOSED ? "refused" : "connecting");
  });
  source.addEventListener("tick", tick);
  source.addEventListener("extra", ({ data, lastEventId }) => {
    lastId = lastEventId;
    row(["by hand", new Date().toLocaleTimeString([], { hour12: false }), "ticker", JSON.parse(data).worker, "extra"], "");
  });
  source.addEventListener("reset", ({ lastEventId }) => {
    lastId = lastEventId;
    show("reset");
  });
  for (const name of ["full", "unavailable"]) source.addEventListener(name, () => show("full"));
}

function tick({ data, lastEventId }) {
  lastId = lastEventId;
  const { number, to, worker } = JSON.parse(data);
  const gap = lastNumber === null ? 0 : number - lastNumber - 1;
  if (gap < 0) count("doubled");
  if (gap > 0) {
    count("missed", gap);
    row([`${gap} missed`, "", "", "", ""], "gap");
    for (let missing = 0; missing < Math.min(gap, MARKS); missing += 1) mark("gap", false);
  }
  count("received");
  lastNumber = number;
  const due = new Date(number * 1000);
  const late = Date.now() - due.getTime() > LATE_MS;
  row([number, due.toLocaleTimeString([], { hour12: false }), to, worker, late ? "late" : "live"], late ? "late" : "");
  mark(late ? "late" : "live", to === "everyone");
}

function row(texts, kind) {
  const line = document.createElement("tr");
  for (const text of texts) {
    const cell = document.createElement("td");
    cell.textContent = text;
    if (kind) cell.className = kind;
    line.append(cell);
  }
  const rows = element("ticks");
  rows.prepend(line);
  while (rows.children.length > ROWS) rows.lastChild.remove();
  element("empty").className = "filled";
}

function mark(kind, everyone) {
  const strip = element("strip");
  const bar = document.createElement("i");
  bar.className = everyone ? `${kind} everyone` : kind;
  strip.append(bar);
  while (strip.children.length > MARKS) strip.firstChild.remove();
}

element("cut").addEventListener("click", () => {
  source.close();
  count("cuts");
  show("cut");
  element("reconnect").focus();
});
element("reconnect").addEventListener("click", () => {
  connect();
  element("cut").focus();
});
connect();
