//! What a node knows of a channel whose messages get their places from another node.

use std::sync::Arc;

use crate::call::ChannelMessage;

/// How this node follows the home of a channel.
#[derive(Default)]
pub struct Replica {
    /// The home, if this node has learned of it.
    pub home: Option<Arc<str>>,
    /// Whether the epoch and the last number are those of a home.
    pub is_known: bool,
    /// Whether the home is being asked for what is missing. Messages are held meanwhile.
    pub is_mending: bool,
    /// Whether it has to be asked again, because something else is missing.
    pub again: bool,
    pub held: Vec<(u64, ChannelMessage)>,
}
