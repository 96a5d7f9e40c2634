//! The history of a channel in a stream of the cluster.

use super::{CallError, ChannelMessage};

/// Messages of a channel that are written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRecord {
    /// That of the positions of the messages.
    pub epoch: u64,
    /// In order, without gaps. At least one.
    pub messages: Vec<ChannelMessage>,
}

/// What the stream has of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrittenChannel {
    /// The place of the last record in the stream. Zero if it has none.
    pub last: u64,
    /// The newest messages. `None` if the stream has none.
    pub record: Option<ChannelRecord>,
}

/// Why a record was not written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// Another node has written a record meanwhile. The stream does not have this one.
    #[error("another node has written to the history of this channel")]
    Overtaken,
    /// The stream may have it.
    #[error("the history may have the message: {0}")]
    Unknown(String),
    /// The stream does not have it.
    #[error(transparent)]
    Refused(#[from] CallError),
}
