//! The folders that may be modules, as the watcher sees them.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::registry::manifest::{self, is_scanned};

/// A folder's modification time proves that nothing was added since only when it is at least this
/// old, because the clocks of file systems are coarse.
const MTIME_PRECISION: Duration = Duration::from_secs(3);

/// Identifies a folder: device, inode, and the time of creation where it is known. An inode alone
/// is not enough, because a file system reuses the inodes of deleted folders.
pub type FolderId = (u64, u64, Option<SystemTime>);

/// Folders without a `module.json`, by name, with the time of their last change.
pub type EmptyFolders = HashMap<String, (FolderId, SystemTime)>;

/// A folder that may be a module.
pub struct FolderEntry {
    pub name: String,
    pub path: PathBuf,
    /// The folder's identity, and when an entry was last added to it or removed from it. `None`
    /// when the folder cannot be read.
    pub folder: Option<(FolderId, SystemTime)>,
}

/// Lists the folders in this one that may be modules: folders, links to folders, and entries that
/// cannot be read.
pub fn entries(dir: &Path) -> io::Result<Vec<FolderEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_scanned(&name) || entry.file_type().is_ok_and(|kind| !kind.is_dir() && !kind.is_symlink()) {
            continue;
        }
        let path = entry.path();
        let folder = match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => Some((id_of(&meta), meta.modified().unwrap_or_else(|_| SystemTime::now()))),
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => None,
        };
        entries.push(FolderEntry { name, path, folder });
    }
    Ok(entries)
}

fn id_of(meta: &fs::Metadata) -> FolderId {
    (meta.dev(), meta.ino(), meta.created().ok())
}

/// Whether a folder without `module.json` gets a new modification time when it gets one. A dangling
/// link does not: its target may appear without a change of the folder.
pub fn stays_empty(path: &Path, changed: SystemTime) -> bool {
    let is_old = SystemTime::now().duration_since(changed).is_ok_and(|age| age > MTIME_PRECISION);
    let is_missing = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
    is_old && fs::symlink_metadata(path.join(manifest::FILE_NAME)).is_err_and(is_missing)
}

/// The folder, or its nearest ancestor that exists.
pub fn nearest(mut folder: PathBuf) -> Option<(FolderId, PathBuf)> {
    loop {
        match fs::metadata(&folder) {
            Ok(meta) if meta.is_dir() => return Some((id_of(&meta), folder)),
            _ if !folder.pop() => return None,
            _ => {}
        }
    }
}
