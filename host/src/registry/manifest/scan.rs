//! Which modules there are.

use std::io;
use std::path::{Path, PathBuf};

use super::check::name_of;
use super::model::{Manifest, ManifestError};
use super::raw::FILE_NAME;
use crate::document::{Fault, KeyPath};
use crate::files::{self, Irregular};

/// A folder with a `module.json`.
#[derive(Debug, Clone)]
pub struct Scanned {
    /// The folder's name.
    pub name: String,
    pub dir: PathBuf,
    pub found: Found,
}

/// What is in it.
#[derive(Debug, Clone)]
pub enum Found {
    /// Manifest and component are there.
    Ready(Box<Manifest>),
    /// The component is not there yet.
    Waiting(Box<Manifest>),
    /// The manifest is faulty.
    Refused(ManifestError),
}

/// The name of every module below `modules_dir`, sorted.
pub fn folders(modules_dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(modules_dir)? {
        let dir = entry?.path();
        let name = name_of(&dir);
        if is_candidate(&name) && is_module(&dir) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Whether a folder of this name can be a module: those that start with `.` or `_` are left alone.
/// Names that no module may have can, so that they are refused by name.
pub fn is_candidate(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['.', '_']) && !name.contains('/')
}

/// Whether a folder has a `module.json`. One that cannot be looked into is taken for a module, so
/// that it is refused by name.
pub fn is_module(dir: &Path) -> bool {
    match std::fs::metadata(dir.join(FILE_NAME)) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// Every module below `modules_dir`, by name.
pub fn scan(modules_dir: &Path) -> io::Result<Vec<Scanned>> {
    Ok(folders(modules_dir)?.iter().map(|name| look(&modules_dir.join(name))).collect())
}

/// One folder, whatever its name.
pub fn look(dir: &Path) -> Scanned {
    let found = match Manifest::load(dir) {
        Ok(manifest) => match files::check_regular(&manifest.component) {
            Ok(()) => Found::Ready(Box::new(manifest)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Waiting(Box::new(manifest)),
            Err(error) => Found::Refused(unusable(&manifest, &error)),
        },
        Err(error) => Found::Refused(error),
    };
    Scanned { name: name_of(dir), dir: dir.to_owned(), found }
}

/// The component exists, and cannot be opened as a file.
fn unusable(manifest: &Manifest, error: &io::Error) -> ManifestError {
    let key = KeyPath::of(&["component"]);
    let what = if Irregular::is(error) { error.to_string() } else { format!("cannot be read: {error}") };
    let message = format!("{} {what}: put a readable component file there", manifest.component.display());
    ManifestError { faults: Fault::new(&manifest.source.nearest(&key).origin, key, message).into() }
}
