//! Kills of a module in one isolate: the request to the supervisor, and the end of instances that
//! drain.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{oneshot, watch};

use super::error::End;
use super::instance::Killer;

/// A request to the supervisor of a slot: end the instance at once and start the next one.
pub struct KillRequest {
    /// Receives the result when the old instances have ended.
    pub done: oneshot::Sender<KilledSlot>,
    pub gate: StartGate,
}

/// The next instances of an isolate start when the [`GateKeeper`] is dropped, because a startup
/// must not call an instance of another module that is about to end.
#[derive(Clone)]
pub struct StartGate(watch::Receiver<()>);

/// Keeps a [`StartGate`] closed.
pub struct GateKeeper(#[expect(dead_code, reason = "dropping it opens the gate")] watch::Sender<()>);

impl StartGate {
    /// Creates a closed gate.
    pub fn closed() -> (GateKeeper, StartGate) {
        let (keeper, gate) = watch::channel(());
        (GateKeeper(keeper), StartGate(gate))
    }

    /// Waits until the gate opens.
    pub async fn opened(&mut self) {
        // Nothing is ever sent, so this ends with the sender.
        let _ = self.0.changed().await;
    }
}

/// A slot whose instances were killed. The next one is starting.
#[derive(Debug)]
pub struct KilledSlot {
    /// The number of running calls that ended with the error `crashed`.
    pub crashed: usize,
    started: oneshot::Receiver<Result<(), End>>,
}

/// Tells the killer whether the next instance has started.
pub type StartReport = oneshot::Sender<Result<(), End>>;

impl KillRequest {
    /// Reports that the old instances have ended. Returns how to report the next instance, and
    /// when to start it.
    pub fn ended(self, crashed: usize) -> (StartReport, StartGate) {
        let (report, started) = oneshot::channel();
        // The killer may no longer wait.
        let _ = self.done.send(KilledSlot { crashed, started });
        (report, self.gate)
    }
}

impl KilledSlot {
    /// Waits until the next instance, or one that a swap has handed over, is ready. The error says
    /// how the next instance ended instead. `None` when the module was removed or the host stops.
    pub async fn started(self) -> Option<Result<(), End>> {
        self.started.await.ok()
    }
}

/// Waits until these instances have drained, but for no longer than `grace`, and then kills the
/// others. Returns the number of running calls that ended with the error `crashed`.
pub async fn end_within(instances: &[Killer], grace: Duration) -> usize {
    let drained = join_all(instances.iter().map(Killer::ended));
    match tokio::time::timeout(grace, drained).await {
        Ok(_) => 0,
        Err(_) => kill_all(instances).await,
    }
}

/// Kills the instances that have not ended. Returns the number of running calls that ended with the
/// error `crashed`.
pub async fn kill_all(instances: &[Killer]) -> usize {
    let running = instances.iter().filter(|instance| !instance.has_ended());
    join_all(running.map(Killer::kill)).await.into_iter().sum()
}
