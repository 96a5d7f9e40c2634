//! Delays and warnings while a listener cannot accept connections.

use std::io;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use rustix::io::Errno;

/// The delay after the first failure, and the longest one. Both are too short for a client to
/// notice, and long enough that retrying costs next to no processor time.
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_millis(200);

/// The minimum time between two warnings. Descriptors may be missing for long, and a warning for
/// each attempt would fill the log.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// The delay before a listener accepts again after a failure.
#[derive(Debug)]
pub struct AcceptBackoff {
    listener: &'static str,
    failures: Counter,
    delay: Duration,
    warned: Option<Instant>,
    /// Failures since the last warning.
    unreported: u64,
}

impl AcceptBackoff {
    /// `listener` is the key of the listener's address in `fanfare.json`. `failures` counts every
    /// failed attempt.
    pub fn new(listener: &'static str, failures: Counter) -> AcceptBackoff {
        AcceptBackoff { listener, failures, delay: FIRST_DELAY, warned: None, unreported: 0 }
    }

    /// Records that a connection was accepted.
    pub fn reset(&mut self) {
        self.delay = FIRST_DELAY;
    }

    /// Counts a failure, logs a warning when one is due, and waits before the next attempt.
    pub async fn wait(&mut self, error: &io::Error) {
        self.failures.inc();
        if self.claim_warning(Instant::now()) {
            let (listener, unreported) = (self.listener, std::mem::take(&mut self.unreported));
            let fix = match Errno::from_io_error(error) {
                Some(Errno::MFILE) => ": raise the limit of file descriptors (`ulimit -n`)",
                Some(Errno::NFILE) => ": the system has too many open files, raise `sysctl fs.file-max`",
                _ => "",
            };
            tracing::warn!(%error, listener, unreported, "cannot accept connections{fix}");
        } else {
            self.unreported = self.unreported.saturating_add(1);
        }
        tokio::time::sleep(self.delay).await;
        self.delay = self.delay.saturating_mul(2).min(LONGEST_DELAY);
    }

    /// Returns whether a warning is due, and if so starts the time until the next one.
    fn claim_warning(&mut self, now: Instant) -> bool {
        let is_due = self.warned.is_none_or(|at| now.saturating_duration_since(at) >= BETWEEN_WARNINGS);
        if is_due {
            self.warned = Some(now);
        }
        is_due
    }
}

/// Whether an error of `accept` concerns one connection only, so that the next attempt can succeed
/// at once.
pub fn affects_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_failure_is_logged_once_per_interval() {
        let mut backoff = AcceptBackoff::new("http.listen", Counter::default());
        let begun = Instant::now();
        let due = |tenth: &u64| backoff.claim_warning(begun + Duration::from_millis(tenth * 100));
        let warned = (0..400).filter(due).count();
        assert_eq!(warned, 4, "in 40 s");
    }

    #[tokio::test]
    async fn the_delay_doubles_up_to_its_maximum_and_every_failure_counts() {
        let failures = Counter::default();
        let mut backoff = AcceptBackoff::new("http.listen", failures.clone());
        for _ in 0..5 {
            backoff.wait(&Errno::MFILE.into()).await;
        }
        assert_eq!((backoff.delay, failures.get(), backoff.unreported), (LONGEST_DELAY, 5, 4));
        backoff.reset();
        assert_eq!(backoff.delay, FIRST_DELAY);
    }
}
