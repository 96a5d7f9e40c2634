//! The time, behind a trait, so that tests can jump.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;

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
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
