//! A due time that this node has claimed.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::ports::{Tick, Ticks};

/// A due time that this node has claimed. Dropping it tells the other nodes that its run has ended.
pub struct Claimed {
    ticks: Arc<dyn Ticks>,
    tick: Option<Tick>,
    tasks: TaskTracker,
    runtime: Handle,
}

impl Claimed {
    /// `tasks` and `runtime` run what tells the other nodes.
    pub fn new(ticks: Arc<dyn Ticks>, tick: Tick, tasks: TaskTracker, runtime: Handle) -> Claimed {
        Claimed { ticks, tick: Some(tick), tasks, runtime }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if let Some(tick) = self.tick.take() {
            self.tasks.spawn_on(self.ticks.ended(tick), &self.runtime);
        }
    }
}
