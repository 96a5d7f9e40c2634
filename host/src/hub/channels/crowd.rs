//! When the number of many members is announced.

use std::time::{Duration, Instant};

use serde::Serialize;

/// From this number of members on, only their number is announced.
pub const CROWD: usize = 1_000;

/// The time between two announcements of a number.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// When the number of many members was announced.
#[derive(Default)]
pub struct Crowd {
    pub announced: Option<Instant>,
    /// Whether the number has changed since.
    pub is_due: bool,
    /// Whether the channel is in the list of those whose number is to be announced.
    pub is_listed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Join,
    Leave,
}
