//! Limits how many events clients emit in a second.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Allows a number of events in a second. A second without events allows that many at once. One
/// request may exceed the limit; the next ones wait until the average fits again.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Negative after a request that exceeded the limit.
    left: f64,
    at: Instant,
}

impl Rate {
    pub(super) fn new(per_second: u32, now: Instant) -> Rate {
        let per_second = f64::from(per_second);
        Rate { per_second, state: Mutex::new(State { left: per_second, at: now }) }
    }

    /// Takes room for this number of events. The error is the time after which there is room again.
    pub(super) fn take(&self, events: usize, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock();
        let passed = now.saturating_duration_since(state.at).as_secs_f64();
        state.at = now;
        state.left = (state.left + passed * self.per_second).min(self.per_second);
        if state.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - state.left) / self.per_second));
        }
        state.left -= u32::try_from(events).map_or(f64::INFINITY, f64::from);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_stays_within_the_rate() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let rate = Rate::new(10, start);
        assert!((0..10).all(|_| rate.take(1, start).is_ok()));
        assert_eq!(rate.take(1, start), Err(Duration::from_millis(100)));
        assert!(rate.take(1, after(99)).is_err());
        assert!(rate.take(1, after(101)).is_ok() && rate.take(1, after(101)).is_err());
        assert!(rate.take(30, after(10_000)).is_ok(), "a full second of room allows a list of any length");
        assert!(rate.take(1, after(12_000)).is_err(), "which the next requests wait for");
        assert!(rate.take(1, after(12_200)).is_ok());
    }
}
