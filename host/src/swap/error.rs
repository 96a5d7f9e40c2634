//! Why a module is not loaded, swapped or rolled back.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::call::{Blame, CallError, IsolateId, ProblemCode, text};
use crate::document::Faults;
use crate::files::relative;
use crate::isolate::{Crash, End, SnapshotError};
use crate::registry::manifest::ManifestError;
use crate::registry::{GenerationStoreError, LoadError};

/// The command that does what a reload refuses.
fn force(module: &str) -> String {
    format!("`fanfare reload {module} --force`")
}

/// Why a reload or a rollback changed nothing. If the module was loaded, its previous generation
/// keeps serving in every worker.
///
/// [`Display`](fmt::Display) returns the whole reason for the operator. It may contain text from
/// the component, with control characters escaped.
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

/// Why a module cannot be loaded.
///
/// [`Display`](fmt::Display) returns every fault with its file. It may contain text from the
/// component, with control characters escaped.
#[derive(Debug)]
pub struct ModuleError(Reason);

#[derive(Debug)]
enum Reason {
    /// A file of the module cannot be read.
    Unreadable {
        /// The path of the file.
        file: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// `module.json` has faults or cannot be read.
    Manifest(ManifestError),
    /// The component is rejected, or does not compile.
    Load(LoadError),
    /// The component imports or exports something that the interfaces in `wit/` do not have.
    Link {
        /// The path of the component.
        component: PathBuf,
        /// The reason.
        error: String,
    },
    /// The host started an instance to list its handlers, and the instance failed.
    Check {
        /// The path of the component.
        component: PathBuf,
        /// How the instance ended.
        crash: Crash,
    },
    /// Routes name handlers that the component does not have.
    Handlers(Faults),
    /// A retained generation cannot be read again.
    Kept(GenerationStoreError),
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match &self.0 {
            Reason::Unreadable { file, error } => format!("{}: cannot be read: {error}", relative(file).display()),
            Reason::Manifest(error) => error.to_string(),
            Reason::Load(error) => error.to_string(),
            Reason::Link { component, error } => format!("{}: {error}", relative(component).display()),
            Reason::Check { component, crash } => format!("{}: {crash}", relative(component).display()),
            Reason::Handlers(faults) => faults.to_string(),
            Reason::Kept(error) => error.to_string(),
        };
        f.write_str(&text::lines(&message, text::REPORT))
    }
}

impl std::error::Error for ModuleError {}

impl ModuleError {
    /// A file of the module cannot be read.
    pub(crate) fn unreadable(file: PathBuf, error: io::Error) -> ModuleError {
        ModuleError(Reason::Unreadable { file, error })
    }

    /// The component does not link with the interfaces in `wit/`.
    pub(crate) fn link(component: PathBuf, error: String) -> ModuleError {
        ModuleError(Reason::Link { component, error })
    }

    /// The instance that lists the handlers failed.
    pub(crate) fn check(component: PathBuf, crash: Crash) -> ModuleError {
        ModuleError(Reason::Check { component, crash })
    }

    /// Routes name handlers that the component does not have.
    pub(crate) fn handlers(faults: Faults) -> ModuleError {
        ModuleError(Reason::Handlers(faults.sorted()))
    }

    /// The faults with the place of each. `None` if the error is about the component as a whole.
    pub fn faults(&self) -> Option<&Faults> {
        match &self.0 {
            Reason::Manifest(error) => Some(&error.faults),
            Reason::Load(LoadError::Refused(faults)) | Reason::Handlers(faults) => Some(faults),
            _ => None,
        }
    }

    pub(crate) fn fault(&self) -> Blame {
        match &self.0 {
            Reason::Load(error) => error.fault(),
            Reason::Check { crash, .. } => crash.fault(),
            Reason::Link { .. } | Reason::Handlers(_) => Blame::Guest,
            Reason::Unreadable { .. } | Reason::Manifest(_) | Reason::Kept(_) => Blame::Operator,
        }
    }
}

impl From<ManifestError> for ModuleError {
    fn from(error: ManifestError) -> ModuleError {
        ModuleError(Reason::Manifest(ManifestError { faults: error.faults.sorted() }))
    }
}

impl From<LoadError> for ModuleError {
    fn from(error: LoadError) -> ModuleError {
        ModuleError(Reason::Load(match error {
            LoadError::Refused(faults) => LoadError::Refused(faults.sorted()),
            error => error,
        }))
    }
}

impl From<GenerationStoreError> for ModuleError {
    fn from(error: GenerationStoreError) -> ModuleError {
        ModuleError(Reason::Kept(error))
    }
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
            | SwapError::Stopping => Blame::Operator,
            SwapError::Module(error) | SwapError::Pinned { error, .. } => error.fault(),
            SwapError::NotPromoted(error) | SwapError::NotRolledBack { why: error, .. } => error.fault(),
            SwapError::Start(end) => end.fault(),
            SwapError::Save { error, .. } | SwapError::Load(error) => error.fault(),
            SwapError::Quiesce(_)
            | SwapError::StateSize { .. }
            | SwapError::SlowSave { .. }
            | SwapError::SlowLoad(_)
            | SwapError::CanaryDown { .. }
            | SwapError::CanaryFailures { .. } => Blame::Guest,
            SwapError::Panicked(_) | SwapError::Lost(_) => Blame::Host,
        }
    }

    /// Whether the module can be loaded once the machine has room again: on the disk, or for a
    /// process.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            SwapError::Module(error) | SwapError::Pinned { error, .. } => match &error.0 {
                Reason::Load(error) => error.is_transient(),
                _ => false,
            },
            _ => false,
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
    use crate::document::{Fault, ValueOrigin};
    use crate::engine::{CacheError, CompileError};

    #[test]
    fn faults_are_in_the_order_of_the_file() {
        let fault = |line, message: &str| {
            let origin = ValueOrigin::File { file: "module.json".into(), line, column: 1, environment: None };
            Fault::new(&origin, "", message)
        };
        let mut faults = Faults::default();
        [fault(7, "b"), fault(2, "a")].into_iter().for_each(|fault| faults.push(fault));
        for error in [
            ModuleError::from(ManifestError { faults: faults.clone() }),
            ModuleError::from(LoadError::Refused(faults.clone())),
            ModuleError::handlers(faults),
        ] {
            assert_eq!(error.to_string(), "module.json:2:1: a\nmodule.json:7:1: b");
        }
    }

    #[test]
    fn a_component_is_shown_relative_to_the_current_folder() {
        let component = std::env::current_dir().unwrap().join("modules/m/m.wasm");
        let cut = CompileError::Refused { path: component.clone(), why: "unexpected end".into() };
        let cut = ModuleError::from(LoadError::from(CacheError::from(cut)));
        let faults = vec!["it imports nothing".to_owned()];
        for error in [
            cut,
            ModuleError::link(component.clone(), "no such import".into()),
            ModuleError::check(component.clone(), Crash::Unresponsive),
            ModuleError::unreadable(component.clone(), io::Error::other("gone")),
            ModuleError::from(LoadError::Component { path: component, faults }),
        ] {
            assert!(error.to_string().starts_with("modules/m/m.wasm: "), "{error}");
        }
    }

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
