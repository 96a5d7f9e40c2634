//! How many HTTP requests an isolate answers per minute.

use std::time::Instant;

use parking_lot::Mutex;

/// The rate of a counter between its last samples.
#[derive(Debug)]
pub struct RequestRate {
    /// The last two samples, the older one first. The rate is measured from the older one, so that
    /// it covers at least one interval.
    samples: Mutex<[(Instant, u64); 2]>,
}

impl Default for RequestRate {
    fn default() -> RequestRate {
        RequestRate { samples: Mutex::new([(Instant::now(), 0); 2]) }
    }
}

impl RequestRate {
    /// Records the counter.
    pub fn sample(&self, now: Instant, count: u64) {
        let mut samples = self.samples.lock();
        let [_, last] = *samples;
        *samples = [last, (now, count)];
    }

    /// The increase per minute since the older sample.
    pub fn per_minute(&self, now: Instant, count: u64) -> u64 {
        let [(since, before), _] = *self.samples.lock();
        let seconds = now.duration_since(since).as_secs_f64();
        // The counters of a removed module are gone, so the count may decrease.
        let more = count.saturating_sub(before) as f64;
        // A host that has just started has no rate yet.
        if seconds < 1.0 { more as u64 } else { (more * 60.0 / seconds).round() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_rate_covers_the_time_since_the_older_sample() {
        let rate = RequestRate::default();
        let start = rate.samples.lock()[0].0;
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(rate.per_minute(at(0), 7), 7, "too early for a rate");
        assert_eq!(rate.per_minute(at(30), 7), 14);
        rate.sample(at(60), 100);
        assert_eq!(rate.per_minute(at(60), 100), 100);
        rate.sample(at(120), 160);
        assert_eq!(rate.per_minute(at(120), 160), 60, "only the last minute");
        assert_eq!(rate.per_minute(at(180), 160), 30);
        assert_eq!(rate.per_minute(at(180), 5), 0, "a module was removed");
    }
}
