//! The port to the due times that nodes share, or that outlive the host.

use std::sync::Arc;

use super::BoxFuture;
use crate::call::{CallError, Making};

/// A due time of a schedule that runs once in the cluster, or is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    pub module: Arc<str>,
    pub name: Arc<str>,
    pub subdomain: Option<Arc<str>>,
    /// In milliseconds since 1970-01-01 UTC.
    pub due: u64,
    /// Whether it is due because the module began to serve.
    pub immediate: bool,
    /// Whether runs of the schedule may overlap.
    pub overlaps: bool,
    /// Set if missed due times are made up for.
    pub making: Option<Making>,
}

/// Who runs a due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// This node.
    Granted {
        /// Every due time up to this one was handled, if missed ones are made up for.
        after: u64,
    },
    /// Another node, or no one, because it was handled.
    Taken {
        /// Whether the run has not ended, so that it may be lost.
        runs: bool,
    },
    /// No node, because an earlier run has not ended on another node.
    Overlaps,
}

/// What the scheduler asks before it runs a due time that other nodes, or a later start of this
/// one, know of.
pub trait Ticks: Send + Sync {
    /// Claims a due time. At most one node is granted it. `now` is the wall clock in milliseconds.
    /// Fails with `unavailable` if the nodes cannot agree.
    fn claim(&self, tick: Tick, now: u64) -> BoxFuture<Result<Claim, CallError>>;

    /// The run of a due time that this node was granted has ended. `done` is the last due time that
    /// was handled with it. Without it, the run is still owed, if missed ones are made up for.
    /// Fails if that was not written.
    fn ended(&self, tick: Tick, done: Option<u64>) -> BoxFuture<Result<(), CallError>>;
}
