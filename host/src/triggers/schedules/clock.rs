//! The time, behind a trait, so that tests can jump.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::call::time::now;

/// The clocks that schedules use.
pub trait Clock: Send + Sync {
    /// The wall clock, in milliseconds since 1970-01-01 UTC. It may jump in both directions.
    fn wall(&self) -> u64;

    /// Waits on the monotonic clock, which may stand still while the machine is suspended.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The clocks of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall(&self) -> u64 {
        now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
