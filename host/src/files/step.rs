//! The steps of a write. A test can make each of them fail.

#[cfg(not(test))]
use std::io;
#[cfg(not(test))]
use std::path::Path;

/// A step of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    MakeFolder,
    Create,
    Write,
    SyncFile,
    Rename,
    SyncFolder,
}

/// Runs before each step. Does nothing outside tests.
#[cfg(not(test))]
#[inline]
pub fn step(_: Step, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub use super::faults::step;
