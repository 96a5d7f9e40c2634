//! Waits and warnings of a listener whose `accept` fails.

use std::io;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use rustix::io::Errno;

/// Waits between attempts: short enough that a connection hardly notices, long enough to cost
/// nothing.
const FIRST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// A lack of descriptors lasts, and a warning for each attempt would fill the log.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// The failed attempts of one listener.
#[derive(Debug)]
pub struct Trouble {
    listener: &'static str,
    failures: Counter,
    wait: Duration,
    warned: Option<Instant>,
    /// Failures since the last warning.
    silent: u64,
}

impl Trouble {
    /// `listener` is the key that names it. `failures` counts every failed attempt.
    pub fn new(listener: &'static str, failures: Counter) -> Trouble {
        Trouble { listener, failures, wait: FIRST_WAIT, warned: None, silent: 0 }
    }

    /// Records that a connection was accepted.
    pub fn is_over(&mut self) {
        self.wait = FIRST_WAIT;
    }

    /// Counts a failure, warns unless it has warned lately, and waits before the next attempt.
    pub async fn wait(&mut self, error: &io::Error) {
        self.failures.inc();
        if self.warns(Instant::now()) {
            let (listener, silent) = (self.listener, std::mem::take(&mut self.silent));
            let cure = match Errno::from_io_error(error) {
                Some(Errno::MFILE) => ": raise the limit of file descriptors (`ulimit -n`)",
                Some(Errno::NFILE) => ": the whole system has too many open files (`sysctl fs.file-max`)",
                _ => "",
            };
            tracing::warn!(%error, listener, unreported = silent, "no connection can be accepted{cure}");
        } else {
            self.silent = self.silent.saturating_add(1);
        }
        tokio::time::sleep(self.wait).await;
        self.wait = self.wait.saturating_mul(2).min(LONGEST_WAIT);
    }

    /// Claims the next warning: returns whether one is due.
    fn warns(&mut self, now: Instant) -> bool {
        let is_due = self.warned.is_none_or(|at| now.saturating_duration_since(at) >= BETWEEN_WARNINGS);
        if is_due {
            self.warned = Some(now);
        }
        is_due
    }
}

/// Errors that say nothing about the next connection.
pub fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_warns_once_per_interval() {
        let mut trouble = Trouble::new("http.listen", Counter::default());
        let begun = Instant::now();
        let warned = (0..400).filter(|tenth| trouble.warns(begun + Duration::from_millis(tenth * 100))).count();
        assert_eq!(warned, 4, "in 40 s");
    }

    #[tokio::test]
    async fn it_waits_longer_each_time_and_counts() {
        let failures = Counter::default();
        let mut trouble = Trouble::new("http.listen", failures.clone());
        for _ in 0..5 {
            trouble.wait(&Errno::MFILE.into()).await;
        }
        assert_eq!((trouble.wait, failures.get(), trouble.silent), (LONGEST_WAIT, 5, 4));
        trouble.is_over();
        assert_eq!(trouble.wait, FIRST_WAIT);
    }
}
