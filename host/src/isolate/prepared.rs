//! The next instance of a module in one isolate, which a swap or a kill prepares while the current
//! one serves.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::deployment::Deployment;
use super::error::{End, SnapshotError};
use super::instance::{Activation, Instance, SnapshotRequest};
use super::program::Program;
use super::services::Services;
use super::slot::Slot;
use crate::call::{Payload, StartupReason};

/// An instance that takes no calls yet. Dropping this before [`Prepared::switch`] ends it.
pub struct Prepared {
    slot: Arc<Slot>,
    deployment: Arc<Deployment>,
    instance: Option<Instance>,
}

/// A switch that the supervisor has not handled yet.
pub struct PendingSwitch(oneshot::Receiver<Option<Instance>>);

/// The instance that a switch has replaced, if there was one. It drains: it lives until its last
/// call has ended or is too late.
pub struct ReplacedInstance(Option<Instance>);

impl Prepared {
    /// Starts an instance, which then runs its startups: see [`Prepared::ready`].
    pub fn start(slot: &Arc<Slot>, program: &Arc<Program>, services: &Arc<Services>) -> Prepared {
        let deployment = Arc::new(Deployment::new(program.clone(), slot.isolate, &slot.stats));
        Prepared::spawn(slot, deployment, services, StartupReason::Swap)
    }

    /// Starts another instance of the deployment that serves, for a kill.
    pub fn restart(slot: &Arc<Slot>, services: &Arc<Services>) -> Prepared {
        let deployment = Arc::clone(&slot.deployment());
        Prepared::spawn(slot, deployment, services, StartupReason::Restart)
    }

    fn spawn(
        slot: &Arc<Slot>,
        deployment: Arc<Deployment>,
        services: &Arc<Services>,
        reason: StartupReason,
    ) -> Prepared {
        let instance = Instance::spawn(&slot.core, &deployment, services, reason, Activation::OnHandOver);
        Prepared { slot: slot.clone(), deployment, instance: Some(instance) }
    }

    /// Waits until the startups are done. The error says how the instance ended instead.
    pub async fn ready(&mut self) -> Result<(), End> {
        let Some(instance) = &mut self.instance else { return Ok(()) };
        let control = instance.control.clone();
        tokio::select! {
            biased;
            end = instance.wait() => Err(end),
            () = control.ready.notified() => Ok(()),
        }
    }

    /// Loads the state that the previous instance, of generation `from`, has saved.
    pub async fn load(&mut self, from: String, state: Payload) -> Result<(), SnapshotError> {
        let Some(instance) = &mut self.instance else { return Ok(()) };
        let (loaded, done) = oneshot::channel();
        instance.control.request_snapshot(SnapshotRequest::Load { from, state, loaded });
        match done.await {
            Ok(loaded) => loaded,
            Err(_) => Err(instance.wait().await.into()),
        }
    }

    /// Replaces the instance that serves. Calls that wait, and all later ones, start in this one.
    pub fn switch(mut self) -> PendingSwitch {
        let (old, replaced) = oneshot::channel();
        if let Some(instance) = self.instance.take() {
            self.slot.switch(self.deployment.clone(), instance, old);
        }
        PendingSwitch(replaced)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(instance) = &self.instance {
            instance.task.abort();
        }
    }
}

impl PendingSwitch {
    /// Waits until the supervisor has adopted the new instance.
    pub async fn adopted(self) -> ReplacedInstance {
        ReplacedInstance(self.0.await.ok().flatten())
    }
}

impl ReplacedInstance {
    /// Waits until the instance has drained.
    pub async fn ended(self) {
        if let Some(mut instance) = self.0 {
            // The instance's own task has logged a panic.
            let _ = (&mut instance.task).await;
        }
    }
}
