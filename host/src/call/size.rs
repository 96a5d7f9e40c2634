//! The largest sizes of payloads.

use std::fmt::Display;

use super::CallError;

/// Checks the size of something that a guest or the embedding program sends. `setting` names the
/// limit `most`.
pub fn check(what: &str, size: usize, most: u64, setting: impl Display) -> Result<(), CallError> {
    if size as u64 <= most {
        return Ok(());
    }
    Err(CallError::Invalid(format!("{what} has {size} bytes, but {setting} allows {most}")))
}
