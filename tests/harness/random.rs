//! Random numbers of tests, and how long the tests run that use them.

use std::time::{Duration, Instant};

/// Random numbers that are the same in each run with the same seed: xorshift.
pub struct Random(u64);

impl Random {
    /// The numbers differ for each `number`. `FANFARE_TEST_SEED` sets another seed.
    pub fn new(number: u64) -> Random {
        Random(Random::seed() + number)
    }

    pub fn seed() -> u64 {
        variable("FANFARE_TEST_SEED").unwrap_or(12_345)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// How long a test makes trouble. `None` without `FANFARE_TEST_SECONDS`.
pub fn test_duration() -> Option<Duration> {
    variable("FANFARE_TEST_SECONDS").map(Duration::from_secs)
}

/// Runs rounds with the numbers 0, 1, 2 and so on for [`test_duration`], but at least one.
pub async fn rounds(round: impl AsyncFn(u64)) {
    let begun = Instant::now();
    for number in 0.. {
        round(number).await;
        if begun.elapsed() >= test_duration().unwrap_or_default() {
            break;
        }
    }
}

/// A number in a variable.
pub fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
