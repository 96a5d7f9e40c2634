//! The names of the hooks that no host event has.

/// A message of the embedding program or the operator, in the isolate that it is addressed to.
pub const MASTER_MESSAGE: &str = "masterMessage";

/// A message of a guest in a worker, in the master isolate.
pub const WORKER_MESSAGE: &str = "workerMessage";

/// A message of a guest in a broker, in the master isolate.
pub const BROKER_MESSAGE: &str = "brokerMessage";

/// The end of the last generation of a module, in every isolate that runs it.
pub const STOP: &str = "stop";

/// Whether the failure of this hook raises no host event. Hooks of events and `stop` are quiet, so
/// that a failing hook does not cause the event that it is called for. Messages are not: the host
/// sends none by itself.
pub fn is_quiet(name: &str) -> bool {
    !matches!(name, MASTER_MESSAGE | WORKER_MESSAGE | BROKER_MESSAGE)
}
