//! The way to the swap.

use std::sync::{Arc, OnceLock, Weak};

use super::BoxFuture;
use crate::call::{CallError, IsolateId, Receipt};

/// What the import `broadcast.reload`, and an instance that is worn, need of the swap.
pub trait Reloads: Send + Sync {
    /// Asks for a reload of one module, or of all. Returns at once.
    fn request(&self, module: Option<&str>) -> Result<Receipt, CallError>;

    /// Puts a new instance in the place of a worn one, with its state. Does nothing when that does not serve any more.
    fn renew(&self, module: &str, isolate: IsolateId, instance: u64) -> BoxFuture<Result<(), CallError>>;
}

/// Nothing is reloaded.
#[derive(Debug, Clone, Copy)]
pub struct NoReloads;

impl Reloads for NoReloads {
    fn request(&self, _: Option<&str>) -> Result<Receipt, CallError> {
        Err(nobody())
    }

    fn renew(&self, _: &str, _: IsolateId, _: u64) -> BoxFuture<Result<(), CallError>> {
        Box::pin(std::future::ready(Err(nobody())))
    }
}

fn nobody() -> CallError {
    CallError::Unavailable("this host does not reload modules".to_owned())
}

/// The way to a swap that is made after the ports, because it needs them itself. Answers as [`NoReloads`] before it is
/// set and after the swap was dropped: it does not keep the swap alive, which would be a cycle.
#[derive(Default)]
pub struct LateReloads(OnceLock<Weak<dyn Reloads>>);

impl LateReloads {
    /// Leads to `reloads` from now on. The first one counts.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Swap;

    impl Reloads for Swap {
        fn request(&self, _: Option<&str>) -> Result<Receipt, CallError> {
            Err(CallError::NotFound("asked".to_owned()))
        }

        fn renew(&self, _: &str, _: IsolateId, _: u64) -> BoxFuture<Result<(), CallError>> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    #[tokio::test]
    async fn a_late_swap_is_asked_while_it_lives_and_not_kept_alive() {
        let late = LateReloads::default();
        let ask = || late.request(None).unwrap_err().code();
        assert_eq!(ask(), "unavailable");

        let swap = Arc::new(Swap);
        late.set(&swap);
        assert_eq!(ask(), "not-found");
        assert_eq!(late.renew("m", IsolateId::Master, 1).await, Ok(()));

        drop(swap);
        assert_eq!(ask(), "unavailable");
        assert_eq!(late.renew("m", IsolateId::Master, 1).await, Err(nobody()));
    }
}
