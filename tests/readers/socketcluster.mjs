// A client of SocketCluster, driven by lines of JSON:
//
//   node socketcluster.mjs <14 or 20> <protocol> <port> <path> [event name]..
//
// It reads commands from its input, and prints a line of JSON for all that happens. It reconnects
// by itself, as the package does.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// `tests/readers/install` installs the packages there.
const require = createRequire(new URL("../../target/readers/npm/", import.meta.url));
const [release, protocol, port, path, ...names] = process.argv.slice(2);
const print = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const fields = (error) =>
  error instanceof Error ? { ...error, name: error.name, message: error.message } : error;

const options = {
  hostname: "127.0.0.1",
  port: Number(port),
  path,
  multiplex: false,
  ackTimeout: 20000,
  autoReconnectOptions: { initialDelay: 50, randomness: 50, multiplier: 1, maxDelay: 200 },
};
const client = release === "14" ? old(require("sc14").create(options)) : current(require("sc20").create({ ...options, protocolVersion: Number(protocol) }));

const commands = {
  call: ({ call, name, data }) =>
    client.call(name, data).then(
      (data) => print({ type: "answer", call, data }),
      (error) => print({ type: "answer", call, error: fields(error) }),
    ),
  send: ({ name, data }) => client.send(name, data),
  raw: ({ text }) => client.socket.transport.socket.send(text),
  authenticate: ({ call, token }) =>
    client.authenticate(token).then(
      (data) => print({ type: "answer", call, data: { ...data, authError: fields(data.authError) } }),
      (error) => print({ type: "answer", call, error: fields(error) }),
    ),
  deauthenticate: () => client.socket.deauthenticate(),
  subscribe: ({ channel, options }) => client.subscribe(channel, options ?? {}),
  unsubscribe: ({ channel }) => client.socket.unsubscribe(channel),
  publish: ({ call, channel, data }) =>
    client.publish(channel, data).then(
      () => print({ type: "answer", call }),
      (error) => print({ type: "answer", call, error: fields(error) }),
    ),
  connect: () => client.socket.connect(),
  disconnect: ({ code, reason }) => client.socket.disconnect(code, reason),
};
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const command = JSON.parse(line);
    commands[command.do](command);
  })
  .on("close", () => process.exit(0));

// The packages do not hand the position of a message to the application, so it comes from the text.
function raw(text) {
  if (typeof text !== "string" || !text.includes('"#publish"')) return;
  const { data } = JSON.parse(text);
  if (data?.position) print({ type: "position", channel: data.channel, position: data.position });
}

function connected({ id, isAuthenticated, authError }) {
  print({ type: "connect", id, isAuthenticated, authError: fields(authError) ?? null });
}

// The releases up to 14, whose clients emit events.
function old(socket) {
  socket.on("connect", connected);
  socket.on("error", (error) => print({ type: "error", ...fields(error) }));
  socket.on("close", (code, reason) => print({ type: "close", code, reason: String(reason ?? "") }));
  socket.on("authStateChange", ({ newState, authToken }) => print({ type: newState, authToken: authToken ?? null }));
  socket.on("raw", (message) => print({ type: "raw", message }));
  socket.on("message", raw);
  socket.on("subscribe", (channel) => print({ type: "subscribe", channel }));
  socket.on("subscribeFail", (error, channel) => print({ type: "subscribeFail", channel, error: fields(error) }));
  socket.on("unsubscribe", (channel) => print({ type: "unsubscribe", channel }));
  socket.on("kickOut", (message, channel) => print({ type: "kickOut", channel, message }));
  for (const name of names) {
    socket.on(name, (data, respond) => {
      print({ type: "event", name, data: data ?? null });
      if (respond) answer(data, (value) => respond(null, value), respond);
    });
  }
  return {
    socket,
    call: (name, data) =>
      new Promise((resolve, reject) => socket.emit(name, data, (error, value) => (error ? reject(error) : resolve(value)))),
    send: (name, data) => socket.emit(name, data),
    subscribe: (channel, options) =>
      socket.subscribe(channel, options).watch((data) => print({ type: "message", channel, data: data ?? null })),
    publish: (channel, data) =>
      new Promise((resolve, reject) => socket.publish(channel, data, (error) => (error ? reject(error) : resolve()))),
    authenticate: (token) =>
      new Promise((resolve, reject) => socket.authenticate(token, (error, state) => (error ? reject(error) : resolve(state)))),
  };
}

// The releases from 15 on, whose clients are streams.
function current(socket) {
  const each = async (stream, use) => {
    for await (const value of stream) use(value);
  };
  each(socket.listener("connect"), connected);
  each(socket.listener("error"), ({ error }) => print({ type: "error", ...fields(error) }));
  each(socket.listener("close"), ({ code, reason }) => print({ type: "close", code, reason: String(reason ?? "") }));
  each(socket.listener("authStateChange"), ({ newAuthState, authToken }) =>
    print({ type: newAuthState, authToken: authToken ?? null }),
  );
  each(socket.listener("raw"), ({ message }) => print({ type: "raw", message }));
  each(socket.listener("message"), ({ message }) => raw(message));
  each(socket.listener("subscribe"), ({ channel }) => print({ type: "subscribe", channel }));
  each(socket.listener("subscribeFail"), ({ channel, error }) =>
    print({ type: "subscribeFail", channel, error: fields(error) }),
  );
  each(socket.listener("unsubscribe"), ({ channel }) => print({ type: "unsubscribe", channel }));
  each(socket.listener("kickOut"), ({ channel, message }) => print({ type: "kickOut", channel, message }));
  for (const name of names) {
    each(socket.receiver(name), (data) => print({ type: "event", name, data: data ?? null }));
    each(socket.procedure(name), (request) => {
      print({ type: "event", name, data: request.data ?? null });
      answer(request.data, (value) => request.end(value), (error) => request.error(error));
    });
  }
  return {
    socket,
    call: (name, data) => socket.invoke(name, data),
    send: (name, data) => socket.transmit(name, data),
    subscribe: (channel, options) =>
      each(socket.subscribe(channel, options), (data) => print({ type: "message", channel, data: data ?? null })),
    publish: (channel, data) => socket.invokePublish(channel, data),
    authenticate: (token) => socket.authenticate(token),
  };
}

// Answers an event of the host with its data, or with an error if the data says so.
function answer(data, good, bad) {
  if (data?.fail) {
    bad(Object.assign(new Error(data.fail), { name: "ClientError", code: 7 }));
  } else if (!data?.silent) {
    good({ got: data ?? null });
  }
}
