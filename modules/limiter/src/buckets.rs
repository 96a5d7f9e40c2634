//! Token buckets.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// The most callers that have a bucket of their own in one worker. Further ones share a bucket
/// until others have been quiet for long enough.
pub const MOST: usize = 10_000;

/// The bucket of the callers beyond [`MOST`].
const SHARED: u64 = 0;

/// The time between two searches for buckets that are full again.
const SWEEP: Duration = Duration::from_secs(1);

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy)]
pub struct Limit {
    rate: f64,
    burst: f64,
}

impl Limit {
    /// Returns `None` unless both are numbers above 0.
    pub fn new(rate: f64, burst: f64) -> Option<Limit> {
        let is_usable = |number: f64| number.is_finite() && number > 0.0;
        (is_usable(rate) && is_usable(burst)).then_some(Limit { rate, burst: burst.max(1.0) })
    }
}

struct Bucket {
    tokens: f64,
    limit: Limit,
    at: Instant,
}

impl Bucket {
    /// The tokens now.
    fn level(&self, now: Instant) -> f64 {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * self.limit.rate;
        (self.tokens + filled).min(self.limit.burst)
    }
}

/// The buckets of one worker.
pub struct Buckets {
    /// By the hash of the key, because a client may choose a long one.
    all: HashMap<u64, Bucket>,
    hasher: RandomState,
    swept: Instant,
}

impl Buckets {
    pub fn new(now: Instant) -> Buckets {
        Buckets { all: HashMap::new(), hasher: RandomState::new(), swept: now }
    }

    /// Takes a token. The error is the time until there is one.
    pub fn take(&mut self, key: &str, limit: Limit, now: Instant) -> Result<(), Duration> {
        let key = self.hasher.hash_one(key);
        let key = if self.has_room_for(key, now) { key } else { SHARED };
        let bucket = self.all.entry(key).or_insert(Bucket { tokens: limit.burst, limit, at: now });
        bucket.limit = limit;
        (bucket.tokens, bucket.at) = (bucket.level(now), now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::try_from_secs_f64((1.0 - bucket.tokens) / limit.rate).unwrap_or(Duration::MAX))
    }

    fn has_room_for(&mut self, key: u64, now: Instant) -> bool {
        if self.all.len() < MOST || self.all.contains_key(&key) {
            return true;
        }
        if now.saturating_duration_since(self.swept) >= SWEEP {
            self.swept = now;
            // A bucket that is full is as good as none.
            self.all.retain(|_, bucket| bucket.level(now) < bucket.limit.burst);
        }
        self.all.len() < MOST
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.all.len()
    }
}
