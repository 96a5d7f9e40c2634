//! Retains the last generations of each module that served, for rollbacks, and for starts that find
//! a broken folder.
//!
//! `<stateDir>/generations/<module>/` contains `index.json`, and for each generation
//! `<digest>.json`, its manifest, and `<digest>.wasm`, its component. Every file appears whole or
//! not at all.
//!
//! A pin is kept beside them, with the digest that the folder had when the pin was set. The pin in
//! memory decides, so that a full disk cannot undo a rollback before the next start.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::loader::digest;
use super::manifest::{FILE_NAME, Manifest, ManifestError};
use super::{Candidate, short};
use crate::document::source;
use crate::files::{self, PRIVATE, ReadError, make_private, write_durable};

/// The number of generations that are retained per module, including the one that serves.
pub const RETAINED: usize = 3;

const INDEX: &str = "index.json";

/// Why a retained generation cannot be loaded again.
#[derive(Debug, thiserror::Error)]
pub enum GenerationStoreError {
    #[error("generation {generation} cannot be read: {source}")]
    Unreadable { generation: String, source: ReadError },
    /// Its files have changed since the host wrote them.
    #[error("the files of generation {generation} have changed since they were saved")]
    Changed { generation: String },
    /// This version of the host rejects its manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The folder of retained generations, and the pins. Pins are valid in this process even when the
/// folder cannot be written.
#[derive(Debug)]
pub struct GenerationStore {
    dir: PathBuf,
    /// The pin of each module, once it was read or set. It takes precedence over the index on disk.
    pins: Mutex<HashMap<String, PinState>>,
    /// Locked while an index is read, changed and written.
    writing: Mutex<()>,
}

/// The pin of a module, or none.
#[derive(Debug, Clone)]
struct PinState {
    pin: Option<Pin>,
    /// Whether the index on disk has this state.
    saved: bool,
}

/// The index of one module's retained generations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Index {
    /// The digests, the one that served last first.
    good: Vec<String>,
    pinned: Option<Pin>,
}

/// The generation that serves after a rollback, until the folder of the module changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// The digest of the generation.
    pub generation: String,
    /// The [`folder_digest`] at the time of the rollback.
    pub folder: String,
}

impl GenerationStore {
    pub fn new(state_dir: &Path) -> GenerationStore {
        GenerationStore { dir: state_dir.join("generations"), pins: Mutex::default(), writing: Mutex::default() }
    }

    fn module_dir(&self, module: &str) -> PathBuf {
        self.dir.join(module)
    }

    /// Reads the index of a module. An index that is not JSON counts as empty; one that cannot be
    /// read is an error.
    fn index(&self, module: &str) -> io::Result<Index> {
        let mut index: Index = match files::read(&self.module_dir(module).join(INDEX), source::MAX_BYTES) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Index::default(),
            Err(ReadError::Io(error)) => return Err(error),
            Err(error) => return Err(io::Error::other(error)),
        };
        let mut pins = self.pins.lock();
        match pins.get(module) {
            Some(state) => index.pinned = state.pin.clone(),
            None => drop(pins.insert(module.to_owned(), PinState { pin: index.pinned.clone(), saved: true })),
        }
        Ok(index)
    }

    /// Writes the index of a module, pin included, and removes files that it no longer names.
    fn write(&self, module: &str, index: &Index) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(index).map_err(io::Error::other)?;
        make_private(&self.module_dir(module))?;
        write_durable(&self.module_dir(module).join(INDEX), &text, PRIVATE)?;
        if let Some(state) = self.pins.lock().get_mut(module).filter(|state| state.pin == index.pinned) {
            state.saved = true;
        }
        self.trim(module, index);
        Ok(())
    }

    /// The digests of a module's retained generations, the one that served last first.
    pub fn generations(&self, module: &str) -> Vec<String> {
        self.index(module).unwrap_or_default().good
    }

    /// Like [`GenerationStore::generations`], with the pinned one first, because it served last.
    pub fn last_served(&self, module: &str) -> Vec<String> {
        let Index { good, pinned } = self.index(module).unwrap_or_default();
        let pinned = pinned.map(|pin| pin.generation);
        let others = good.into_iter().filter(|digest| Some(digest) != pinned.as_ref());
        pinned.iter().cloned().chain(others).collect()
    }

    /// Saves a generation that serves as the first one. Removes the oldest beyond [`RETAINED`], but
    /// not the pinned one.
    pub fn save(&self, candidate: &Candidate) -> io::Result<()> {
        let Candidate { manifest, component, digest, .. } = candidate;
        self.save_files(&manifest.name, digest, component, &manifest.digest_bytes)
    }

    fn save_files(&self, module: &str, digest: &str, component: &[u8], manifest: &[u8]) -> io::Result<()> {
        let _writing = self.writing.lock();
        let mut index = self.index(module)?;
        if index.good.first().is_some_and(|first| first == digest) {
            return Ok(());
        }
        make_private(&self.module_dir(module))?;
        let (manifest_file, component_file) = self.files(module, digest);
        write_durable(&component_file, component, PRIVATE)?;
        write_durable(&manifest_file, manifest, PRIVATE)?;
        index.good.retain(|other| other != digest);
        index.good.insert(0, digest.to_owned());
        index.good.truncate(RETAINED);
        self.write(module, &index)
    }

    /// Removes the files of generations that are no longer retained, and temporary files that a
    /// killed host left behind.
    fn trim(&self, module: &str, index: &Index) {
        for entry in fs::read_dir(self.module_dir(module)).into_iter().flatten().flatten() {
            let path = entry.path();
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let pinned = index.pinned.as_ref().is_some_and(|pin| pin.generation == stem);
            if entry.file_name() != INDEX && !pinned && !index.good.contains(&stem) {
                // If this fails, the next write tries again.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn files(&self, module: &str, digest: &str) -> (PathBuf, PathBuf) {
        let file = |extension: &str| self.module_dir(module).join(format!("{digest}.{extension}"));
        (file("json"), file("wasm"))
    }

    /// Returns the manifest of a retained generation. Its component is the retained file, of at
    /// most `most` bytes.
    pub fn manifest(
        &self,
        module_dir: &Path,
        module: &str,
        generation: &str,
        most: u64,
    ) -> Result<Manifest, GenerationStoreError> {
        let (manifest, component) = self.files(module, generation);
        let unreadable = |source| GenerationStoreError::Unreadable { generation: short(generation).to_owned(), source };
        let text = files::read(&manifest, source::MAX_BYTES).map_err(unreadable)?;
        if digest(&files::digest(&component, most).map_err(unreadable)?, &text) != generation {
            return Err(GenerationStoreError::Changed { generation: short(generation).to_owned() });
        }
        let text = String::from_utf8(text).map_err(|error| unreadable(io::Error::other(error).into()))?;
        let manifest = Manifest::from_text(module_dir, &text)?;
        Ok(Manifest { component, ..manifest })
    }

    pub fn pin(&self, module: &str) -> Option<Pin> {
        let state = self.pins.lock().get(module).cloned();
        match state {
            Some(state) => state.pin,
            None => self.index(module).unwrap_or_default().pinned,
        }
    }

    /// Sets or removes the pin of a module. The change is valid in this process even when saving it
    /// fails; [`GenerationStore::save_pin`] tries again.
    pub fn set_pin(&self, module: &str, pin: Option<Pin>) -> io::Result<()> {
        if self.pin(module) == pin && self.is_saved(module) {
            return Ok(());
        }
        self.pins.lock().insert(module.to_owned(), PinState { pin, saved: false });
        self.save_pin(module)
    }

    /// Saves the pin of a module unless it is saved already.
    pub fn save_pin(&self, module: &str) -> io::Result<()> {
        let _writing = self.writing.lock();
        if self.is_saved(module) {
            return Ok(());
        }
        let index = self.index(module)?;
        self.write(module, &index)
    }

    /// Whether stateDir has the current pin of a module, or that it has none.
    pub fn is_saved(&self, module: &str) -> bool {
        self.pins.lock().get(module).is_none_or(|state| state.saved)
    }

    /// The modules whose current pin is not saved, so that a restart would not find it.
    pub fn unsaved(&self) -> Vec<String> {
        self.pins.lock().iter().filter(|(_, state)| !state.saved).map(|(module, _)| module.clone()).collect()
    }
}

/// Returns a digest of a module's folder, whether it can be loaded or not. Of a component with more
/// than `most` bytes only the size counts, because the host refuses it anyway.
pub fn folder_digest(dir: &Path, most: u64) -> String {
    let text = files::read(&dir.join(FILE_NAME), source::MAX_BYTES).unwrap_or_default();
    let component = Manifest::load(dir).ok().map(|manifest| files::digest(&manifest.component, most));
    let component = match component {
        Some(Ok(digest)) => digest,
        Some(Err(ReadError::TooLarge(size))) => format!("{size} bytes"),
        Some(Err(ReadError::Io(_))) | None => String::new(),
    };
    digest(&component, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::faults::{Fault, with};

    const MODULE: &str = "stored";

    /// A generation to save.
    struct Saved {
        digest: String,
        component: Vec<u8>,
        manifest: &'static [u8],
    }

    fn generation(component: &str) -> Saved {
        let manifest = br#"{ "component": "stored.wasm" }"#;
        let component = component.as_bytes().to_vec();
        let digest = digest(&files::digest_of(&mut component.as_slice()).unwrap(), manifest);
        Saved { digest, component, manifest }
    }

    impl GenerationStore {
        fn save_generation(&self, Saved { digest, component, manifest }: &Saved) -> io::Result<()> {
            self.save_files(MODULE, digest, component, manifest)
        }
    }

    /// Returns what a start finds: the pin, and the retained generations. Asserts that each loads.
    fn found(state: &Path) -> (Option<Pin>, Vec<String>) {
        let store = GenerationStore::new(state);
        let served = store.last_served(MODULE);
        for digest in &served {
            store.manifest(Path::new("/stored"), MODULE, digest, 1024).unwrap();
        }
        (store.pin(MODULE), served)
    }

    /// Makes every step of a change fail in every way, and asserts that the next start finds the
    /// state before the change or the state after it.
    fn fail_every_step(prepare: impl Fn(&GenerationStore), change: impl Fn(&GenerationStore) -> io::Result<()>) {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        let fresh = || {
            let _ = fs::remove_dir_all(&state);
            let store = GenerationStore::new(&state);
            prepare(&store);
            (GenerationStore::new(&state), found(&state))
        };
        let (store, before) = fresh();
        change(&store).unwrap();
        let after = found(&state);
        assert_ne!(before, after);
        for fault in [|at| Fault::Full { at }, |at| Fault::PowerCut { at }] {
            for at in 0.. {
                let (store, _) = fresh();
                let (changed, happened) = with(fault(at), || change(&store));
                if !happened {
                    assert!(at > 3, "the change writes something");
                    changed.unwrap();
                    assert_eq!(found(&state), after, "a completed change survives a power cut");
                    break;
                }
                changed.unwrap_err();
                let found = found(&state);
                assert!(found == before || found == after, "{:?}: {found:?}", fault(at));
                // The pin is valid without the disk, and can be saved once the disk has room.
                if let Fault::Full { .. } = fault(at) {
                    assert!(store.pin(MODULE) == after.0 || store.pin(MODULE) == before.0);
                    store.unsaved().iter().for_each(|module| store.save_pin(module).unwrap());
                    assert_eq!(GenerationStore::new(&state).pin(MODULE), store.pin(MODULE));
                }
            }
        }
        fs::remove_dir_all(&state).unwrap();
    }

    fn pin_of(Saved { digest, .. }: &Saved) -> Option<Pin> {
        Some(Pin { generation: digest.clone(), folder: "folder".to_owned() })
    }

    fn save_all(store: &GenerationStore, components: &[&str]) {
        components.iter().for_each(|component| store.save_generation(&generation(component)).unwrap());
    }

    #[test]
    fn a_start_finds_the_first_generation_or_none_when_saving_it_fails() {
        fail_every_step(|_| {}, |store| store.save_generation(&generation("one")));
    }

    #[test]
    fn a_start_finds_the_old_or_the_new_generation_when_saving_the_new_one_fails() {
        fail_every_step(
            |store| save_all(store, &["one", "two", "three"]),
            |store| store.save_generation(&generation("four")),
        );
    }

    #[test]
    fn a_start_finds_the_old_or_the_new_pin_when_changing_it_fails() {
        let pinned = |store: &GenerationStore| {
            save_all(store, &["one", "two", "three"]);
            store.set_pin(MODULE, pin_of(&generation("one"))).unwrap();
        };
        let set = |store: &GenerationStore| store.set_pin(MODULE, pin_of(&generation("two")));
        fail_every_step(|store| save_all(store, &["one", "two"]), set);
        fail_every_step(pinned, set);
        fail_every_step(pinned, |store| store.set_pin(MODULE, None));
        let beyond = |store: &GenerationStore| {
            pinned(store);
            save_all(store, &["four"]);
        };
        fail_every_step(beyond, |store| store.set_pin(MODULE, None));
    }

    #[test]
    fn a_pin_is_valid_while_it_cannot_be_saved() {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        let store = GenerationStore::new(&state);
        save_all(&store, &["one", "two"]);
        let (set, _) = with(Fault::Full { at: 0 }, || store.set_pin(MODULE, pin_of(&generation("one"))));
        assert_eq!(set.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((store.pin(MODULE), store.is_saved(MODULE)), (pin_of(&generation("one")), false));
        assert_eq!(store.unsaved(), [MODULE]);
        assert_eq!(GenerationStore::new(&state).pin(MODULE), None, "a restart does not find it yet");
        // Saving a generation writes the index, and the pin with it.
        save_all(&store, &["three"]);
        assert!(store.is_saved(MODULE) && store.unsaved().is_empty());
        assert_eq!(GenerationStore::new(&state).pin(MODULE), pin_of(&generation("one")));
    }
}
