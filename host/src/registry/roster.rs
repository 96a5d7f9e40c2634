//! What became of every folder of `modulesDir`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use super::Generation;
use crate::call::CallError;
use crate::call::text::{MESSAGE, NAME, line};

/// What became of one folder.
#[derive(Clone)]
pub enum ModuleState {
    /// Its component is being compiled or loaded.
    Loading,
    /// It is held by the workers.
    Installed(Arc<Generation>),
    /// Its component is not there yet.
    Waiting,
    /// It cannot be loaded; why, one fault a line.
    Refused(String),
}

impl ModuleState {
    /// In words, with the first reason, when no worker holds it.
    pub fn absent(&self) -> Option<String> {
        match self {
            ModuleState::Installed(_) => None,
            ModuleState::Loading => Some("loading".to_owned()),
            ModuleState::Waiting => Some("waiting for its component".to_owned()),
            ModuleState::Refused(why) => {
                Some(format!("refused: {}", line(why.lines().next().unwrap_or_default(), MESSAGE)))
            }
        }
    }
}

/// What a pin lacks that could not be written.
const UNSAVED: &str = "; the pin could not be saved in stateDir, so that a restart serves the folder: free space or make it writable, saving is retried";

/// What the operator should know of a module although it serves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    #[error(
        "pinned by a rollback to generation {generation}: what is in the folder is not served until it changes, or `fanfare reload --force`{}",
        if *.saved { "" } else { UNSAVED }
    )]
    Pinned { generation: String, saved: bool },
    #[error("generation {generation} is on trial in {places} for {lasts:?}")]
    OnTrial { generation: String, places: String, lasts: Duration },
    #[error("generation {generation} was {why}")]
    RolledBack { generation: String, why: String },
    #[error("what is on disk is refused: {why}")]
    Refused { why: String },
    #[error("what is on disk cannot be loaded, the last good generation serves: {why}")]
    LastGood { why: String },
}

/// All modules, by name.
#[derive(Default)]
pub struct Roster {
    states: RwLock<BTreeMap<String, ModuleState>>,
    notes: RwLock<BTreeMap<String, Note>>,
    /// What the operator should know of the host itself, by what it is about.
    notices: RwLock<BTreeMap<&'static str, String>>,
    ready: AtomicBool,
}

impl Roster {
    pub fn states(&self) -> BTreeMap<String, ModuleState> {
        self.states.read().clone()
    }

    pub fn state(&self, module: &str) -> Option<ModuleState> {
        self.states.read().get(module).cloned()
    }

    pub fn set(&self, module: &str, state: ModuleState) {
        self.states.write().insert(module.to_owned(), state);
    }

    /// Forgets a module whose folder is gone.
    pub fn remove(&self, module: &str) {
        self.states.write().remove(module);
        self.notes.write().remove(module);
    }

    /// What is noted of a module that serves.
    pub fn note(&self, module: &str) -> Option<Note> {
        self.notes.read().get(module).cloned()
    }

    pub fn set_note(&self, module: &str, note: Option<Note>) {
        let mut notes = self.notes.write();
        match note {
            Some(note) => drop(notes.insert(module.to_owned(), note)),
            None => drop(notes.remove(module)),
        }
    }

    /// Notes what is wrong with a part of the host, or that nothing is. Returns whether that is
    /// new, so that it is logged once.
    pub fn set_notice(&self, about: &'static str, notice: Option<String>) -> bool {
        let mut notices = self.notices.write();
        match notice {
            Some(notice) => notices.insert(about, notice.clone()).as_ref() != Some(&notice),
            None => notices.remove(about).is_some(),
        }
    }

    /// What the operator should know of the host itself.
    pub fn notices(&self) -> Vec<String> {
        self.notices.read().values().cloned().collect()
    }

    /// Whether every module has had its first try.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// What is on disk and refused, one line each, even where something else serves.
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

    /// Why a module that no worker holds cannot be called. The faults of one that is refused name files of the
    /// operator's machine, so a caller hears only where to look.
    pub fn missing(&self, module: &str) -> CallError {
        // Whoever calls may have made it up.
        let module = &line(module, NAME);
        let unavailable = |what: &str| CallError::Unavailable(format!("{module} {what}"));
        match self.states.read().get(module) {
            None | Some(ModuleState::Installed(_)) => CallError::NotFound(format!("there is no module {module}")),
            Some(ModuleState::Loading) => unavailable("is still being loaded"),
            Some(ModuleState::Waiting) => unavailable("waits for its component, which is not built yet"),
            Some(ModuleState::Refused(_)) => {
                unavailable("is refused: the host's log, `fanfare status` and `fanfare check` say why")
            }
        }
    }
}
