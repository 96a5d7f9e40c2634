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

/// The places of the last records of a channel in its stream, the newest first. Each record has
/// those of the previous ones, so that a reader gets several at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordPlaces(pub Vec<u64>);

impl RecordPlaces {
    /// The most places that are known.
    const MOST: usize = 16;

    /// The place of the last record, or zero for a channel without one.
    pub fn last(&self) -> u64 {
        self.0.first().copied().unwrap_or_default()
    }

    /// The places after a further record was written.
    pub fn with(&self, place: u64) -> RecordPlaces {
        RecordPlaces(std::iter::once(place).chain(self.0.iter().copied()).take(RecordPlaces::MOST).collect())
    }
}

/// What the stream has of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrittenChannel {
    /// The last records. Empty if the stream has none.
    pub places: RecordPlaces,
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
