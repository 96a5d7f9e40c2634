//! What a client learns about a module that restarts.

use std::time::Duration;

/// A module restarts in every worker after crashes.
pub struct RestartNotice {
    /// For people: why, and when the next instance starts.
    pub detail: String,
    /// The time until the next instance starts.
    pub wait: Duration,
}
