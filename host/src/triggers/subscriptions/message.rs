//! A message of a source.

use std::sync::Arc;

use crate::call::Payload;

/// The bytes that a message counts in a queue besides its texts.
const OVERHEAD: u64 = 256;

/// A message of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The type of the event, or the channel or stream.
    pub topic: Arc<str>,
    /// The position, if the source has positions.
    pub id: Option<Arc<str>>,
    pub payload: Payload,
}

/// The payload for the bytes of a broker: text if they are UTF-8.
pub fn payload_of(bytes: &[u8]) -> Payload {
    match std::str::from_utf8(bytes) {
        Ok(text) => Payload::Text(text.to_owned()),
        Err(_) => Payload::Bytes(bytes.to_vec()),
    }
}

impl Message {
    /// The bytes that it counts in a queue.
    pub fn size(&self) -> u64 {
        (self.payload.len() + self.topic.len() + self.id.as_ref().map_or(0, |id| id.len())) as u64 + OVERHEAD
    }
}
