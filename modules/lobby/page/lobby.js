// Keeps a WebSocket to the lobby: signs in, sends what the user does, and shows what arrives.
// The session ends with its connection, so after a cut the page connects again, signs in again and
// joins its groups again.
const RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;
const ANSWER_MS = 12_000;
const LINES = 200;
const TOKEN = "lobby-token";
const REPLACED = 4010;

const DETAILS = {
  connecting: "The page waits for the host.",
  open: "Nobody is signed in.",
  "signed in": "Messages arrive as they are sent.",
  "signed out": "",
  replaced: "",
};

const element = (id) => document.getElementById(id);

let socket;
let attempts = 0;
let lastId = 0;
// The requests without an answer, by their ids.
const waiting = new Map();
// What the page restores after a cut. The storage belongs to this tab.
let token = sessionStorage.getItem(TOKEN);
let me = null;
// The names of the members by their users, for each group that the page is in.
const groups = new Map([["lobby", new Map()]]);

function show(state, detail = DETAILS[state]) {
  const shown = element("state");
  shown.dataset.state = state;
  shown.textContent = state;
  element("detail").textContent = detail;
  element("sign-in-panel").hidden = state !== "open" && state !== "signed out";
  element("replaced-panel").hidden = state !== "replaced";
  element("lobby").hidden = !me;
  for (const button of element("lobby").querySelectorAll("button")) button.disabled = state !== "signed in";
}

function connect() {
  show("connecting");
  const url = new URL("/api/lobby/socket", location);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const opening = new WebSocket(url);
  socket = opening;
  opening.addEventListener("open", () => (token ? signIn() : show("open")));
  opening.addEventListener("message", ({ data }) => socket === opening && received(JSON.parse(data)));
  opening.addEventListener("close", ({ code }) => socket === opening && closed(code));
}

function closed(code) {
  socket = null;
  for (const { reject } of waiting.values()) reject(new Error("the connection ended before the answer"));
  waiting.clear();
  if (code === REPLACED) return show("replaced");
  const delay = Math.min(RETRY_MS * 2 ** attempts, MAX_RETRY_MS) * (0.5 + Math.random() / 2);
  attempts += 1;
  show("connecting", `The connection has ended (${code}). The page connects again.`);
  setTimeout(() => socket ?? connect(), delay);
}

// Sends a request, and returns the answer to it.
function request(action, fields) {
  return new Promise((resolve, reject) => {
    if (socket?.readyState !== WebSocket.OPEN) throw new Error("the page is not connected");
    const id = (lastId += 1);
    waiting.set(id, { resolve, reject });
    socket.send(JSON.stringify({ do: action, ...fields, id }));
    setTimeout(() => waiting.delete(id) && reject(new Error("the host does not answer")), ANSWER_MS);
  });
}

function received(message) {
  if (message.event) return EVENTS[message.event]?.(message);
  const { resolve, reject } = waiting.get(message.id) ?? {};
  waiting.delete(message.id);
  if (message.error) reject?.(Object.assign(new Error(message.error.message), { isRefusal: true }));
  else resolve?.(message.ok);
}

async function signIn() {
  try {
    const name = me?.name;
    me = await request("sign-in", { token });
    attempts = 0;
    sessionStorage.setItem(TOKEN, token);
    if (name && name !== me.name) me = await request("rename", { name });
    for (const group of [...groups.keys()]) await join(group);
    element("uid").textContent = me.uid;
    element("name").value = me.name;
    show("signed in");
    element("text").focus();
  } catch (error) {
    // Without an answer, the page connects again.
    if (!error.isRefusal) return socket?.close();
    forget();
    show("open");
    element("refusal").textContent = `Not signed in: ${error.message}.`;
    element("token").select();
  }
}

function forget() {
  [token, me] = [null, null];
  sessionStorage.removeItem(TOKEN);
}

async function join(group) {
  const joined = await request("join", { group });
  groups.set(joined.group, new Map(joined.members.map(({ uid, name }) => [uid, name])));
  showGroups(joined.group);
}

function showGroups(selected = element("to").value) {
  element("groups").replaceChildren(...[...groups].map(([group, members]) => {
    const line = document.createElement("li");
    const leave = document.createElement("button");
    leave.type = "button";
    leave.className = "plain";
    leave.textContent = "Leave";
    leave.setAttribute("aria-label", `Leave ${group}`);
    leave.addEventListener("click", () => act(async () => {
      await request("leave", { group });
      groups.delete(group);
      showGroups();
    }));
    const names = document.createElement("span");
    names.className = "quiet";
    names.textContent = [...members.values()].sort((a, b) => a.localeCompare(b)).join(", ");
    const title = document.createElement("strong");
    title.textContent = group;
    line.append(title, leave, names);
    return line;
  }));
  const people = new Map([...groups.values()].flatMap((members) => [...members]));
  people.delete(me.uid);
  const option = (value, text) => new Option(text, value);
  element("to").replaceChildren(
    ...[...groups.keys()].map((group) => option(`group:${group}`, `group ${group}`)),
    ...[...people].map(([uid, name]) => option(`user:${uid}`, name === uid ? uid : `${name} (${uid})`)),
  );
  const wanted = [selected, `group:${selected}`];
  const found = [...element("to").options].find(({ value }) => wanted.includes(value));
  if (found) found.selected = true;
}

const EVENTS = {
  said: ({ group, from, text }) => line(group, from.name, text),
  whispered: ({ from, text }) => line("private", from.name, text, "private"),
  joined: ({ group, from }) => member(group, from, "has joined"),
  renamed: ({ group, from }) => member(group, from, `is the new name of ${from.uid}`),
  left: ({ group, from }) => {
    groups.get(group)?.delete(from.uid);
    showGroups();
    line(group, from.name, "has left", "notice");
  },
};

function member(group, { uid, name }, text) {
  const members = groups.get(group);
  const isNews = members && members.get(uid) !== name;
  members?.set(uid, name);
  showGroups();
  if (isNews && uid !== me.uid) line(group, name, text, "notice");
}

function line(where, who, text, kind = "") {
  const messages = element("messages");
  const isAtEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 40;
  const item = document.createElement("li");
  item.className = kind;
  const parts = [["span", where, "where"], ["strong", who, "who"], ["span", text, "text"]];
  item.append(...parts.flatMap(([tag, content, className]) => {
    const part = document.createElement(tag);
    part.className = className;
    part.textContent = content;
    return [part, " "];
  }));
  messages.append(item);
  while (messages.children.length > LINES) messages.firstChild.remove();
  if (isAtEnd) messages.scrollTop = messages.scrollHeight;
}

// Runs what a form asks for, and shows why it failed.
async function act(what) {
  element("failure").textContent = "";
  try {
    await what();
  } catch (error) {
    element("failure").textContent = `That has failed: ${error.message}.`;
  }
}

function onSubmit(form, what) {
  element(form).addEventListener("submit", (event) => {
    event.preventDefault();
    act(what);
  });
}

onSubmit("sign-in", () => {
  element("refusal").textContent = "";
  token = element("token").value.trim();
  return socket ? signIn() : connect();
});
onSubmit("rename", async () => {
  me = await request("rename", { name: element("name").value });
  element("name").value = me.name;
});
onSubmit("join", async () => {
  await join(element("group").value.trim());
  element("group").value = "";
});
onSubmit("send", async () => {
  const [text, to] = [element("text"), element("to").value];
  const [kind, name] = [to.slice(0, to.indexOf(":")), to.slice(to.indexOf(":") + 1)];
  if (kind === "group") await request("say", { group: name, text: text.value });
  else {
    await request("whisper", { to: name, text: text.value });
    line("private", `you to ${name}`, text.value, "private");
  }
  text.value = "";
});
element("sign-out").addEventListener("click", () => {
  const old = socket;
  socket = null;
  old.close(1000);
  forget();
  groups.clear();
  groups.set("lobby", new Map());
  element("messages").replaceChildren();
  show("signed out");
});
element("again").addEventListener("click", connect);
connect();
