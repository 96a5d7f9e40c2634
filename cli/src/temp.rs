//! Temporary folders of a command.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tempfile::{Builder, TempDir};

/// Creates a folder that only this user can read. Dropping it removes the folder.
pub fn folder() -> Result<TempDir, String> {
    let made = Builder::new().prefix("fanfare-").permissions(Permissions::from_mode(0o700)).tempdir();
    made.map_err(|error| format!("cannot create a temporary folder: {error}"))
}
