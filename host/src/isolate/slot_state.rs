//! Whether a module can run calls in an isolate.

use std::time::{Duration, Instant};

/// Whether a module can run calls in an isolate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotState {
    /// The first instance is starting. Calls wait.
    Starting,
    Ready,
    /// An instance has ended, and the next one starts at `next`. Calls wait.
    Restarting {
        why: String,
        next: Instant,
    },
    /// Instances crashed too often. No call runs here until a reload.
    Failed {
        why: String,
    },
}

impl SlotState {
    pub fn as_str(&self) -> &'static str {
        match self {
            SlotState::Starting => "starting",
            SlotState::Ready => "ready",
            SlotState::Restarting { .. } => "restarting",
            SlotState::Failed { .. } => "failed",
        }
    }

    /// Why the last instance ended, when the slot is restarting or failed.
    pub fn why(&self) -> Option<&str> {
        match self {
            SlotState::Restarting { why, .. } | SlotState::Failed { why } => Some(why),
            SlotState::Starting | SlotState::Ready => None,
        }
    }

    /// How long the slot still waits before it starts the next instance, when it is restarting.
    pub fn restarts_in(&self) -> Option<Duration> {
        match self {
            SlotState::Restarting { next, .. } => Some(next.saturating_duration_since(Instant::now())),
            SlotState::Starting | SlotState::Ready | SlotState::Failed { .. } => None,
        }
    }
}
