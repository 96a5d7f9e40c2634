//! The next generation of a module in one isolate, before it serves there.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::deployment::Deployment;
use super::error::{End, SnapshotError};
use super::instance::{Ask, Entry, Instance};
use super::program::Program;
use super::services::Services;
use super::slot::Slot;
use crate::call::{Payload, StartupReason};

/// An instance that takes no calls yet. It ends when this is dropped before it serves.
pub struct Prepared {
    slot: Arc<Slot>,
    deployment: Arc<Deployment>,
    program: Arc<Program>,
    instance: Option<Instance>,
}

/// A switch that the supervisor has yet to notice.
pub struct Former(oneshot::Receiver<Option<Instance>>);

/// The instance that served before, if there was one. It lives until its last call has ended, or is too late.
pub struct Old(Option<Instance>);

impl Prepared {
    /// Makes an instance and runs its startups: see [`Prepared::ready`].
    pub fn start(slot: &Arc<Slot>, program: &Arc<Program>, services: &Arc<Services>) -> Prepared {
        let deployment = Arc::new(Deployment::new(program.generation.clone(), slot.isolate, &slot.stats));
        let how = (StartupReason::Swap, Entry::WhenAppointed);
        let instance = Some(Instance::spawn(&slot.intake, &deployment, program, services, how));
        Prepared { slot: slot.clone(), deployment, program: program.clone(), instance }
    }

    /// Waits until the startups are done. The error is how the instance ended instead.
    pub async fn ready(&mut self) -> Result<(), End> {
        let Some(instance) = &mut self.instance else { return Ok(()) };
        let control = instance.control.clone();
        tokio::select! {
            biased;
            end = instance.end() => Err(end),
            () = control.ready.notified() => Ok(()),
        }
    }

    /// Gives it the state of the one before.
    pub async fn load(&mut self, from: String, state: Payload) -> Result<(), SnapshotError> {
        let Some(instance) = &mut self.instance else { return Ok(()) };
        let (loaded, done) = oneshot::channel();
        instance.control.ask(Ask::Load { from, state, loaded });
        match done.await {
            Ok(loaded) => loaded,
            Err(_) => Err(instance.end().await.into()),
        }
    }

    /// Puts it in the place of the instance that serves, in which no further call starts. What waits is its own now.
    pub fn switch(mut self) -> Former {
        let (old, former) = oneshot::channel();
        if let Some(instance) = self.instance.take() {
            self.slot.switch(self.deployment.clone(), self.program.clone(), instance, old);
        }
        Former(former)
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if let Some(instance) = &self.instance {
            instance.task.abort();
        }
    }
}

impl Former {
    /// Waits until the supervisor has taken the next one over.
    pub async fn adopted(self) -> Old {
        Old(self.0.await.ok().flatten())
    }
}

impl Old {
    /// Waits for its end.
    pub async fn ended(self) {
        if let Some(mut instance) = self.0 {
            // A panic has been reported by itself.
            let _ = (&mut instance.task).await;
        }
    }
}
