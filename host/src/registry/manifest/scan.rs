//! Finds the modules in a folder.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::check::name_of;
use super::model::{Manifest, ManifestError};
use super::raw::FILE_NAME;
use crate::document::{Fault, KeyPath};
use crate::files::{self, NotAFile};

/// A folder with a `module.json`.
#[derive(Debug, Clone)]
pub struct ModuleFolder {
    /// The folder's name.
    pub name: String,
    pub dir: PathBuf,
    pub state: FolderState,
}

/// Whether the module in a folder can be loaded.
#[derive(Debug, Clone)]
pub enum FolderState {
    /// The manifest is valid and the component exists.
    Ready(Box<Manifest>),
    /// The manifest is valid and the component does not exist yet.
    Waiting(Box<Manifest>),
    /// The manifest has faults, or the component is not a readable file.
    Refused(ManifestError),
}

/// Returns the name of every module below `modules_dir`, sorted.
pub fn folder_names(modules_dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(modules_dir)? {
        let dir = entry?.path();
        let name = name_of(&dir);
        if is_scanned(&name) && is_module(&dir) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Whether the host looks for a module in a folder with this name. It ignores names that start with
/// `.` or `_`. It does look into folders with other invalid names, so that it can report them.
pub fn is_scanned(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['.', '_']) && !name.contains('/')
}

/// Whether a folder has a `module.json`. A folder that cannot be read counts as a module, so that
/// the host reports it.
pub fn is_module(dir: &Path) -> bool {
    match std::fs::metadata(dir.join(FILE_NAME)) {
        Ok(_) => true,
        // No folder can have a name that is too long or has a NUL.
        Err(error) => !matches!(
            error.kind(),
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename | ErrorKind::InvalidInput
        ),
    }
}

/// Returns every module below `modules_dir`, sorted by name.
pub fn scan(modules_dir: &Path) -> io::Result<Vec<ModuleFolder>> {
    Ok(folder_names(modules_dir)?.iter().map(|name| read_folder(&modules_dir.join(name))).collect())
}

/// Reads the module in one folder, whatever the folder's name.
pub fn read_folder(dir: &Path) -> ModuleFolder {
    let state = match Manifest::load(dir) {
        Ok(manifest) => match files::check_regular(&manifest.component) {
            Ok(()) => FolderState::Ready(Box::new(manifest)),
            Err(error) if error.kind() == ErrorKind::NotFound => FolderState::Waiting(Box::new(manifest)),
            Err(error) => FolderState::Refused(unusable(&manifest, &error)),
        },
        Err(error) => FolderState::Refused(error),
    };
    ModuleFolder { name: name_of(dir), dir: dir.to_owned(), state }
}

/// The fault of a component that exists but cannot be read as a file.
fn unusable(manifest: &Manifest, error: &io::Error) -> ManifestError {
    let key = KeyPath::of(&["component"]);
    let what = if NotAFile::caused(error) { error.to_string() } else { format!("cannot be read: {error}") };
    let message = format!("{} {what}: put a readable component file there", manifest.component.display());
    ManifestError { faults: Fault::new(&manifest.source.nearest(&key).origin, key, message).into() }
}
