//! A message that has its place in a channel.

use std::sync::Arc;

use super::super::frame::Frame;
use super::super::sessions::Session;
use super::message::PlacedMessage;
use crate::call::{ChannelPosition, Payload};

/// A message that has its place.
pub(super) struct Added {
    pub message: Arc<PlacedMessage>,
    pub frame: Arc<Frame>,
}

/// Is told each message of another node. Returns whether the message will be delivered.
pub(super) type Deliver = Box<dyn Fn(&Arc<str>, Placed) -> bool + Send + Sync>;

/// A message that has its place, but was not sent to members.
pub struct Placed {
    /// `None` if the channel keeps no history.
    pub position: Option<ChannelPosition>,
    /// Who was subscribed when it got its place.
    pub members: Vec<Arc<Session>>,
    /// `None` if nobody is subscribed, and nothing keeps it.
    pub(super) added: Option<Added>,
}

impl Placed {
    /// `members` are the subscribed sessions.
    pub(super) fn new(members: Vec<Arc<Session>>, added: Added) -> Placed {
        Placed { position: added.message.position, members, added: Some(added) }
    }

    /// A message that nobody gets.
    pub(super) fn nothing() -> Placed {
        Placed { position: None, members: Vec::new(), added: None }
    }

    /// The message as it is kept. `None` if nobody gets it.
    pub fn payload(&self) -> Option<&Payload> {
        self.added.as_ref().map(|added| &added.message.message.payload)
    }

    /// The session of the client that has published it.
    pub fn publisher(&self) -> Option<&Arc<str>> {
        self.added.as_ref().and_then(|added| added.message.message.session.as_ref())
    }
}
