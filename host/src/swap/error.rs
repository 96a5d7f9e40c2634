//! Why a module is not swapped or rolled back.

use std::sync::Arc;
use std::time::Duration;

use super::module_error::ModuleError;
use crate::call::{Blame, CallError, IsolateId, ProblemCode};
use crate::document::Faults;
use crate::isolate::{End, SnapshotError};

/// The command that does what a reload refuses.
fn force(module: &str) -> String {
    format!("`fanfare reload {module} --force`")
}

/// Why a reload or a rollback changed nothing. If the module was loaded, its previous generation
/// keeps serving in every worker.
///
/// [`Display`](std::fmt::Display) returns the whole reason for the operator. It may contain text
/// from the component, with control characters escaped.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SwapError {
    /// There is no module of this name: neither a folder in `modulesDir` nor a loaded module.
    #[error("there is no module {0}: modulesDir has no folder of this name")]
    NotFound(String),
    /// The program has no module of this name in memory, so it cannot remove it.
    #[error("there is no module {0} in memory; remove its folder to remove a module of modulesDir")]
    NotInMemory(String),
    /// `fanfare.json` has faults, so nothing was reloaded.
    #[error("{0}")]
    Settings(Faults),
    /// The module's folder has no `module.json`.
    #[error("the module's folder has no module.json")]
    NoManifest,
    /// The module's files are still being written.
    #[error("the module's files are still being written; reload again when they are complete")]
    Unsettled,
    /// The component does not exist yet. The module is loaded as soon as it does. The text says
    /// which component, and what to do.
    #[error("{0}")]
    Waiting(String),
    /// The module's folder cannot be loaded.
    #[error("{0}")]
    Module(Arc<ModuleError>),
    /// A rollback pinned a generation that cannot be loaded.
    #[error("{error}; a rollback pinned this generation, {} loads the folder instead", force(.module))]
    Pinned {
        /// The module.
        module: String,
        /// Why it cannot be loaded.
        error: Arc<ModuleError>,
    },
    /// No retained generation matches the requested rollback.
    #[error(
        "{module} has no {}; retained generations, newest first: {}",
        .to.as_ref().map_or("previous generation".to_owned(), |to| format!("retained generation {to}")),
        if .kept.is_empty() { "none".to_owned() } else { .kept.join(", ") }
    )]
    NoGeneration {
        /// The module.
        module: String,
        /// The first characters of the requested digest; `None` for the previous generation.
        to: Option<String>,
        /// The short digests of the retained generations, newest first.
        kept: Vec<String>,
    },
    /// A new instance ended before it was ready: a trap, a failed startup or a limit.
    #[error("{0}")]
    Start(End),
    /// The broadcasts queued before the swap did not start in every worker within `swap.quiesce`.
    #[error("not every worker started the earlier broadcasts within swap.quiesce ({0:?}); reload again")]
    Quiesce(Duration),
    /// An instance could not save its state.
    #[error("{module} in {isolate}: save failed: {error}; {} swaps without the state", force(.module))]
    Save {
        /// The module.
        module: Arc<str>,
        /// The isolate of the instance.
        isolate: IsolateId,
        /// The reason.
        error: SnapshotError,
    },
    /// An instance saved more bytes than `swap.state` allows.
    #[error(
        "{module} in {isolate}: save returned {size} bytes, but swap.state allows {max}; {} swaps without the state",
        force(.module)
    )]
    StateSize {
        /// The module.
        module: Arc<str>,
        /// The isolate of the instance.
        isolate: IsolateId,
        /// The size of the state in bytes.
        size: u64,
        /// `swap.state`, in bytes.
        max: u64,
    },
    /// Not every instance saved its state within `swap.timeout`.
    #[error("save took longer than swap.timeout ({timeout:?}); {} swaps without the state", force(.module))]
    SlowSave {
        /// The module.
        module: Arc<str>,
        /// `swap.timeout`.
        timeout: Duration,
    },
    /// A new instance rejected the state or ended while it loaded it.
    #[error("{0}")]
    Load(SnapshotError),
    /// Not every new instance loaded its state within `swap.timeout`.
    #[error("load took longer than swap.timeout ({0:?})")]
    SlowLoad(Duration),
    /// Another node of the cluster has rejected this generation, so this one does not try it.
    #[error("node {node} rejected generation {generation}: {reason}; {} tries it here", force(.module))]
    RejectedElsewhere {
        /// The module.
        module: String,
        /// The generation, shortened.
        generation: String,
        /// The node.
        node: String,
        /// Its reason.
        reason: String,
    },
    /// This node was silent for so long that another node of the cluster has taken its turn to
    /// change the module.
    #[error(
        "{0} has taken over the turn to change the module, because this node was silent for too long; reload again"
    )]
    Overtaken(String),
    /// A rollback of the module was requested while the reload was preparing.
    #[error("a rollback of the module was requested during the reload")]
    Preempted,
    /// The module failed for good in a worker of the canary, which was rolled back.
    #[error("rolled back after {after:.1?}: {error}")]
    CanaryDown {
        /// How long the canary ran.
        after: Duration,
        /// The error that calls get in that worker.
        error: Box<CallError>,
    },
    /// More calls of the canary failed than `rollout.maxFailures` allows, so it was rolled back.
    #[error(
        "rolled back after {after:.1?}: {} failed in {workers}, rollout.maxFailures allows {max}",
        if *failures == 1 { "1 call".to_owned() } else { format!("{failures} calls") }
    )]
    CanaryFailures {
        /// How long the canary ran.
        after: Duration,
        /// How many calls failed.
        failures: u64,
        /// The workers of the canary, separated by commas.
        workers: String,
        /// `rollout.maxFailures`.
        max: u64,
    },
    /// The canary succeeded, but the other workers could not switch, so it was rolled back.
    #[error("rolled back, because the other workers could not switch: {0}")]
    NotPromoted(Box<SwapError>),
    /// Another reload or a rollback ended the canary.
    #[error("rolled back: another reload or a rollback ended the canary")]
    CanaryReplaced,
    /// The canary ended, and its workers could not return to the previous generation.
    #[error(
        "the canary ended{}, and could not be rolled back: {error}; it still runs in {workers}, `fanfare reload` tries \
         again",
        reason_of(.why)
    )]
    NotRolledBack {
        /// Why the canary ended.
        why: Box<SwapError>,
        /// The workers of the canary, separated by commas.
        workers: String,
        /// Why they could not switch.
        error: Box<SwapError>,
    },
    /// The host is stopping.
    #[error("the host is stopping")]
    Stopping,
    /// The host panicked. This is a bug in the host.
    #[error("the host panicked: {0}")]
    Panicked(String),
    /// The task that ran the reload or the canary ended without a result. This is a bug in the
    /// host.
    #[error("the host lost the {0}; its log says why")]
    Lost(&'static str),
}

/// Why a canary ended, without the words that say that it was rolled back.
fn reason_of(why: &SwapError) -> String {
    let text = why.to_string();
    text.strip_prefix("rolled back").unwrap_or(&text).to_owned()
}

impl From<ModuleError> for SwapError {
    fn from(error: ModuleError) -> SwapError {
        SwapError::Module(Arc::new(error))
    }
}

impl SwapError {
    pub(crate) fn fault(&self) -> Blame {
        match self {
            SwapError::NotFound(_) | SwapError::NotInMemory(_) | SwapError::NoGeneration { .. } => Blame::Client,
            SwapError::Settings(_)
            | SwapError::NoManifest
            | SwapError::Unsettled
            | SwapError::Waiting(_)
            | SwapError::Preempted
            | SwapError::CanaryReplaced
            | SwapError::Overtaken(_)
            | SwapError::Stopping => Blame::Operator,
            SwapError::Module(error) | SwapError::Pinned { error, .. } => error.fault(),
            SwapError::NotPromoted(error) | SwapError::NotRolledBack { why: error, .. } => error.fault(),
            SwapError::Start(end) => end.fault(),
            SwapError::Save { error, .. } | SwapError::Load(error) => error.fault(),
            SwapError::Quiesce(_)
            | SwapError::StateSize { .. }
            | SwapError::SlowSave { .. }
            | SwapError::SlowLoad(_)
            | SwapError::RejectedElsewhere { .. }
            | SwapError::CanaryDown { .. }
            | SwapError::CanaryFailures { .. } => Blame::Guest,
            SwapError::Panicked(_) | SwapError::Lost(_) => Blame::Host,
        }
    }

    /// Whether the module can be loaded once the machine has room again: on the disk, or for a
    /// process.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            SwapError::Module(error) | SwapError::Pinned { error, .. } => error.is_transient(),
            _ => false,
        }
    }

    /// Whether the generation itself is at fault, so that other nodes need not try it.
    pub(super) fn rejects_generation(&self) -> bool {
        match self {
            SwapError::RejectedElsewhere { .. } => false,
            SwapError::Module(_) => !self.is_transient(),
            SwapError::NotPromoted(error) | SwapError::NotRolledBack { why: error, .. } => error.rejects_generation(),
            error => error.fault() == Blame::Guest,
        }
    }

    /// The code of the HTTP response that reports this error.
    pub(crate) fn problem_code(&self) -> ProblemCode {
        match self {
            SwapError::NotFound(_) => ProblemCode::NotFound,
            SwapError::Stopping => ProblemCode::Unavailable,
            error if error.fault() == Blame::Host => ProblemCode::Internal,
            _ => ProblemCode::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolate::Crash;

    #[test]
    fn the_status_follows_the_fault() {
        let start = |crash| SwapError::Start(End::Crashed(crash));
        for (error, fault, status) in [
            (SwapError::NotFound("m".into()), Blame::Client, 404),
            (SwapError::Waiting("m.wasm".into()), Blame::Operator, 422),
            (start(Crash::Unresponsive), Blame::Guest, 422),
            (start(Crash::HostPanic("why".into())), Blame::Host, 500),
            (SwapError::NotPromoted(Box::new(SwapError::Lost("canary"))), Blame::Host, 500),
            (SwapError::Stopping, Blame::Operator, 503),
        ] {
            assert_eq!((error.fault(), error.problem_code().status().as_u16()), (fault, status), "{error}");
        }
    }

    #[test]
    fn a_canary_that_could_not_be_rolled_back_is_not_reported_as_rolled_back() {
        let why = Box::new(SwapError::NotPromoted(Box::new(SwapError::SlowLoad(Duration::from_secs(1)))));
        let error = Box::new(SwapError::SlowLoad(Duration::from_secs(2)));
        let text = SwapError::NotRolledBack { why, workers: "worker-0".to_owned(), error }.to_string();
        assert_eq!(
            text,
            "the canary ended, because the other workers could not switch: load took longer than swap.timeout (1s), \
             and could not be rolled back: load took longer than swap.timeout (2s); it still runs in worker-0, \
             `fanfare reload` tries again"
        );
    }

    #[test]
    fn a_rollback_without_a_target_lists_the_retained_generations() {
        let error = |to: Option<&str>, kept: &[&str]| SwapError::NoGeneration {
            module: "m".into(),
            to: to.map(str::to_owned),
            kept: kept.iter().map(|&digest| digest.to_owned()).collect(),
        };
        assert_eq!(
            error(Some("ab"), &["12", "34"]).to_string(),
            "m has no retained generation ab; retained generations, newest first: 12, 34"
        );
        assert_eq!(
            error(None, &[]).to_string(),
            "m has no previous generation; retained generations, newest first: none"
        );
    }
}
