// A room: its messages, and what the page knows about it.
const LINES = 300;
// Two messages of a person within this time have one name above them.
const FOLLOW_MS = 180_000;

export function create(tag, className, text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

export class Room {
  // `page.isMine(name)` says who the user is, and `page.isSeen(room)` whether the user sees this
  // room. `page.scrolled()` learns that another part of the messages is in sight.
  constructor(name, page) {
    this.name = name;
    this.page = page;
    this.channel = `chat/room/${name}`;
    // The place after the last message: "<epoch>-<number>".
    this.position = null;
    // Messages that arrive while the page asks for earlier ones.
    this.early = null;
    this.members = new Map();
    this.count = 0;
    this.unread = 0;
    // Own messages that are not published yet, by their keys.
    this.unsent = new Map();
    this.keys = new Set();
    this.log = create("ol", "log");
    this.log.setAttribute("role", "log");
    this.log.setAttribute("aria-label", `Messages in ${name}`);
    this.log.tabIndex = 0;
    // Whether the newest message is in sight, and stays so when more arrive.
    this.isAtEnd = true;
    this.log.addEventListener("scroll", () => {
      this.isAtEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 48;
      this.page.scrolled();
    });
  }

  toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
    this.isAtEnd = true;
  }

  // Puts a line before the messages that are not published yet.
  add(line) {
    this.log.insertBefore(line, this.log.querySelector(".unsent"));
    while (this.log.children.length > LINES) this.log.firstChild.remove();
    if (this.isAtEnd) this.toEnd();
    else this.page.scrolled();
  }

  notice(text, kind = "") {
    this.add(create("li", `notice ${kind}`, text));
    this.last = null;
  }

  // Shows a message of the host, unless the page has it.
  message({ position, data, at = Date.now() }) {
    this.position = position;
    const { name, text, key } = data;
    if (key && this.keys.has(key)) return false;
    if (key) this.keys.add(key);
    if (this.keys.size > 2 * LINES) this.keys.delete(this.keys.values().next().value);
    this.unsent.get(key)?.line.remove();
    const isMine = this.unsent.delete(key) || this.page.isMine(name);
    this.add(messageLine(name, text, at, this.follows(name, at), isMine));
    this.last = { name, at };
    if (!isMine && !this.page.isSeen(this)) this.unread += 1;
    return true;
  }

  follows(name, at) {
    return this.last?.name === name && at - this.last.at < FOLLOW_MS;
  }
}

export function messageLine(name, text, at, follows, isMine) {
  const classes = { follows, mine: isMine, announced: name === null };
  const line = create("li", ["message", ...Object.keys(classes).filter((it) => classes[it])].join(" "));
  const who = create("span", name === null ? "who" : `who colour-${colour(name)}`, name ?? "Announcement");
  const time = create("time", "", new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = new Date(at).toISOString();
  const said = create("span", "said", text);
  said.dir = "auto";
  line.append(who, said, time);
  return line;
}

// One of six colours for each name.
export function colour(name) {
  let hash = 2166136261;
  for (const character of name) hash = Math.imul(hash ^ character.codePointAt(0), 16777619) >>> 0;
  return hash % 6;
}
