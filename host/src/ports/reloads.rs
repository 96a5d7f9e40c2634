//! The port to the swap.

use std::sync::{Arc, OnceLock, Weak};

use super::BoxFuture;
use crate::call::{CallError, IsolateId, Receipt, ReloadOutcome, RolloutStep};

/// The outcome of a step, and the generation that serves afterwards.
pub type StepResult = Result<(ReloadOutcome, Option<String>), CallError>;

/// The functions of the swap for the import `broadcast.reload`, for worn instances, and for other
/// nodes.
pub trait Reloads: Send + Sync {
    /// Requests a reload of one module, or of all. Returns without waiting for the reload.
    fn request(&self, module: Option<&str>) -> Result<Receipt, CallError>;

    /// Replaces a worn instance with a new one that gets its state. Does nothing if the instance no
    /// longer serves.
    fn renew(&self, module: &str, isolate: IsolateId, instance: u64) -> BoxFuture<Result<(), CallError>>;

    /// Does what another node asks for.
    fn step(&self, step: RolloutStep) -> BoxFuture<StepResult>;

    /// Follows the rollbacks that this node has missed while it did not reach the others.
    fn catch_up(&self);
}

/// The port of a host that does not reload.
#[derive(Debug, Clone, Copy)]
pub struct NoReloads;

impl Reloads for NoReloads {
    fn request(&self, _: Option<&str>) -> Result<Receipt, CallError> {
        Err(unavailable())
    }

    fn renew(&self, _: &str, _: IsolateId, _: u64) -> BoxFuture<Result<(), CallError>> {
        Box::pin(std::future::ready(Err(unavailable())))
    }

    fn step(&self, _: RolloutStep) -> BoxFuture<StepResult> {
        Box::pin(std::future::ready(Err(unavailable())))
    }

    fn catch_up(&self) {}
}

fn unavailable() -> CallError {
    CallError::Unavailable("this host does not reload modules".to_owned())
}

/// A port whose swap is set later, because the swap itself needs the ports. It acts like
/// [`NoReloads`] until the swap is set and after the swap is dropped. Its reference is weak,
/// because a strong one would form a cycle.
#[derive(Default)]
pub struct LateReloads(OnceLock<Weak<dyn Reloads>>);

impl LateReloads {
    /// Sets the swap. Only the first call has an effect.
    pub fn set(&self, reloads: &Arc<impl Reloads + 'static>) {
        let weak = Arc::downgrade(reloads);
        let _ = self.0.set(weak);
    }

    fn get(&self) -> Option<Arc<dyn Reloads>> {
        self.0.get().and_then(Weak::upgrade)
    }
}

impl Reloads for LateReloads {
    fn request(&self, module: Option<&str>) -> Result<Receipt, CallError> {
        match self.get() {
            Some(reloads) => reloads.request(module),
            None => NoReloads.request(module),
        }
    }

    fn renew(&self, module: &str, isolate: IsolateId, instance: u64) -> BoxFuture<Result<(), CallError>> {
        match self.get() {
            Some(reloads) => reloads.renew(module, isolate, instance),
            None => NoReloads.renew(module, isolate, instance),
        }
    }

    fn step(&self, step: RolloutStep) -> BoxFuture<StepResult> {
        match self.get() {
            Some(reloads) => reloads.step(step),
            None => NoReloads.step(step),
        }
    }

    fn catch_up(&self) {
        if let Some(reloads) = self.get() {
            reloads.catch_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Swap;

    impl Reloads for Swap {
        fn request(&self, _: Option<&str>) -> Result<Receipt, CallError> {
            Err(CallError::NotFound("requested".to_owned()))
        }

        fn renew(&self, _: &str, _: IsolateId, _: u64) -> BoxFuture<Result<(), CallError>> {
            Box::pin(std::future::ready(Ok(())))
        }

        fn step(&self, step: RolloutStep) -> BoxFuture<StepResult> {
            NoReloads.step(step)
        }

        fn catch_up(&self) {}
    }

    #[tokio::test]
    async fn a_late_swap_is_used_while_it_lives_and_not_kept_alive() {
        let late = LateReloads::default();
        let request = || late.request(None).unwrap_err().code();
        assert_eq!(request(), "unavailable");

        let swap = Arc::new(Swap);
        late.set(&swap);
        assert_eq!(request(), "not-found");
        assert_eq!(late.renew("m", IsolateId::Master, 1).await, Ok(()));

        drop(swap);
        assert_eq!(request(), "unavailable");
        assert_eq!(late.renew("m", IsolateId::Master, 1).await, Err(unavailable()));
    }
}
