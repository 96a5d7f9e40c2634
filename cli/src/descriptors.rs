//! The limit of file descriptors of this program and of the commands that it starts.

use std::sync::OnceLock;

/// The soft limit that the program was started with, if [`raise_limit`] changed it.
static ORIGINAL: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit of this program, so that the host can serve more connections.
pub fn raise_limit() {
    if let Some(previous) = fanfare::raise_descriptor_limit() {
        _ = ORIGINAL.set(previous);
    }
}

/// Returns the soft limit for child processes: the one the program was started with, or `None` if
/// [`raise_limit`] did not change it.
pub fn original_limit() -> Option<u64> {
    ORIGINAL.get().copied()
}
