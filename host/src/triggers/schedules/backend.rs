//! Where the scheduler runs schedules, and what it asks for.
//!
//! The generation in the roster decides when a schedule is due. During a canary that is the
//! previous one, so a due time causes one run although two generations serve. The generation in the
//! chosen worker decides what runs: its route and its `data`. A run that waits during a swap keeps
//! its `data`, and uses the route of the new generation.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::plan::{InstalledSchedules, WorkerState};
use crate::call::{CallEnd, CallError, Payload, RunCall};
use crate::ports::Ticks;

/// The modules of the workers.
pub trait ScheduleBackend: Send + Sync + 'static {
    /// Changes when a module was installed, replaced or removed.
    fn changes(&self) -> watch::Receiver<u64>;

    /// The schedules of the installed modules.
    fn installed(&self) -> Vec<InstalledSchedules>;

    /// The workers that have the schedule, in index order.
    fn workers(&self, module: &str, name: &str) -> Vec<WorkerState>;

    /// Queues a run, and returns a future that resolves when the worker is done with it.
    fn run(&self, module: &str, run: RunCall) -> BoxFuture<'static, CallEnd>;

    /// Why a module that is not installed has no schedules.
    fn missing(&self, module: &str) -> CallError;
}

/// Which schedule to run by hand, and how.
#[derive(Debug, Clone)]
pub struct ByHand<'a> {
    pub module: &'a str,
    pub name: &'a str,
    pub subdomain: Option<&'a str>,
    /// [`Payload::None`] for the data of the schedule.
    pub payload: Payload,
    /// How long the caller waits. The module's `limits.timeout` applies too.
    pub timeout: Duration,
}

/// What the scheduler asks before it runs a due time.
pub struct AllTicks {
    /// Lets one node of the cluster run each due time. `None` if the node is alone.
    pub nodes: Option<Arc<dyn Ticks>>,
    /// Remembers what a node that is alone has run, for schedules that make up for the rest.
    pub memory: Arc<dyn Ticks>,
}
