//! When a message that a server keeps is delivered again.

use std::time::Duration;

/// The pause after the first failure of a message, which doubles with each failure, and the
/// longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a message rests after this number of deliveries.
pub fn pause_after(deliveries: u64) -> Duration {
    let doublings = u32::try_from(deliveries.saturating_sub(1)).unwrap_or(u32::MAX);
    let factor = 2u32.checked_pow(doublings).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_rests_longer_after_each_failure() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 7, 8, 1_000].map(|times| pause_after(times).as_secs()).into();
        assert_eq!(seconds, [1, 1, 2, 4, 60, 60, 60]);
    }
}
