//! The lock of `stateDir`, so that a second host cannot overwrite the pins of the first one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::files::{PRIVATE, make_private};

/// The file that is locked. It names the host that has locked it last.
const FILE: &str = "lock";

/// The most bytes of the file that are read.
const MOST: u64 = 1_024;

/// A locked folder. Drop unlocks it.
pub(super) struct StateLock(File);

/// A child process that is about to start has a copy of the file, which would keep the lock for as
/// long as it is open.
impl Drop for StateLock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "could not unlock stateDir; it is locked until this process ends");
        }
    }
}

/// Locks a folder. `None` if the file cannot be made: a host that cannot write the folder
/// overwrites nothing either. Fails with the name of the host that has locked it.
pub(super) fn lock(state_dir: &Path, node: &str) -> Result<Option<StateLock>, String> {
    let path = state_dir.join(FILE);
    let open = || {
        make_private(state_dir)?;
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(PRIVATE).open(&path)
    };
    let unlocked = |error: io::Error| {
        let path = path.display();
        match error.kind() {
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {}
            _ => tracing::warn!(%path, %error, "could not lock stateDir; give no other host this folder"),
        }
        Ok(None)
    };
    let mut file = match open() {
        Ok(file) => file,
        Err(error) => return unlocked(error),
    };
    match file.try_lock() {
        Ok(()) => {
            let holder = format!("{node} (process {})", std::process::id());
            // Only another host's error names the holder.
            _ = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
            Ok(Some(StateLock(file)))
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            _ = file.take(MOST).read_to_string(&mut holder);
            Err(holder)
        }
        Err(TryLockError::Error(error)) => unlocked(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_file_in_a_child_process_does_not_keep_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path(), "a").unwrap().unwrap();
        let copy = held.0.try_clone().unwrap();
        let holder = lock(dir.path(), "b").err().unwrap();
        assert!(holder.starts_with("a (process "), "{holder}");
        drop(held);
        assert!(lock(dir.path(), "b").unwrap().is_some());
        drop(copy);
    }
}
