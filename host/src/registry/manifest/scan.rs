//! Which modules there are.

use std::io;
use std::path::{Path, PathBuf};

use super::{FILE_NAME, Manifest, ManifestError};

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

/// The name of every module below `modules_dir`, sorted. Folders without `module.json`, or whose name starts with `.` or `_`, are
/// none.
pub fn folders(modules_dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(modules_dir)? {
        let dir = entry?.path();
        let name = name_of(&dir);
        if !name.starts_with(['.', '_']) && dir.join(FILE_NAME).exists() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Every module below `modules_dir`, by name.
pub fn scan(modules_dir: &Path) -> io::Result<Vec<Scanned>> {
    Ok(folders(modules_dir)?.iter().map(|name| look(&modules_dir.join(name))).collect())
}

/// One folder, whatever its name.
pub fn look(dir: &Path) -> Scanned {
    let found = match Manifest::load(dir) {
        Ok(manifest) if manifest.has_component() => Found::Ready(Box::new(manifest)),
        Ok(manifest) => Found::Waiting(Box::new(manifest)),
        Err(error) => Found::Refused(error),
    };
    Scanned { name: name_of(dir), dir: dir.to_owned(), found }
}

/// The folder's name, which is the module's.
pub(super) fn name_of(dir: &Path) -> String {
    let full = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let full: PathBuf = full.components().collect();
    full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
