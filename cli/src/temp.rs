//! Folders that are gone with the command.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that only we can read, gone when it is dropped.
#[derive(Debug)]
pub struct Temp(PathBuf);

impl Temp {
    pub fn new() -> Result<Temp, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let above = std::env::temp_dir();
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let dir = above.join(format!("fanfare-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => return Ok(Temp(dir)),
                // Of a process that ended before it could remove it.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 1_000 => {}
                Err(error) => return Err(format!("{}: no folder can be made there: {error}", above.display())),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
