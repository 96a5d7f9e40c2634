//! The port to the swap.

use std::sync::{Arc, OnceLock, Weak};

use super::BoxFuture;
use crate::call::{CallError, IsolateId, Receipt};

/// The functions of the swap for the import `broadcast.reload` and for worn instances.
pub trait Reloads: Send + Sync {
    /// Requests a reload of one module, or of all. Returns without waiting for the reload.
    fn request(&self, module: Option<&str>) -> Result<Receipt, CallError>;

    /// Replaces a worn instance with a new one that gets its state. Does nothing if the instance no
    /// longer serves.
    fn renew(&self, module: &str, isolate: IsolateId, instance: u64) -> BoxFuture<Result<(), CallError>>;
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
