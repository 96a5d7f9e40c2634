//! Threads of crates that panic without them.

use fanfare::StartError;
use fanfare::tooling::blocking::check_thread;

/// Fails if the system allows no further thread.
pub fn check() -> Result<(), StartError> {
    check_thread().map_err(StartError::Worker)
}
