//! The delays between attempts to reach another service.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

/// Delays that double, from the first up to the longest one.
#[derive(Debug, Clone)]
pub struct Retry {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Retry {
    pub fn new(first: Duration, most: Duration) -> Retry {
        Retry { first, most, next: first }
    }

    /// The delay before the next attempt. It is between a half and the whole of the nominal delay,
    /// so that hosts that lost a service together do not come back together.
    pub fn delay(&mut self) -> Duration {
        let nominal = self.next.min(self.most);
        self.next = nominal.saturating_mul(2).min(self.most);
        // Each state has other keys, so its hash is random.
        let random = u32::try_from(RandomState::new().hash_one(()) >> 40).unwrap_or_default();
        nominal / 2 + (nominal / 2).mul_f64(f64::from(random) / f64::from(1u32 << 24))
    }

    /// Begins again with the first delay.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_begin_again() {
        let ms = Duration::from_millis;
        let mut retry = Retry::new(ms(100), ms(250));
        for nominal in [100, 200, 250, 250] {
            let delay = retry.delay();
            assert!(ms(nominal) / 2 <= delay && delay <= ms(nominal), "{nominal}: {delay:?}");
        }
        retry.reset();
        assert!(retry.delay() <= ms(100));
    }
}
