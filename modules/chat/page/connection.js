// A connection that speaks protocol 2 of SocketCluster, and connects again by itself.
const RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;
const ANSWER_MS = 12_000;
const SILENCE_MS = 20_000;
// Another connection has taken the place of this one.
const REPLACED = 4010;

// The answer of the host was an error.
export class Refusal extends Error {
  constructor({ name, message, code }) {
    super(message);
    Object.assign(this, { name, code });
  }
}

export class Connection {
  #socket = null;
  #attempts = 0;
  #retry;
  #silence;
  #silenceMs = SILENCE_MS;
  #lastId = 0;
  // The requests without an answer, by their ids.
  #waiting = new Map();

  // `on.open` prepares a new connection, `on.event(name, data)` gets what the host sends, and
  // `on.state(state, detail)` learns of "connecting", "online", "offline" and "replaced".
  constructor(url, on) {
    Object.assign(this, { url, on });
    addEventListener("online", () => this.#retry && this.connect());
  }

  connect() {
    this.#end();
    this.on.state("connecting", { attempts: this.#attempts });
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    const isCurrent = () => socket === this.#socket;
    socket.addEventListener("open", () => isCurrent() && this.#prepare(socket));
    socket.addEventListener("message", ({ data }) => isCurrent() && this.#received(data));
    socket.addEventListener("close", ({ code }) => isCurrent() && this.#closed(code));
  }

  // Ends the connection until the next `connect`.
  disconnect() {
    this.#end();
    this.#attempts = 0;
    this.on.state("offline", {});
  }

  // Sends a request, and returns the answer to it.
  request(event, data) {
    return new Promise((resolve, reject) => {
      if (this.#socket?.readyState !== WebSocket.OPEN) throw new Error("the page is not connected");
      const cid = (this.#lastId += 1);
      const timer = setTimeout(() => {
        this.#waiting.delete(cid);
        reject(new Error("the host has not answered in time"));
      }, ANSWER_MS);
      this.#waiting.set(cid, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ event, data, cid }));
    });
  }

  async #prepare(socket) {
    try {
      this.#heard();
      const { pingTimeout } = await this.request("#handshake", { authToken: null });
      this.#silenceMs = pingTimeout ?? SILENCE_MS;
      await this.on.open();
      if (socket !== this.#socket) return;
      this.#attempts = 0;
      this.on.state("online", {});
    } catch {
      if (socket === this.#socket) this.#closed(1006);
    }
  }

  #received(text) {
    this.#heard();
    // An empty message is a ping.
    if (text === "") return this.#socket.send("");
    const packets = JSON.parse(text);
    for (const packet of Array.isArray(packets) ? packets : [packets]) {
      if (packet.rid === undefined) this.on.event(packet.event, packet.data);
      else this.#answered(packet);
    }
  }

  #answered({ rid, error, data }) {
    const { resolve, reject, timer } = this.#waiting.get(rid) ?? {};
    this.#waiting.delete(rid);
    clearTimeout(timer);
    if (error) reject?.(new Refusal(error));
    else resolve?.(data);
  }

  // A host that sends nothing, not even a ping, is gone, even if the browser has not noticed.
  #heard() {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#closed(1006), this.#silenceMs);
  }

  #closed(code) {
    this.#end();
    if (code === REPLACED) return this.on.state("replaced", {});
    const delay = Math.min(RETRY_MS * 2 ** this.#attempts, MAX_RETRY_MS) * (0.5 + Math.random() / 2);
    this.#attempts += 1;
    this.#retry = setTimeout(() => this.connect(), delay);
    this.on.state("connecting", { attempts: this.#attempts, code, delay });
  }

  #end() {
    clearTimeout(this.#retry);
    clearTimeout(this.#silence);
    this.#retry = undefined;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new Error("the connection has ended before the answer"));
    }
    this.#waiting.clear();
  }
}
