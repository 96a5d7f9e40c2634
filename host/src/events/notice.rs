//! Limits events about one thing to one a second.

use std::time::{Duration, Instant};

/// The time between two events.
const PAUSE: Duration = Duration::from_secs(1);

/// The number that the next event reports.
#[derive(Debug, Default)]
pub struct Notice {
    count: u64,
    /// When the last event was raised.
    raised: Option<Instant>,
}

impl Notice {
    /// Adds to the count. Returns the count since the previous event if it is time for an event.
    pub fn add(&mut self, count: u64, now: Instant) -> Option<u64> {
        self.count = self.count.saturating_add(count);
        if self.raised.is_some_and(|raised| now.duration_since(raised) < PAUSE) {
            return None;
        }
        self.raised = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reports_what_was_counted_since_the_previous_one() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut notice = Notice::default();
        assert_eq!(notice.add(2, start), Some(2));
        assert_eq!((notice.add(3, after(1)), notice.add(1, after(999))), (None, None));
        assert_eq!((notice.add(1, after(1_000)), notice.add(1, after(1_001))), (Some(5), None));
    }
}
