//! A due time that this node has claimed.

use std::sync::Arc;

use super::Schedules;
use super::plan::Key;
use crate::ports::{Tick, Ticks};

/// A due time that this node has claimed. Dropping it tells the other nodes that its run has ended.
pub struct Claimed {
    schedules: Arc<Schedules>,
    ticks: Arc<dyn Ticks>,
    key: Key,
    tick: Option<Tick>,
    /// How many missed due times the run makes up for.
    pub missed: u64,
    /// The last due time that was handled with the run. Without it, the run is still owed.
    pub done: Option<u64>,
}

impl Claimed {
    pub fn new(schedules: Arc<Schedules>, ticks: Arc<dyn Ticks>, key: Key, tick: Tick, missed: u64) -> Claimed {
        Claimed { schedules, ticks, key, tick: Some(tick), missed, done: None }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        let Some(tick) = self.tick.take() else { return };
        let (schedules, key, is_owed) = (self.schedules.clone(), self.key.clone(), self.done.is_none());
        let ended = self.ticks.ended(tick, self.done);
        let telling = async move {
            if ended.await.is_err() || is_owed {
                schedules.ask(&key);
            }
        };
        self.schedules.tasks.spawn_on(telling, &self.schedules.runtime);
    }
}
