//! The last generations of each module that served, for a rollback and for a start that finds something broken.
//!
//! `<stateDir>/generations/<module>/` has `index.json`, and for each generation `<digest>.json` (its manifest) and
//! `<digest>.wasm` (its component). Every file appears whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::loader::digest;
use super::manifest::{FILE_NAME, Manifest};
use super::{Candidate, short};
use crate::engine::cache::{PRIVATE, hex, make_private, write_whole};

/// How many generations of a module are kept, with the one that serves.
pub const KEPT: usize = 3;

const INDEX: &str = "index.json";

/// The folder of kept generations.
#[derive(Debug, Clone)]
pub struct Kept {
    dir: PathBuf,
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
        Kept { dir: state_dir.join("generations") }
    }

    fn of(&self, module: &str) -> PathBuf {
        self.dir.join(module)
    }

    /// An index that cannot be read is none.
    fn index(&self, module: &str) -> Index {
        let text = fs::read(self.of(module).join(INDEX)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn write(&self, module: &str, index: &Index) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(index).map_err(io::Error::other)?;
        write_whole(&self.of(module).join(INDEX), &text, PRIVATE)
    }

    /// The digests of a module's kept generations, the one that served last first.
    pub fn generations(&self, module: &str) -> Vec<String> {
        self.index(module).good
    }

    /// The same with the pinned one before all others: it has served after them.
    pub fn last_served(&self, module: &str) -> Vec<String> {
        let Index { good, pinned } = self.index(module);
        let pinned = pinned.map(|pin| pin.generation);
        let others = good.into_iter().filter(|digest| Some(digest) != pinned.as_ref());
        pinned.iter().cloned().chain(others).collect()
    }

    /// Puts a generation that serves before the others, and drops the oldest beyond [`KEPT`] but for the pinned one.
    pub fn keep(&self, candidate: &Candidate) -> io::Result<()> {
        let module = &candidate.manifest.name;
        let mut index = self.index(module);
        if index.good.first() == Some(&candidate.digest) {
            return Ok(());
        }
        make_private(&self.of(module))?;
        let (manifest, component) = self.files(module, &candidate.digest);
        write_whole(&component, &candidate.component, PRIVATE)?;
        write_whole(&manifest, &candidate.manifest.digest_bytes, PRIVATE)?;
        index.good.retain(|digest| *digest != candidate.digest);
        index.good.insert(0, candidate.digest.clone());
        index.good.truncate(KEPT);
        self.write(module, &index)?;
        self.trim(module, &index);
        Ok(())
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

    /// The manifest of a kept generation, whose component is the kept one; or why it cannot be taken.
    pub fn manifest(&self, module_dir: &Path, module: &str, generation: &str) -> Result<Manifest, String> {
        let (manifest, component) = self.files(module, generation);
        let lost = |error: io::Error| format!("generation {} cannot be read: {error}", short(generation));
        let text = fs::read_to_string(&manifest).map_err(lost)?;
        let bytes = fs::read(&component).map_err(lost)?;
        if digest(&hex(&Sha256::digest(&bytes)), text.as_bytes()) != generation {
            return Err(format!("generation {} is not what was kept", short(generation)));
        }
        let manifest = Manifest::from_text(module_dir, &text).map_err(|error| error.to_string())?;
        Ok(Manifest { component, ..manifest })
    }

    pub fn pin(&self, module: &str) -> Option<Pin> {
        self.index(module).pinned
    }

    /// Pins a generation, or nothing.
    pub fn set_pin(&self, module: &str, pin: Option<Pin>) -> io::Result<()> {
        let index = self.index(module);
        if index.pinned == pin {
            return Ok(());
        }
        make_private(&self.of(module))?;
        let index = Index { pinned: pin, ..index };
        self.write(module, &index)?;
        self.trim(module, &index);
        Ok(())
    }
}

/// What is in a module's folder, whether it can be loaded or not.
pub fn folder_digest(dir: &Path) -> String {
    // A pipe would wait for its writer.
    let read = |path: &Path| if path.is_file() { fs::read(path).ok() } else { None };
    let text = read(&dir.join(FILE_NAME)).unwrap_or_default();
    let component = Manifest::load(dir).ok().and_then(|manifest| read(&manifest.component));
    digest(&component.map(|bytes| hex(&Sha256::digest(&bytes))).unwrap_or_default(), &text)
}
