//! The steps of writing a file. A test can make each of them fail.

#[cfg(not(test))]
use std::io;
#[cfg(not(test))]
use std::path::Path;

/// A step of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    MakeFolder,
    Create,
    Write,
    SyncFile,
    Rename,
    SyncFolder,
}

/// Called before each step.
#[cfg(not(test))]
#[inline]
pub fn step(_: Step, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub use super::faults::step;
