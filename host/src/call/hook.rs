//! The names of the hooks that no host event has.

/// A message of the embedding program or the operator, in the isolate that it is addressed to.
pub const MASTER_MESSAGE: &str = "masterMessage";

/// A message of a guest in a worker, in the master isolate.
pub const WORKER_MESSAGE: &str = "workerMessage";

/// A message of a guest in a broker, in the master isolate.
pub const BROKER_MESSAGE: &str = "brokerMessage";

/// The end of the last generation of a module, in every isolate that runs it.
pub const STOP: &str = "stop";

/// A client asks to open a WebSocket. The hooks of clients run in the worker that has the socket.
pub const UPGRADE: &str = "upgrade";
/// A client has opened its session.
pub const CONNECT: &str = "connect";
/// A client has shown a valid token.
pub const AUTHENTICATE: &str = "authenticate";
/// The session of a client ends.
pub const DISCONNECT: &str = "disconnect";

/// The hooks of clients.
pub const CLIENTS: [&str; 4] = [UPGRADE, CONNECT, AUTHENTICATE, DISCONNECT];

/// Whether the failure of this hook raises no host event. Hooks of events and `stop` are quiet, so
/// that a failing hook does not cause the event that it is called for. Messages and the hooks of
/// clients are not, because no event causes them.
pub fn is_quiet(name: &str) -> bool {
    !matches!(name, MASTER_MESSAGE | WORKER_MESSAGE | BROKER_MESSAGE) && !CLIENTS.contains(&name)
}
