//! The errors of this part: how an instance ends, and why a swap cannot hand its state over.

use std::time::Duration;

use crate::call::Blame;
use crate::call::text::first_line;
use crate::engine::AddressSpaceError;

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The supervisor drained it, and its calls have ended.
    #[error("the instance was drained")]
    Drained,
    /// Its store failed.
    #[error(transparent)]
    Crashed(#[from] Crash),
}

/// Why a store failed. The first line of the message is the reason; a backtrace may follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Crash {
    #[error(transparent)]
    NoAddressSpace(#[from] AddressSpaceError),
    #[error("the instance took longer than limits.startup, {0:?}, to instantiate")]
    SlowInstantiation(Duration),
    #[error("startups took longer than limits.startup, {0:?}")]
    SlowStartups(Duration),
    #[error("startup `{name}` failed: {why}")]
    StartupFailed { name: String, why: String },
    #[error("startup `{0}` ended without an outcome")]
    StartupWithoutOutcome(String),
    /// The guest trapped, exited or reached a limit of its store.
    #[error("{}", trapped(report, last_line.as_deref()))]
    Trap {
        /// The reason, and the backtrace.
        report: String,
        /// What the instance last wrote to standard error. Only in development.
        last_line: Option<String>,
    },
    #[error("the guest stopped responding after a deadline")]
    Unresponsive,
    #[error("the host panicked: {0}")]
    HostPanic(String),
}

impl Crash {
    pub fn fault(&self) -> Blame {
        match self {
            Crash::NoAddressSpace(_) => Blame::Operator,
            Crash::HostPanic(_) => Blame::Host,
            Crash::SlowInstantiation(_)
            | Crash::SlowStartups(_)
            | Crash::StartupFailed { .. }
            | Crash::StartupWithoutOutcome(_)
            | Crash::Trap { .. }
            | Crash::Unresponsive => Blame::Guest,
        }
    }

    /// Whether the instance has never served.
    pub fn is_of_start(&self) -> bool {
        match self {
            Crash::NoAddressSpace(_)
            | Crash::SlowInstantiation(_)
            | Crash::SlowStartups(_)
            | Crash::StartupFailed { .. }
            | Crash::StartupWithoutOutcome(_) => true,
            Crash::Trap { .. } | Crash::Unresponsive | Crash::HostPanic(_) => false,
        }
    }

    /// The reason and the backtrace, for the log, which has the output of the instance already.
    pub fn report(&self) -> String {
        match self {
            Crash::Trap { report, .. } => report.clone(),
            other => other.to_string(),
        }
    }

    /// The reason without the backtrace.
    pub fn reason(&self) -> String {
        first_line(&self.to_string()).to_owned()
    }
}

fn trapped(report: &str, last_line: Option<&str>) -> String {
    let Some(last_line) = last_line else { return report.to_owned() };
    let reason = first_line(report);
    let backtrace = report.strip_prefix(reason).unwrap_or_default();
    format!("{reason}; its last line on stderr: {last_line}{backtrace}")
}

impl End {
    pub fn fault(&self) -> Blame {
        match self {
            End::Drained => Blame::Host,
            End::Crashed(crash) => crash.fault(),
        }
    }
}

/// Why a swap cannot hand the state of an instance over to the next one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The guest's `save` or `load` returned this error.
    #[error("{0}")]
    Guest(String),
    #[error("the instance ended while it saved its state")]
    EndedSaving,
    #[error(transparent)]
    EndedLoading(#[from] End),
}

impl SnapshotError {
    pub fn fault(&self) -> Blame {
        match self {
            SnapshotError::Guest(_) | SnapshotError::EndedSaving => Blame::Guest,
            SnapshotError::EndedLoading(end) => end.fault(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap(last_line: Option<&str>) -> Crash {
        Crash::Trap { report: "unreachable\n    at f".into(), last_line: last_line.map(str::to_owned) }
    }

    #[test]
    fn a_crash_knows_whose_fault_it_is() {
        assert_eq!(trap(None).fault(), Blame::Guest);
        assert_eq!(Crash::SlowStartups(Duration::from_secs(1)).fault(), Blame::Guest);
        assert_eq!(End::from(Crash::HostPanic("why".into())).fault(), Blame::Host);
        assert_eq!(SnapshotError::from(End::from(Crash::HostPanic("why".into()))).fault(), Blame::Host);
    }

    #[test]
    fn the_reason_of_a_crash_is_its_first_line() {
        assert_eq!(trap(None).reason(), "unreachable");
        let crash = trap(Some("panicked at a.rs:1:1: boom"));
        assert_eq!(crash.reason(), "unreachable; its last line on stderr: panicked at a.rs:1:1: boom");
        assert_eq!((crash.to_string(), crash.report()), (crash.reason() + "\n    at f", trap(None).to_string()));
    }
}
