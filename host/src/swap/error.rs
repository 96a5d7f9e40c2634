//! Why a module is not loaded, not swapped or not rolled back.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::call::{CallError, Fault, IsolateId, text};
use crate::document::Faults;
use crate::isolate::{Crash, End, SnapshotError};
use crate::registry::manifest::ManifestError;
use crate::registry::{KeptError, LoadError};

/// The way out when the state of a generation does not go over.
const FORCE: &str = "`fanfare reload --force` goes on without the state";

/// Why a module is not reloaded. The previous generation keeps serving.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SwapError {
    /// There is no such module.
    #[error("there is no folder of the name {0} in modulesDir")]
    NotFound(String),
    /// `fanfare.json` has faults.
    #[error("{0}")]
    Settings(Faults),
    /// The folder has no `module.json`.
    #[error("there is no module.json")]
    NoManifest,
    /// The module's files are being written.
    #[error("its files are being written")]
    Unsettled,
    /// The component is not built yet.
    #[error("{}: the component does not exist: build it", .0.display())]
    Waiting(PathBuf),
    /// The module cannot be loaded.
    #[error("{0}")]
    Module(Arc<ModuleError>),
    /// The generation that a rollback has pinned cannot be loaded.
    #[error("{0}: a rollback has pinned this generation, `fanfare reload --force` takes what is in the folder")]
    Pinned(Arc<ModuleError>),
    /// No kept generation fits the request for a rollback.
    #[error(
        "of {module} there is {}; kept are, the newest first: {}",
        .to.as_ref().map_or("none before the one that serves".to_owned(), |to| format!("no {to}")),
        if .kept.is_empty() { "none".to_owned() } else { .kept.join(", ") }
    )]
    NoGeneration {
        /// The name of the module.
        module: String,
        /// The beginning of the digest that was asked for.
        to: Option<String>,
        /// The generations to choose from.
        kept: Vec<String>,
    },
    /// A new instance ended before it could serve.
    #[error("{0}")]
    Start(End),
    /// The broadcasts before the swap did not start everywhere in time.
    #[error("broadcasts that have started in some workers have not in others within swap.quiesce, {0:?}: reload again")]
    Quiesce(Duration),
    /// An instance could not save its state.
    #[error("{module} in {isolate}: save failed: {error}; {FORCE}")]
    Save {
        /// The name of the module.
        module: Arc<str>,
        /// Where the instance runs.
        isolate: IsolateId,
        /// Why.
        error: SnapshotError,
    },
    /// An instance saved more than `swap.state` allows.
    #[error("{module} in {isolate}: save gave {size} bytes: swap.state allows {most}; {FORCE}")]
    StateSize {
        /// The name of the module.
        module: Arc<str>,
        /// Where the instance runs.
        isolate: IsolateId,
        /// Bytes that it saved.
        size: u64,
        /// `swap.state`.
        most: u64,
    },
    /// The instances did not save their state within `swap.timeout`.
    #[error("save took longer than swap.timeout, {0:?}; {FORCE}")]
    SlowSave(Duration),
    /// A new instance does not accept the state.
    #[error("{0}")]
    Load(SnapshotError),
    /// The new instances did not load the state within `swap.timeout`.
    #[error("load took longer than swap.timeout, {0:?}")]
    SlowLoad(Duration),
    /// A rollback took precedence.
    #[error("a rollback of the module was asked for meanwhile")]
    Overtaken,
    /// The module failed in a worker of the canary.
    #[error("rolled back after {after:.1?}: {error}")]
    CanaryDown {
        /// How long the canary had run.
        after: Duration,
        /// What calls get there.
        error: Box<CallError>,
    },
    /// More calls of the canary failed than `rollout.maxFailures` allows.
    #[error("rolled back after {after:.1?}: {failures} calls failed in {places}, rollout.maxFailures allows {most}")]
    CanaryFailures {
        /// How long the canary had run.
        after: Duration,
        /// Calls that failed.
        failures: u64,
        /// The workers of the canary.
        places: String,
        /// `rollout.maxFailures`.
        most: u64,
    },
    /// The canary ended well, but the other workers could not switch.
    #[error("rolled back: {0}")]
    NotPromoted(Box<SwapError>),
    /// Another reload or a rollback ended the canary.
    #[error("rolled back: another reload or a rollback came before the trial had ended")]
    CanaryReplaced,
    /// The host is stopping.
    #[error("the host stops")]
    Stopping,
    /// The host panicked.
    #[error("the host panicked: {0}")]
    Panicked(String),
    /// The task that ran the reload or the canary is gone.
    #[error("the host lost the {0}: its log says why")]
    Lost(&'static str),
}

/// Why a module cannot be loaded, for people: the component may have written parts of the message.
#[derive(Debug)]
pub enum ModuleError {
    Unreadable {
        file: PathBuf,
        error: io::Error,
    },
    Manifest(ManifestError),
    Load(LoadError),
    /// It does not link with the interfaces of `wit/`.
    Link {
        component: PathBuf,
        error: String,
    },
    /// The instance that checks its exports failed.
    Check {
        component: PathBuf,
        crash: Crash,
    },
    /// Its routes name handlers that the component does not have.
    Handlers(Faults),
    Kept(KeptError),
}

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = match self {
            ModuleError::Unreadable { file, error } => format!("{}: cannot be read: {error}", file.display()),
            ModuleError::Manifest(error) => error.to_string(),
            ModuleError::Load(error) => error.to_string(),
            ModuleError::Link { component, error } => format!("{}: {error}", component.display()),
            ModuleError::Check { component, crash } => format!("{}: {crash}", component.display()),
            ModuleError::Handlers(faults) => faults.to_string(),
            ModuleError::Kept(error) => error.to_string(),
        };
        f.write_str(&text::lines(&message, text::REPORT))
    }
}

impl std::error::Error for ModuleError {}

impl ModuleError {
    pub fn fault(&self) -> Fault {
        match self {
            ModuleError::Load(error) => error.fault(),
            ModuleError::Check { crash, .. } => crash.fault(),
            ModuleError::Link { .. } | ModuleError::Handlers(_) => Fault::Guest,
            ModuleError::Unreadable { .. } | ModuleError::Manifest(_) | ModuleError::Kept(_) => Fault::Operator,
        }
    }
}

impl From<ManifestError> for ModuleError {
    fn from(error: ManifestError) -> ModuleError {
        ModuleError::Manifest(error)
    }
}

impl From<LoadError> for ModuleError {
    fn from(error: LoadError) -> ModuleError {
        ModuleError::Load(error)
    }
}

impl From<KeptError> for ModuleError {
    fn from(error: KeptError) -> ModuleError {
        ModuleError::Kept(error)
    }
}

impl From<ModuleError> for SwapError {
    fn from(error: ModuleError) -> SwapError {
        SwapError::Module(Arc::new(error))
    }
}

impl SwapError {
    pub(crate) fn fault(&self) -> Fault {
        match self {
            SwapError::NotFound(_) | SwapError::NoGeneration { .. } => Fault::Client,
            SwapError::Settings(_)
            | SwapError::NoManifest
            | SwapError::Unsettled
            | SwapError::Waiting(_)
            | SwapError::Overtaken
            | SwapError::CanaryReplaced
            | SwapError::Stopping => Fault::Operator,
            SwapError::Module(error) | SwapError::Pinned(error) => error.fault(),
            SwapError::NotPromoted(error) => error.fault(),
            SwapError::Start(end) => end.fault(),
            SwapError::Save { error, .. } | SwapError::Load(error) => error.fault(),
            SwapError::Quiesce(_)
            | SwapError::StateSize { .. }
            | SwapError::SlowSave(_)
            | SwapError::SlowLoad(_)
            | SwapError::CanaryDown { .. }
            | SwapError::CanaryFailures { .. } => Fault::Guest,
            SwapError::Panicked(_) | SwapError::Lost(_) => Fault::Host,
        }
    }

    /// The HTTP status it becomes.
    pub(crate) fn status(&self) -> u16 {
        match self {
            SwapError::NotFound(_) => 404,
            SwapError::Stopping => 503,
            error if error.fault() == Fault::Host => 500,
            _ => 422,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_follows_the_fault() {
        let start = |crash| SwapError::Start(End::Crashed(crash));
        for (error, fault, status) in [
            (SwapError::NotFound("m".into()), Fault::Client, 404),
            (SwapError::Waiting("m.wasm".into()), Fault::Operator, 422),
            (start(Crash::Silent), Fault::Guest, 422),
            (start(Crash::HostPanic("why".into())), Fault::Host, 500),
            (SwapError::NotPromoted(Box::new(SwapError::Lost("trial"))), Fault::Host, 500),
            (SwapError::Stopping, Fault::Operator, 503),
        ] {
            assert_eq!((error.fault(), error.status()), (fault, status), "{error}");
        }
    }

    #[test]
    fn a_rollback_to_nothing_names_what_is_kept() {
        let error = |to: Option<&str>, kept: &[&str]| SwapError::NoGeneration {
            module: "m".into(),
            to: to.map(str::to_owned),
            kept: kept.iter().map(|&digest| digest.to_owned()).collect(),
        };
        assert_eq!(
            error(Some("ab"), &["12", "34"]).to_string(),
            "of m there is no ab; kept are, the newest first: 12, 34"
        );
        assert_eq!(
            error(None, &[]).to_string(),
            "of m there is none before the one that serves; kept are, the newest first: none"
        );
    }
}
