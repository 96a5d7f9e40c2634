//! Limits the events of one source, so that it cannot push all other events out of the log.

use std::time::Instant;

use parking_lot::Mutex;

/// The most events of one source in a second.
pub const EVENTS_PER_SECOND: u32 = 100;

/// The events of one source.
#[derive(Debug)]
pub struct EventQuota {
    begun: Instant,
    /// The second of the last event, and the number of events in it.
    recent: Mutex<(u64, u32)>,
}

impl Default for EventQuota {
    fn default() -> EventQuota {
        EventQuota { begun: Instant::now(), recent: Mutex::default() }
    }
}

impl EventQuota {
    /// Counts an event that happens now. Returns whether it may be raised.
    pub fn allows_one(&self) -> bool {
        let second = self.begun.elapsed().as_secs();
        let mut recent = self.recent.lock();
        *recent = if recent.0 == second { (second, recent.1.saturating_add(1)) } else { (second, 1) };
        recent.1 <= EVENTS_PER_SECOND
    }
}
