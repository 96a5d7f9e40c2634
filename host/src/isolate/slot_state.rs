//! Whether a module can run calls in an isolate.

use std::time::{Duration, Instant};

use crate::call::text::first_line;

/// Whether a module can run calls in an isolate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotState {
    /// The first instance is starting. Calls wait.
    Starting,
    Ready,
    /// An instance has ended, and the next one starts at `next`. Calls wait.
    Restarting {
        why: String,
        next: Instant,
    },
    /// Instances crashed too often. No call runs here until a reload.
    Failed {
        why: String,
        /// The rule of the restart policy that the module broke.
        rule: String,
    },
}

impl SlotState {
    pub fn as_str(&self) -> &'static str {
        match self {
            SlotState::Starting => "starting",
            SlotState::Ready => "ready",
            SlotState::Restarting { .. } => "restarting",
            SlotState::Failed { .. } => "failed",
        }
    }

    /// Why the last instance ended, when the slot is restarting or failed.
    pub fn why(&self) -> Option<&str> {
        match self {
            SlotState::Restarting { why, .. } | SlotState::Failed { why, .. } => Some(why),
            SlotState::Starting | SlotState::Ready => None,
        }
    }

    /// Why `place` restarts and when its next instance starts, and how long that takes. `None` if
    /// the slot is not restarting.
    pub fn restart(&self, place: impl FnOnce() -> String) -> Option<(String, Duration)> {
        let (why, wait) = (self.why()?, self.restarts_in()?);
        let when = if wait.is_zero() { "starts now".to_owned() } else { format!("starts in {wait:.1?}") };
        Some((format!("{} restarts after a crash, its next instance {when}: {}", place(), first_line(why)), wait))
    }

    /// How long the slot still waits before it starts the next instance, when it is restarting.
    pub fn restarts_in(&self) -> Option<Duration> {
        match self {
            SlotState::Restarting { next, .. } => Some(next.saturating_duration_since(Instant::now())),
            SlotState::Starting | SlotState::Ready | SlotState::Failed { .. } => None,
        }
    }

    /// Why the last instance ended, and what to do if the host starts no further one.
    pub fn report(&self, module: &str) -> Option<String> {
        match self {
            SlotState::Failed { why, rule } => Some(format!("{}\n{why}", remedy(rule, module))),
            state => state.why().map(str::to_owned),
        }
    }
}

/// Why a module is marked failed, and what to do.
pub fn remedy(rule: &str, module: &str) -> String {
    format!("failed {rule}: run `fanfare reload {module}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_restarts_says_why_and_when() {
        let restarting = |next| SlotState::Restarting { why: "unreachable\n    at f".to_owned(), next };
        let detail = |state: SlotState| state.restart(|| "party in worker-0".to_owned()).map(|(detail, _)| detail);
        let now = "party in worker-0 restarts after a crash, its next instance starts now: unreachable";
        assert_eq!(detail(restarting(Instant::now())).as_deref(), Some(now));
        let later = detail(restarting(Instant::now() + Duration::from_secs(90))).unwrap();
        assert!(later.contains("instance starts in ") && later.ends_with("s: unreachable"), "{later}");
        assert_eq!(detail(SlotState::Ready), None);
        assert_eq!(detail(SlotState::Failed { why: "unreachable".to_owned(), rule: String::new() }), None);
    }

    #[test]
    fn a_failed_module_says_why_and_what_to_do() {
        let (why, rule) = ("unreachable\n    at f".to_owned(), "after 10 restarts within 60s".to_owned());
        let failed = SlotState::Failed { why: why.clone(), rule };
        let report = "failed after 10 restarts within 60s: run `fanfare reload party`\nunreachable\n    at f";
        assert_eq!((failed.report("party").as_deref(), failed.why()), (Some(report), Some(&*why)));
        let restarting = SlotState::Restarting { why, next: Instant::now() };
        assert_eq!(restarting.report("party").as_deref(), restarting.why());
        assert_eq!(SlotState::Ready.report("party"), None);
    }
}
