//! When a process that has died starts again, as for instances of modules: the settings are the
//! same.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fanfare::settings::IsolateConfig;

/// The restarts of one process.
#[derive(Debug)]
pub struct Restarts {
    settings: IsolateConfig,
    /// The deaths within the window.
    deaths: VecDeque<Instant>,
}

impl Restarts {
    pub fn new(settings: &IsolateConfig) -> Restarts {
        Restarts { settings: settings.clone(), deaths: VecDeque::new() }
    }

    /// The process has died. Returns the wait before the next start: none for the first one, then
    /// `restartBackoff`, which doubles each time. `None` after more than `maxRestarts` deaths
    /// within `restartWindow`.
    pub fn next(&mut self, now: Instant) -> Option<Duration> {
        let window = self.settings.restart_window;
        self.deaths.retain(|death| now.duration_since(*death) <= window);
        self.deaths.push_back(now);
        let number = u32::try_from(self.deaths.len()).unwrap_or(u32::MAX);
        if number > self.settings.max_restarts {
            return None;
        }
        let Some(doubled) = number.checked_sub(2) else { return Some(Duration::ZERO) };
        let factor = 2u32.saturating_pow(doubled);
        Some(self.settings.restart_backoff.saturating_mul(factor).min(self.settings.restart_backoff_max))
    }

    /// Why the process does not start again.
    pub fn given_up(&self) -> String {
        let IsolateConfig { max_restarts, restart_window, .. } = &self.settings;
        format!(
            "more than {max_restarts} restarts (isolate.maxRestarts) within {restart_window:?} (isolate.restartWindow)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_until_the_limit_and_begins_anew_after_calm() {
        let settings = IsolateConfig {
            restart_backoff: Duration::from_millis(100),
            restart_backoff_max: Duration::from_millis(300),
            max_restarts: 4,
            restart_window: Duration::from_secs(60),
            ..IsolateConfig::default()
        };
        let mut restarts = Restarts::new(&settings);
        let now = Instant::now();
        let waits: Vec<_> = (0..5).map(|_| restarts.next(now).map(|wait| wait.as_millis())).collect();
        assert_eq!(waits, [Some(0), Some(100), Some(200), Some(300), None]);
        assert!(restarts.given_up().contains("more than 4 restarts"));
        assert_eq!(restarts.next(now + Duration::from_secs(61)), Some(Duration::ZERO));
    }

    #[test]
    fn a_process_may_have_no_restart() {
        let mut restarts = Restarts::new(&IsolateConfig { max_restarts: 0, ..IsolateConfig::default() });
        assert_eq!(restarts.next(Instant::now()), None);
    }
}
