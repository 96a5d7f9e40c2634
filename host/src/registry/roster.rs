//! The load state of every folder of `modulesDir`.
//!
//! A module whose folder exists but that is not installed still guards the stream keys and channels
//! that begin with its name. Otherwise, after a broken update, every client could read them. The
//! state `Loading` of a new module begins with the request for its reload, and a reload claims the
//! patterns of its candidate as soon as it has read it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;

use super::{Generation, KeyOwner, PatternKind, PatternTable};
use crate::call::CallError;
use crate::call::channel::announced;
use crate::call::text::{NAME, line};

/// The load state of one module.
#[derive(Clone)]
pub enum ModuleState {
    /// The host is compiling or loading its component.
    Loading,
    /// It is installed in the workers.
    Installed(Arc<Generation>),
    /// Its component does not exist yet. The text says which one, and what to do.
    Waiting(String),
    /// It cannot be loaded. The text has one fault per line.
    Refused(String),
}

/// The addition to the note of a pin that the host could not save.
const UNSAVED: &str = "; the host could not save the pin in stateDir, so it would serve the module's files after a restart: make room in stateDir or make it writable; the host retries";

/// A fact about a module that serves, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    #[error(
        "pinned by a rollback to generation {generation}: the module's files are not served until they change or you run `fanfare reload {module} --force`{}",
        if *.saved { "" } else { UNSAVED }
    )]
    Pinned { module: String, generation: String, saved: bool },
    #[error("generation {generation} is a canary in {places} for {lasts:?}")]
    Canary { generation: String, places: String, lasts: Duration },
    #[error("generation {generation} was {why}")]
    RolledBack { generation: String, why: String },
    #[error("generation {generation}: {why}")]
    NotRolledBack { generation: String, why: String },
    #[error(
        "the previous generation keeps serving, because the module's files are refused: {why}{}",
        kept.iter().map(|kept| format!("\n{kept}")).collect::<String>()
    )]
    Refused {
        why: String,
        /// The capabilities that this generation has although they are no longer granted.
        kept: Option<String>,
    },
    #[error("the last good generation serves, because the module's files cannot be loaded: {why}")]
    LastGood { why: String },
    #[error(
        "the middleware {name} is missing, because {module} serves nothing: routes that name it return `unavailable`"
    )]
    NoMiddleware { name: String, module: String },
}

/// The load states and notes of all modules, by name.
#[derive(Default)]
pub struct Roster {
    states: RwLock<BTreeMap<String, ModuleState>>,
    notes: RwLock<BTreeMap<String, Note>>,
    /// Why the last build of `fanfare dev` failed, by module.
    failed_builds: RwLock<BTreeMap<String, String>>,
    /// Problems of the host itself, by the part that they concern.
    notices: RwLock<BTreeMap<&'static str, String>>,
    ready: AtomicBool,
    /// The stream keys and channels of the installed modules.
    pub patterns: Arc<PatternTable>,
    /// Changes with every change of a state.
    changes: watch::Sender<u64>,
    /// Called after every change of a state.
    on_change: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Roster {
    pub fn states(&self) -> BTreeMap<String, ModuleState> {
        self.states.read().clone()
    }

    pub fn state(&self, module: &str) -> Option<ModuleState> {
        self.states.read().get(module).cloned()
    }

    pub fn set(&self, module: &str, state: ModuleState) {
        let mut states = self.states.write();
        match &state {
            ModuleState::Installed(generation) => self.patterns.set(module, Some(&generation.manifest)),
            ModuleState::Loading | ModuleState::Waiting(_) | ModuleState::Refused(_) => self.patterns.set(module, None),
        }
        states.insert(module.to_owned(), state);
        drop(states);
        self.changed();
    }

    /// Records that the host has begun to load a module that it did not know.
    pub fn begin(&self, module: &str) {
        if self.state(module).is_none() {
            self.set(module, ModuleState::Loading);
        }
    }

    /// Records that the host will not load a module that it has begun to load.
    pub fn abandon(&self, module: &str) {
        if matches!(self.state(module), Some(ModuleState::Loading)) {
            self.remove(module);
        }
    }

    /// Removes a module whose folder was removed.
    pub fn remove(&self, module: &str) {
        let mut states = self.states.write();
        states.remove(module);
        self.patterns.set(module, None);
        drop(states);
        self.notes.write().remove(module);
        self.failed_builds.write().remove(module);
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
        if let Some(on_change) = self.on_change.get() {
            on_change();
        }
    }

    /// Sets the function that is called after every change of a state, before the caller that has
    /// changed it continues. Only the first call has an effect.
    pub fn on_change(&self, call: impl Fn() + Send + Sync + 'static) {
        // The error returns a second function.
        let _ = self.on_change.set(Box::new(call));
    }

    /// Returns the module that decides who may read a stream key. A module that is not installed
    /// may want to decide about the keys that begin with its name.
    pub fn owner_of_key(&self, key: &str) -> KeyOwner {
        self.owner_of(PatternKind::Stream, key)
    }

    /// Returns the module that decides about a channel, as [`Roster::owner_of_key`] does for stream
    /// keys. The members of a channel are announced where the same module decides.
    pub fn owner_of_channel(&self, channel: &str) -> KeyOwner {
        self.owner_of(PatternKind::Channel, announced(channel).unwrap_or(channel))
    }

    fn owner_of(&self, kind: PatternKind, name: &str) -> KeyOwner {
        // Under this lock no module is installed between the two questions.
        let states = self.states.read();
        if let Some(owner) = self.patterns.owner_of(kind, name) {
            return owner;
        }
        let name = name.split('/').next().unwrap_or_default();
        match states.get(name) {
            None | Some(ModuleState::Installed(_)) => KeyOwner::Nobody,
            Some(ModuleState::Loading | ModuleState::Waiting(_) | ModuleState::Refused(_)) => {
                KeyOwner::Absent(name.into())
            }
        }
    }

    /// Changes when the state of a module changes, such as when another generation is installed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The generations that are installed, by module name.
    pub fn installed(&self) -> Vec<Arc<Generation>> {
        let installed = |state: &ModuleState| match state {
            ModuleState::Installed(generation) => Some(generation.clone()),
            _ => None,
        };
        self.states.read().values().filter_map(installed).collect()
    }

    /// The note about a module that serves.
    pub fn note(&self, module: &str) -> Option<Note> {
        let note = self.notes.read().get(module).cloned();
        note.or_else(|| self.missing_middleware(module))
    }

    /// The first middleware of an installed module whose module is not there.
    fn missing_middleware(&self, module: &str) -> Option<Note> {
        let states = self.states.read();
        let Some(ModuleState::Installed(generation)) = states.get(module) else { return None };
        let is_served = |of: &str| matches!(states.get(of), Some(ModuleState::Installed(_) | ModuleState::Loading));
        generation.manifest.chained().find_map(|(_, name)| {
            let of = name.module.as_deref().filter(|of| !is_served(of))?;
            Some(Note::NoMiddleware { name: name.to_string(), module: of.to_owned() })
        })
    }

    pub fn set_note(&self, module: &str, note: Option<Note>) {
        let mut notes = self.notes.write();
        match note {
            Some(note) => drop(notes.insert(module.to_owned(), note)),
            None => drop(notes.remove(module)),
        }
    }

    /// Records why a build of `fanfare dev` failed, or that it has succeeded.
    pub fn set_failed_build(&self, module: &str, why: Option<String>) {
        let mut failed = self.failed_builds.write();
        match why {
            Some(why) => drop(failed.insert(module.to_owned(), why)),
            None => drop(failed.remove(module)),
        }
    }

    /// Why the last build of a module failed, if `fanfare dev` builds it.
    pub fn failed_build(&self, module: &str) -> Option<String> {
        self.failed_builds.read().get(module).cloned()
    }

    /// The note about a module and the failure of its last build.
    pub fn remarks(&self, module: &str) -> Option<String> {
        let note = self.note(module).map(|note| note.to_string());
        let remarks: Vec<String> = note.into_iter().chain(self.failed_build(module)).collect();
        (!remarks.is_empty()).then(|| remarks.join("\n"))
    }

    /// Sets the problem of a part of the host, or clears it. Returns whether that changed anything,
    /// so that the caller logs a problem once.
    pub fn set_notice(&self, about: &'static str, notice: Option<String>) -> bool {
        let mut notices = self.notices.write();
        match notice {
            Some(notice) => notices.insert(about, notice.clone()).as_ref() != Some(&notice),
            None => notices.remove(about).is_some(),
        }
    }

    /// The problems of the host itself.
    pub fn notices(&self) -> Vec<String> {
        self.notices.read().values().cloned().collect()
    }

    /// Whether the host has tried to load every module once.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// The modules whose folder is refused or cannot be loaded, one entry each, including those
    /// where another generation serves. An entry has one line per fault.
    pub fn refused(&self) -> Vec<String> {
        let refused = |(name, state): (&String, &ModuleState)| match state {
            ModuleState::Refused(why) => Some(format!("{name}: {why}")),
            _ => None,
        };
        let instead = |(name, note): (&String, &Note)| match note {
            Note::Refused { .. } | Note::LastGood { .. } => Some(format!("{name}: {note}")),
            _ => None,
        };
        let notes = self.notes.read();
        self.states.read().iter().filter_map(refused).chain(notes.iter().filter_map(instead)).collect()
    }

    /// The error of a call to a module that is not installed. The faults of a refused module name
    /// files on the operator's machine, so the error says only where to find the faults.
    pub fn missing(&self, module: &str) -> CallError {
        // The name comes from the caller and may be any text.
        let module = &line(module, NAME);
        let unavailable = |what: &str| CallError::Unavailable(format!("{module} {what}"));
        match self.states.read().get(module) {
            None | Some(ModuleState::Installed(_)) => CallError::NotFound(format!("there is no module {module}")),
            Some(ModuleState::Loading) => unavailable("is still loading: try again"),
            Some(ModuleState::Waiting(_)) => unavailable("waits for its component, which is not built yet"),
            Some(ModuleState::Refused(_)) => {
                unavailable("is refused: the host's log, `fanfare status` and `fanfare check` say why")
            }
        }
    }
}
