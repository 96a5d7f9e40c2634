//! Folders that are removed with the command.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tempfile::{Builder, TempDir};

/// A folder that only we can read, removed when it is dropped.
pub fn folder() -> Result<TempDir, String> {
    let made = Builder::new().prefix("fanfare-").permissions(Permissions::from_mode(0o700)).tempdir();
    made.map_err(|error| format!("no temporary folder can be made: {error}"))
}
