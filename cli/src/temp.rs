//! Temporary folders of a command.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tempfile::{Builder, TempDir};

use super::error::CommandError;

/// Creates a folder that only this user can read. Dropping it removes the folder.
pub fn folder() -> Result<TempDir, CommandError> {
    let folder = Builder::new().prefix("fanfare-").permissions(Permissions::from_mode(0o700)).tempdir();
    folder.map_err(CommandError::TemporaryFolder)
}
