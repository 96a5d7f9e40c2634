// The rooms of the chat. Each room is a channel of the host.
//
// The page remembers its place in each room. After a cut it asks for what follows that place, so it
// misses nothing, or says that it has missed something. A message that was sent without an answer
// is sent again with the same key, and each key is shown once.
import { Connection, Refusal } from "./connection.js";
import { Room, colour, create, messageLine } from "./room.js";

const STORAGE = "chat";
const FIRST_ROOM = "general";
// Errors of the host that say nothing about the message: it is sent again.
const TEMPORARY = new Set(["crashed", "overloaded", "timeout", "unavailable"]);
const AGAIN_MS = 500;
const ATTEMPTS = 10;

const element = (id) => document.getElementById(id);

function random() {
  const bytes = [...crypto.getRandomValues(new Uint8Array(12))];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// What the tab remembers: who the user is, and the rooms.
let me = JSON.parse(sessionStorage.getItem(STORAGE) ?? "null");
const rooms = new Map();
let current;
let state = "offline";
let lostAt = null;
let wasOnline = false;

const url = new URL("/chat/", location);
url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
const connection = new Connection(url, { open: opened, event: received, state: show });

// ---- The connection

// Signs in and enters the rooms, on each new connection.
async function opened() {
  try {
    me = { ...me, ...(await connection.request("sign-in", { name: me.name, secret: me.secret })) };
  } catch (error) {
    if (!(error instanceof Refusal) || TEMPORARY.has(error.code)) throw error;
    connection.disconnect();
    forget();
    element("refusal").textContent = `${error.message}.`;
    return;
  }
  store();
  for (const room of rooms.values()) await enter(room);
  lostAt = null;
}

async function enter(room) {
  room.early = [];
  for (const channel of [`presence/${room.channel}`, room.channel]) await connection.request("#subscribe", { channel });
  await catchUp(room);
  await listPeople(room);
  for (const key of [...room.unsent.keys()]) publish(room, key);
}

async function listPeople(room) {
  try {
    const members = await connection.request("#members", { channel: room.channel });
    room.members = new Map(members.map(({ id, info }) => [id, info?.name]));
    room.count = members.length;
    showPeople();
  } catch (error) {
    // A room may have too many members for a list.
    if (!(error instanceof Refusal)) throw error;
  }
}

// Asks for the messages after the page's place, and shows them before those that arrive meanwhile.
async function catchUp(room) {
  room.early ??= [];
  const after = room.position;
  const page = await connection.request("#history", { channel: room.channel, ...(after && { after }) });
  if (after && !page.complete) room.notice("Messages may be missing here: the host no longer has them.", "lost");
  const shown = page.messages.filter((message) => room.message(message)).length;
  if (page.position) room.position = page.position;
  if (after && lostAt) {
    const seconds = Math.max(1, Math.round((Date.now() - lostAt) / 1000));
    room.notice(`Back after ${seconds} s. ${shown} ${shown === 1 ? "message" : "messages"} recovered.`, "recovered");
  }
  const early = room.early;
  room.early = null;
  early.forEach((message) => arrived(room, message));
  showRooms();
}

// A message that the host has just published.
function arrived(room, message) {
  if (room.early) return room.early.push(message);
  const [epoch, number] = split(message.position);
  const [ours, last] = split(room.position ?? `${epoch}-${number - 1}`);
  if (epoch === ours && number <= last) return;
  if (epoch !== ours || number > last + 1) {
    room.early = [message];
    return catchUp(room).catch(() => state === "online" && connection.connect());
  }
  room.message(message);
  showRooms();
}

function split(position) {
  const dash = position.lastIndexOf("-");
  return [position.slice(0, dash), Number(position.slice(dash + 1))];
}

function received(event, data) {
  if (event === "#kickOut") return kicked(data);
  if (event !== "#publish") return;
  const isPresence = data.channel.startsWith("presence/");
  const name = data.channel.slice(isPresence ? "presence/chat/room/".length : "chat/room/".length);
  const room = rooms.get(name);
  if (!room) return;
  if (isPresence) changed(room, data.data);
  else arrived(room, data);
}

// A member has entered or left. A room with very many members tells only their number.
function changed(room, { action, member, count }) {
  if (action === "join") room.members.set(member.id, member.info?.name);
  if (action === "leave") room.members.delete(member.id);
  room.count = count;
  showPeople();
}

function kicked({ channel, message }) {
  const room = rooms.get(channel.slice("chat/room/".length));
  room?.notice(`You were removed from this room: ${message}`, "lost");
}

// ---- Sending

function say(room, text) {
  const key = random();
  const line = messageLine(me.name, text, Date.now(), false, true);
  line.classList.add("unsent");
  // A screen reader announces the message once, when it is published.
  line.setAttribute("aria-hidden", "true");
  line.querySelector("time").textContent = state === "online" ? "sending" : "waiting";
  room.log.append(line);
  room.toEnd();
  room.unsent.set(key, { text, line, attempts: 0 });
  if (state === "online") publish(room, key);
}

async function publish(room, key) {
  const message = room.unsent.get(key);
  clearTimeout(message.timer);
  try {
    message.attempts += 1;
    await connection.request("#publish", { channel: room.channel, data: { text: message.text, key } });
  } catch (error) {
    const isTemporary = !(error instanceof Refusal) || TEMPORARY.has(error.code);
    // After a cut the next connection sends it.
    if (!room.unsent.has(key) || (isTemporary && state !== "online")) return;
    if (isTemporary && message.attempts < ATTEMPTS) {
      const again = () => room.unsent.has(key) && state === "online" && publish(room, key);
      message.timer = setTimeout(again, AGAIN_MS * message.attempts);
      return;
    }
    room.unsent.delete(key);
    message.line.remove();
    fail(error);
    if (!element("text").value) element("text").value = message.text;
  }
}

function fail(error) {
  element("failure").textContent = `Not sent: ${error.message}.`;
}

// ---- What the page shows

function show(next, { attempts, delay }) {
  if (state === "online" && next !== "online") lostAt = Date.now();
  state = next;
  wasOnline ||= state === "online";
  const details = {
    online: "",
    offline: me ? "You are offline. Others can write meanwhile." : "",
    replaced: "",
    connecting: detailOf(attempts, delay),
  };
  element("state").textContent = me ? state : "signed out";
  element("state").dataset.state = me ? state : "signed-out";
  element("detail").textContent = details[state];
  element("welcome").hidden = Boolean(me);
  element("replaced").hidden = state !== "replaced";
  element("chat").hidden = !me || state === "replaced" || !current;
  element("you").hidden = !me || state === "replaced";
  element("my-name").textContent = me?.name ?? "";
  element("cut").textContent = state === "offline" ? "Go online" : "Go offline";
}

function detailOf(attempts, delay) {
  if (!attempts) return "";
  const hint = attempts > 3 && !wasOnline ? " Does fanfare.json have a listener at /chat/?" : "";
  return delay ? `Trying again in ${Math.ceil(delay / 1000)} s.${hint}` : `Attempt ${attempts + 1}.`;
}

function showRooms() {
  if (current && !document.hidden) current.unread = 0;
  element("rooms").replaceChildren(...[...rooms.values()].map((room) => {
    const item = create("li", "");
    const link = create("a", "", room.name);
    link.href = `#${room.name}`;
    if (room === current) link.setAttribute("aria-current", "page");
    if (room.unread) {
      link.append(create("span", "badge", String(room.unread)), create("span", "visually-hidden", " unread"));
    }
    item.append(link);
    if (rooms.size > 1) {
      const leave = create("button", "plain", "\u00d7");
      leave.type = "button";
      leave.setAttribute("aria-label", `Leave ${room.name}`);
      leave.addEventListener("click", () => leaveRoom(room));
      item.append(leave);
    }
    return item;
  }));
  const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = unread ? `(${unread}) Chat` : "Chat";
}

function showPeople() {
  if (!current) return;
  const names = [...new Set(current.members.values())].filter(Boolean).sort((a, b) => a.localeCompare(b));
  element("count").textContent = current.count === 1 ? "1 person here" : `${current.count} people here`;
  element("members").replaceChildren(...names.map((name) => {
    const item = create("li", "");
    const initial = create("span", `initial colour-${colour(name)}`, [...name][0].toUpperCase());
    initial.setAttribute("aria-hidden", "true");
    item.append(initial, create("span", "", name === me?.name ? `${name} (you)` : name));
    return item;
  }));
}

function showNewest() {
  element("newest").hidden = !current || current.isAtEnd;
}

// ---- What the user does

function store() {
  sessionStorage.setItem(STORAGE, JSON.stringify({ ...me, rooms: [...rooms.keys()] }));
}

function forget() {
  me = null;
  current = undefined;
  rooms.clear();
  element("logs").replaceChildren();
  sessionStorage.removeItem(STORAGE);
  show(state, {});
  element("name").focus();
}

function add(name) {
  const isMine = (other) => other === me.name;
  const isSeen = (other) => other === current && !document.hidden;
  const room = new Room(name, { isMine, isSeen, scrolled: showNewest });
  rooms.set(name, room);
  element("logs").append(room.log);
  return room;
}

function isRoom(name) {
  return /^[a-z0-9-]{1,24}$/.test(name);
}

// Opens the room that the address names.
async function go() {
  if (!me) return;
  const wanted = location.hash.slice(1).toLowerCase();
  const name = isRoom(wanted) ? wanted : [...rooms.keys()][0] ?? FIRST_ROOM;
  if (name !== wanted) history.replaceState(null, "", `#${name}`);
  let room = rooms.get(name);
  const isNew = !room;
  if (isNew) {
    room = add(name);
    store();
  }
  current = room;
  for (const other of rooms.values()) other.log.hidden = other !== room;
  element("heading").textContent = name;
  element("text").placeholder = `Message to ${name}`;
  showRooms();
  showPeople();
  if (room.isAtEnd) room.toEnd();
  showNewest();
  if (isNew && state === "online") await enter(room).catch((error) => error instanceof Refusal && fail(error));
}

function leaveRoom(room) {
  rooms.delete(room.name);
  room.log.remove();
  store();
  if (state === "online") {
    for (const channel of [`presence/${room.channel}`, room.channel]) {
      connection.request("#unsubscribe", channel).catch(() => {});
    }
  }
  if (room === current) location.hash = [...rooms.keys()][0];
  showRooms();
  element("text").focus();
}

function onSubmit(form, what) {
  element(form).addEventListener("submit", (event) => {
    event.preventDefault();
    what();
  });
}

function start() {
  (me.rooms ?? []).forEach(add);
  go();
  connection.connect();
}

onSubmit("sign-in", () => {
  element("refusal").textContent = "";
  me = { name: element("name").value.trim(), secret: random() };
  start();
  element("text").focus();
});
onSubmit("open", () => {
  // "Tea time!" is the room tea-time.
  const name = element("room").value.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  if (isRoom(name)) location.hash = name;
  element("room").value = "";
  element("text").focus();
});
onSubmit("send", () => {
  const text = element("text").value.trim();
  element("failure").textContent = "";
  element("text").value = "";
  if (text) say(current, text);
});
element("cut").addEventListener("click", () => (state === "offline" ? connection.connect() : connection.disconnect()));
element("sign-out").addEventListener("click", () => {
  connection.disconnect();
  forget();
});
element("again").addEventListener("click", () => connection.connect());
element("newest").addEventListener("click", () => {
  current.toEnd();
  current.log.focus();
});
addEventListener("hashchange", go);
document.addEventListener("visibilitychange", showRooms);
new ResizeObserver(() => current?.isAtEnd && current.toEnd()).observe(element("logs"));
const isWide = matchMedia("(min-width: 56rem)");
const openPeople = () => (element("people").open = isWide.matches);
isWide.addEventListener("change", openPeople);
openPeople();

if (me) start();
else show("offline", {});
