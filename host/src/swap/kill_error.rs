//! Why a kill did not replace every instance.

use std::fmt;

use crate::api::KilledIsolate;
use crate::call::text::first_line;
use crate::call::{IsolateId, ProblemCode};
use crate::isolate::End;

/// Why a kill did not replace every instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KillError {
    /// There is no worker with this index. Nothing was killed.
    #[error("there is no worker {id}: the host has {}", counted(*count, "worker"))]
    NoWorker {
        /// The index.
        id: u32,
        /// The number of workers.
        count: usize,
    },
    /// There is no broker with this index. Nothing was killed.
    #[error("there is no broker {id}: the host has {}", counted(*count, "broker"))]
    NoBroker {
        /// The index.
        id: u32,
        /// The number of brokers.
        count: usize,
    },
    /// Some instances could not be replaced.
    #[error("{}", listed(failures))]
    Incomplete {
        /// One entry for each module and isolate.
        failures: Vec<KillFailure>,
        /// The instances that were replaced.
        killed: Vec<KilledIsolate>,
    },
    /// The host is stopping.
    #[error("the host is stopping, so it kills no isolate")]
    Stopping,
    /// The host panicked. This is a bug in the host.
    #[error("the host panicked: {0}")]
    Panicked(String),
}

/// Why a kill did not replace the instance of a module in one isolate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{module} in {isolate}: {reason}")]
pub struct KillFailure {
    /// The module.
    pub module: String,
    /// The isolate.
    pub isolate: IsolateId,
    /// The reason.
    pub reason: KillFailureReason,
}

/// Why a kill did not replace an instance, and what happens instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KillFailureReason {
    /// The next instance ended before it was ready. The previous one keeps serving.
    #[error("the next instance did not start, so the previous one keeps serving: {}", reason(.0))]
    NotReplaced(End),
    /// The next instance ended before it was ready, and there is no previous one: the module is
    /// restarting or has failed there, or the kill was immediate.
    #[error("the next instance did not start, and calls wait or fail until one does: {}", reason(.0))]
    NotStarted(End),
    /// Host code blocks the thread of the isolate, so that no instance can start or end there.
    #[error("host code blocks the thread (isolate.blockedAfter), so no instance can start; restart the host")]
    Blocked,
}

impl KillError {
    /// The code of the HTTP response that reports this error.
    pub(crate) fn problem_code(&self) -> ProblemCode {
        match self {
            KillError::NoWorker { .. } | KillError::NoBroker { .. } => ProblemCode::NotFound,
            KillError::Incomplete { .. } => ProblemCode::Incomplete,
            KillError::Stopping => ProblemCode::Unavailable,
            KillError::Panicked(_) => ProblemCode::Internal,
        }
    }
}

/// The end of an instance without its backtrace.
fn reason(end: &End) -> String {
    first_line(&end.to_string()).to_owned()
}

fn counted(count: usize, kind: &str) -> impl fmt::Display {
    match count {
        0 => format!("no {kind}s"),
        1 => format!("1 {kind}, number 0"),
        _ => format!("{count} {kind}s, numbers 0 to {}", count - 1),
    }
}

fn listed(failures: &[KillFailure]) -> String {
    failures.iter().map(KillFailure::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolate::Crash;

    #[test]
    fn an_unknown_isolate_is_named_with_the_number_of_those_that_exist() {
        let worker = |count| KillError::NoWorker { id: 9, count }.to_string();
        assert_eq!(worker(1), "there is no worker 9: the host has 1 worker, number 0");
        assert_eq!(worker(4), "there is no worker 9: the host has 4 workers, numbers 0 to 3");
        assert_eq!(
            KillError::NoBroker { id: 0, count: 0 }.to_string(),
            "there is no broker 0: the host has no brokers"
        );
    }

    #[test]
    fn each_failure_names_module_isolate_and_reason_on_a_line_of_its_own() {
        let failure =
            |module: &str, reason| KillFailure { module: module.to_owned(), isolate: IsolateId::Worker(1), reason };
        let end = End::Crashed(Crash::Trap { report: "wasm trap\n  at f".to_owned(), last_line: None });
        let failures =
            vec![failure("a", KillFailureReason::NotReplaced(end)), failure("b", KillFailureReason::Blocked)];
        let error = KillError::Incomplete { failures, killed: Vec::new() };
        let text = error.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("a in worker-1: ") && lines[0].ends_with("keeps serving: wasm trap"), "{text}");
        assert!(lines[1].starts_with("b in worker-1: host code blocks the thread"), "{text}");
        assert_eq!(error.problem_code(), ProblemCode::Incomplete);
    }
}
