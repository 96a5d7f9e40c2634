//! A message of a channel, as the hub sends and keeps it.

use std::sync::Arc;

use bytes::Bytes;

use super::super::message::{Encoding, Message, Position};
use crate::call::{ChannelMessage, ChannelPosition, Payload};

/// The bytes of memory of a message besides its payload and its channel's name.
const BASE: usize = 64;

/// Encodes the messages of channels for clients.
pub trait EncodeChannel: Send + Sync {
    /// The position is `None` if the channel keeps no history. `envelope` says whether clients with
    /// plain WebSockets want the name of the channel.
    fn encode(
        &self,
        channel: &str,
        message: &ChannelMessage,
        position: Option<ChannelPosition>,
        envelope: bool,
        encoding: Encoding,
    ) -> Bytes;
}

/// Encodes nothing, for a host whose clients have no channels.
impl EncodeChannel for () {
    fn encode(&self, _: &str, _: &ChannelMessage, _: Option<ChannelPosition>, _: bool, _: Encoding) -> Bytes {
        Bytes::new()
    }
}

/// A message with its place.
pub struct PlacedMessage {
    pub channel: Arc<str>,
    pub message: ChannelMessage,
    /// `None` if the channel keeps no history.
    pub position: Option<ChannelPosition>,
    pub envelope: bool,
    pub encoder: Arc<dyn EncodeChannel>,
}

impl PlacedMessage {
    /// The same message with another payload, for one member.
    pub fn with(&self, payload: Payload) -> PlacedMessage {
        let ChannelMessage { offset, at, ref session, .. } = self.message;
        PlacedMessage {
            channel: self.channel.clone(),
            message: ChannelMessage { offset, at, session: session.clone(), payload },
            position: self.position,
            envelope: self.envelope,
            encoder: self.encoder.clone(),
        }
    }
}

impl Message for PlacedMessage {
    fn encode(&self, encoding: Encoding, _: Option<&Position>) -> Bytes {
        self.encoder.encode(&self.channel, &self.message, self.position, self.envelope, encoding)
    }

    fn own_id(&self) -> Option<&str> {
        None
    }

    fn size(&self) -> usize {
        let payload = &self.message.payload;
        let copies = payload.len().saturating_mul(2).saturating_add(payload.json_growth());
        copies.saturating_add(self.channel.len() + BASE)
    }

    fn of_channel(&self) -> Option<&ChannelMessage> {
        Some(&self.message)
    }
}
