//! The port to the due times that nodes share.

use std::sync::Arc;

use super::BoxFuture;
use crate::call::CallError;

/// A due time of a schedule that runs once in the cluster.
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
}

/// Who runs a due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// This node.
    Granted,
    /// Another node.
    Taken,
    /// No node, because an earlier run has not ended on another node.
    Overlaps,
}

/// The functions of the cluster for the scheduler.
pub trait Ticks: Send + Sync {
    /// Claims a due time. At most one node is granted it. `now` is the wall clock in milliseconds.
    /// Fails with `unavailable` if the nodes cannot agree.
    fn claim(&self, tick: Tick, now: u64) -> BoxFuture<Result<Claim, CallError>>;

    /// The run of a due time that this node was granted has ended.
    fn ended(&self, tick: Tick) -> BoxFuture<()>;
}
