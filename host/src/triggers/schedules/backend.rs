//! Where the scheduler runs schedules, and what it asks for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::plan::{InstalledSchedules, WorkerState};
use crate::call::{CallError, Payload, Reply, ScheduleRun};

/// The modules of the workers.
pub trait ScheduleBackend: Send + Sync + 'static {
    /// Changes when a module was installed, replaced or removed.
    fn changes(&self) -> watch::Receiver<u64>;

    /// The schedules of the installed modules.
    fn installed(&self) -> Vec<InstalledSchedules>;

    /// The workers that have the schedule, in index order.
    fn workers(&self, module: &str, name: &str) -> Vec<WorkerState>;

    /// Queues a run, and returns a future that resolves when the worker is done with it.
    fn run(&self, module: &str, run: RunCall) -> BoxFuture<'static, RunEnd>;

    /// Why a module that is not installed has no schedules.
    fn missing(&self, module: &str) -> CallError;
}

/// How a worker is done with a run.
#[derive(Debug)]
pub enum RunEnd {
    Ended(Result<Reply, CallError>),
    /// The run has not started, and never will in this worker: it is not ready, and another one is.
    Returned,
}

/// A run in one worker.
#[derive(Debug, Clone)]
pub struct RunCall {
    pub worker: u32,
    /// Whether another worker may run it, so that the worker may return it.
    pub movable: bool,
    pub run: ScheduleRun,
    pub subdomain: Option<Arc<str>>,
    /// `None` for the data of the schedule.
    pub payload: Option<Payload>,
    /// How long a caller waits. `None` if no caller waits.
    pub timeout: Option<Duration>,
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
