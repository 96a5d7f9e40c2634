//! The last generations of each module that served, for a rollback and for a start that finds something broken.
//!
//! `<stateDir>/generations/<module>/` has `index.json`, and for each generation `<digest>.json` (its manifest) and
//! `<digest>.wasm` (its component). Every file appears whole or not at all.

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

/// How many generations of a module are kept, with the one that serves.
pub const KEPT: usize = 3;

const INDEX: &str = "index.json";

/// Why a kept generation cannot be loaded again.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error("generation {generation} cannot be read: {source}")]
    Unreadable { generation: String, source: ReadError },
    /// Its files have changed since they were written.
    #[error("generation {generation} is not what was kept")]
    Changed { generation: String },
    /// This version of the host rejects its manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// The folder of kept generations, and the pins, which hold even while the folder cannot be
/// written.
#[derive(Debug)]
pub struct Kept {
    dir: PathBuf,
    /// By module, once known. What is here counts, not what the folder says.
    pins: Mutex<HashMap<String, Known>>,
    /// Held while an index is read, changed and written.
    writing: Mutex<()>,
}

/// The pin of a module.
#[derive(Debug, Clone)]
struct Known {
    pin: Option<Pin>,
    /// Whether a restart finds it.
    saved: bool,
}

/// What is kept of one module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Index {
    /// Digests, the one that served last first.
    good: Vec<String>,
    pinned: Option<Pin>,
}

/// What a rollback leaves behind: the generation that serves until the module's folder changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// The digest of the generation.
    pub generation: String,
    /// What was in the folder then: see [`folder_digest`].
    pub folder: String,
}

impl Kept {
    pub fn new(state_dir: &Path) -> Kept {
        Kept { dir: state_dir.join("generations"), pins: Mutex::default(), writing: Mutex::default() }
    }

    fn of(&self, module: &str) -> PathBuf {
        self.dir.join(module)
    }

    /// What is kept of a module. An index that is no JSON counts as empty, one that cannot be read
    /// is an error.
    fn index(&self, module: &str) -> io::Result<Index> {
        let mut index: Index = match files::read(&self.of(module).join(INDEX), source::MAX_BYTES) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Index::default(),
            Err(ReadError::Io(error)) => return Err(error),
            Err(error) => return Err(io::Error::other(error)),
        };
        let mut pins = self.pins.lock();
        match pins.get(module) {
            Some(known) => index.pinned = known.pin.clone(),
            None => drop(pins.insert(module.to_owned(), Known { pin: index.pinned.clone(), saved: true })),
        }
        Ok(index)
    }

    /// Makes this what a restart finds, pin included.
    fn write(&self, module: &str, index: &Index) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(index).map_err(io::Error::other)?;
        make_private(&self.of(module))?;
        write_durable(&self.of(module).join(INDEX), &text, PRIVATE)?;
        if let Some(known) = self.pins.lock().get_mut(module).filter(|known| known.pin == index.pinned) {
            known.saved = true;
        }
        self.trim(module, index);
        Ok(())
    }

    /// The digests of a module's kept generations, the one that served last first.
    pub fn generations(&self, module: &str) -> Vec<String> {
        self.index(module).unwrap_or_default().good
    }

    /// The same with the pinned one before all others: it has served after them.
    pub fn last_served(&self, module: &str) -> Vec<String> {
        let Index { good, pinned } = self.index(module).unwrap_or_default();
        let pinned = pinned.map(|pin| pin.generation);
        let others = good.into_iter().filter(|digest| Some(digest) != pinned.as_ref());
        pinned.iter().cloned().chain(others).collect()
    }

    /// Puts a generation that serves before the others, and drops the oldest beyond [`KEPT`] but for the pinned one.
    pub fn keep(&self, candidate: &Candidate) -> io::Result<()> {
        let Candidate { manifest, component, digest, .. } = candidate;
        self.keep_files(&manifest.name, digest, component, &manifest.digest_bytes)
    }

    fn keep_files(&self, module: &str, digest: &str, component: &[u8], manifest: &[u8]) -> io::Result<()> {
        let _writing = self.writing.lock();
        let mut index = self.index(module)?;
        if index.good.first().is_some_and(|first| first == digest) {
            return Ok(());
        }
        make_private(&self.of(module))?;
        let (manifest_file, component_file) = self.files(module, digest);
        write_durable(&component_file, component, PRIVATE)?;
        write_durable(&manifest_file, manifest, PRIVATE)?;
        index.good.retain(|kept| kept != digest);
        index.good.insert(0, digest.to_owned());
        index.good.truncate(KEPT);
        self.write(module, &index)
    }

    /// Removes the files of generations that are kept no more, and what a killed host left half-written.
    fn trim(&self, module: &str, index: &Index) {
        for entry in fs::read_dir(self.of(module)).into_iter().flatten().flatten() {
            let path = entry.path();
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let pinned = index.pinned.as_ref().is_some_and(|pin| pin.generation == stem);
            if entry.file_name() != INDEX && !pinned && !index.good.contains(&stem) {
                // What stays is tried again the next time.
                let _ = fs::remove_file(path);
            }
        }
    }

    fn files(&self, module: &str, digest: &str) -> (PathBuf, PathBuf) {
        let file = |extension: &str| self.of(module).join(format!("{digest}.{extension}"));
        (file("json"), file("wasm"))
    }

    /// The manifest of a kept generation, whose component is the kept one, of at most `most` bytes.
    pub fn manifest(
        &self,
        module_dir: &Path,
        module: &str,
        generation: &str,
        most: u64,
    ) -> Result<Manifest, KeptError> {
        let (manifest, component) = self.files(module, generation);
        let lost = |source| KeptError::Unreadable { generation: short(generation).to_owned(), source };
        let text = files::read(&manifest, source::MAX_BYTES).map_err(lost)?;
        if digest(&files::digest(&component, most).map_err(lost)?, &text) != generation {
            return Err(KeptError::Changed { generation: short(generation).to_owned() });
        }
        let text = String::from_utf8(text).map_err(|error| lost(io::Error::other(error).into()))?;
        let manifest = Manifest::from_text(module_dir, &text)?;
        Ok(Manifest { component, ..manifest })
    }

    pub fn pin(&self, module: &str) -> Option<Pin> {
        let known = self.pins.lock().get(module).cloned();
        match known {
            Some(known) => known.pin,
            None => self.index(module).unwrap_or_default().pinned,
        }
    }

    /// Pins a generation, or nothing. It holds in this process even when this fails;
    /// [`Kept::save_pin`] tries again.
    pub fn set_pin(&self, module: &str, pin: Option<Pin>) -> io::Result<()> {
        if self.pin(module) == pin && self.is_saved(module) {
            return Ok(());
        }
        self.pins.lock().insert(module.to_owned(), Known { pin, saved: false });
        self.save_pin(module)
    }

    /// Writes the pin of a module, unless that is done.
    pub fn save_pin(&self, module: &str) -> io::Result<()> {
        let _writing = self.writing.lock();
        if self.is_saved(module) {
            return Ok(());
        }
        let index = self.index(module)?;
        self.write(module, &index)
    }

    /// Whether stateDir says what holds now: the pin, or no pin.
    pub fn is_saved(&self, module: &str) -> bool {
        self.pins.lock().get(module).is_none_or(|known| known.saved)
    }

    /// The modules whose pin a restart does not find.
    pub fn unsaved(&self) -> Vec<String> {
        self.pins.lock().iter().filter(|(_, known)| !known.saved).map(|(module, _)| module.clone()).collect()
    }
}

/// What is in a module's folder, whether it can be loaded or not. Of a component larger than `most`
/// only the size counts, since it is refused for that.
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

    const MODULE: &str = "kept";

    /// A generation: its digest, component and manifest.
    struct Made(String, Vec<u8>, &'static [u8]);

    fn made(component: &str) -> Made {
        let manifest = br#"{ "component": "kept.wasm" }"#;
        let component = component.as_bytes().to_vec();
        Made(digest(&files::digest_of(&mut component.as_slice()).unwrap(), manifest), component, manifest)
    }

    impl Kept {
        fn keep_made(&self, Made(digest, component, manifest): &Made) -> io::Result<()> {
            self.keep_files(MODULE, digest, component, manifest)
        }
    }

    /// What a start finds: the pin, and the generations to go back to, each of which loads.
    fn found(state: &Path) -> (Option<Pin>, Vec<String>) {
        let kept = Kept::new(state);
        let served = kept.last_served(MODULE);
        for digest in &served {
            kept.manifest(Path::new("/kept"), MODULE, digest, 1024).unwrap();
        }
        (kept.pin(MODULE), served)
    }

    /// Lets every step of a change fail in every way: the next start finds what was before it, or
    /// what is after it.
    fn whatever_fails(prepare: impl Fn(&Kept), change: impl Fn(&Kept) -> io::Result<()>) {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        let fresh = || {
            let _ = fs::remove_dir_all(&state);
            let kept = Kept::new(&state);
            prepare(&kept);
            (Kept::new(&state), found(&state))
        };
        let (kept, before) = fresh();
        change(&kept).unwrap();
        let after = found(&state);
        assert_ne!(before, after);
        for fault in [|at| Fault::Full { at }, |at| Fault::PowerCut { at }] {
            for at in 0.. {
                let (kept, _) = fresh();
                let (changed, happened) = with(fault(at), || change(&kept));
                if !happened {
                    assert!(at > 3, "it writes something");
                    changed.unwrap();
                    assert_eq!(found(&state), after, "what was done stays, even when the power goes then");
                    break;
                }
                changed.unwrap_err();
                let found = found(&state);
                assert!(found == before || found == after, "{:?}: {found:?}", fault(at));
                // The pin holds without the disk, and is written when that has room.
                if let Fault::Full { .. } = fault(at) {
                    assert!(kept.pin(MODULE) == after.0 || kept.pin(MODULE) == before.0);
                    kept.unsaved().iter().for_each(|module| kept.save_pin(module).unwrap());
                    assert_eq!(Kept::new(&state).pin(MODULE), kept.pin(MODULE));
                }
            }
        }
        fs::remove_dir_all(&state).unwrap();
    }

    fn pin_of(Made(digest, ..): &Made) -> Option<Pin> {
        Some(Pin { generation: digest.clone(), folder: "folder".to_owned() })
    }

    fn keep_all(kept: &Kept, components: &[&str]) {
        components.iter().for_each(|component| kept.keep_made(&made(component)).unwrap());
    }

    #[test]
    fn whatever_fails_when_the_first_generation_is_kept_a_start_finds_it_or_none() {
        whatever_fails(|_| {}, |kept| kept.keep_made(&made("one")));
    }

    #[test]
    fn whatever_fails_when_a_generation_takes_the_place_of_another_a_start_finds_one_of_them() {
        whatever_fails(|kept| keep_all(kept, &["one", "two", "three"]), |kept| kept.keep_made(&made("four")));
    }

    #[test]
    fn whatever_fails_when_a_pin_is_set_or_removed_a_start_finds_the_one_or_the_other() {
        let pinned = |kept: &Kept| {
            keep_all(kept, &["one", "two", "three"]);
            kept.set_pin(MODULE, pin_of(&made("one"))).unwrap();
        };
        let set = |kept: &Kept| kept.set_pin(MODULE, pin_of(&made("two")));
        whatever_fails(|kept| keep_all(kept, &["one", "two"]), set);
        whatever_fails(pinned, set);
        whatever_fails(pinned, |kept| kept.set_pin(MODULE, None));
        let beyond = |kept: &Kept| {
            pinned(kept);
            keep_all(kept, &["four"]);
        };
        whatever_fails(beyond, |kept| kept.set_pin(MODULE, None));
    }

    #[test]
    fn a_pin_holds_while_it_cannot_be_written() {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        let kept = Kept::new(&state);
        keep_all(&kept, &["one", "two"]);
        let (set, _) = with(Fault::Full { at: 0 }, || kept.set_pin(MODULE, pin_of(&made("one"))));
        assert_eq!(set.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((kept.pin(MODULE), kept.is_saved(MODULE)), (pin_of(&made("one")), false));
        assert_eq!(kept.unsaved(), [MODULE]);
        assert_eq!(Kept::new(&state).pin(MODULE), None, "a restart does not find it yet");
        // What else is written takes it along.
        keep_all(&kept, &["three"]);
        assert!(kept.is_saved(MODULE) && kept.unsaved().is_empty());
        assert_eq!(Kept::new(&state).pin(MODULE), pin_of(&made("one")));
    }
}
