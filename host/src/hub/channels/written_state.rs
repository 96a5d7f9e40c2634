//! What the home of a channel knows of its history in the stream of the cluster.

use std::time::Instant;

use crate::call::RecordPlaces;

/// What this node knows of a channel's history in the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Written {
    /// Nothing.
    #[default]
    Unread,
    /// Another node may have written since this one has read it.
    Doubtful,
    /// All of it.
    Read(ReadHistory),
}

/// A history that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadHistory {
    pub places: RecordPlaces,
    /// When this node has read it for the first time. `None` after it has read it again, or has
    /// written itself.
    pub first_read: Option<Instant>,
}
