//! A packet of the protocol itself for one client.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use super::identity::is_client;
use super::packet;
use crate::call::Payload;
use crate::hub::{Encoding, Message, Position, Session};
use crate::triggers::websocket::flow::InFlight;
use crate::triggers::websocket::frames;

/// A packet that is written already.
pub(super) struct Written {
    frame: Bytes,
    /// The event that it answers, which has no outcome until the packet is sent.
    _event: Option<InFlight>,
}

impl Written {
    pub(super) fn new(json: &str) -> Written {
        Written { frame: frames::frame(frames::TEXT, json.as_bytes()), _event: None }
    }

    /// An answer whose event counts as running until the client has read the answer, or is gone.
    pub(super) fn of_event(json: &str, event: InFlight) -> Written {
        Written { _event: Some(event), ..Written::new(json) }
    }
}

/// Takes the token away from a client.
pub fn remove_token() -> Arc<dyn Message> {
    Arc::new(Written::new(&packet::event("#removeAuthToken", &Payload::Text("null".to_owned()), None)))
}

/// Gives a token to a client.
pub fn set_token(token: &str) -> Arc<dyn Message> {
    let data = Payload::from(json!({ "token": token }));
    Arc::new(Written::new(&packet::event("#setAuthToken", &data, None)))
}

/// Tells a client that its subscription has ended. `None` for a session of another protocol.
pub fn kicked_out(session: &Session, channel: &str, message: &str) -> Option<Arc<dyn Message>> {
    let data = Payload::from(json!({ "message": message, "channel": channel }));
    is_client(session).then(|| Arc::new(Written::new(&packet::event("#kickOut", &data, None))) as Arc<dyn Message>)
}

/// An event that the client is to answer.
pub fn question(name: &str, data: &Payload, cid: u64) -> Arc<dyn Message> {
    Arc::new(Written::new(&packet::event(name, data, Some(cid))))
}

impl Message for Written {
    fn encode(&self, encoding: Encoding, _: Option<&Position>) -> Bytes {
        match encoding {
            Encoding::SocketCluster => self.frame.clone(),
            Encoding::Plain | Encoding::Sse => Bytes::new(),
        }
    }

    fn own_id(&self) -> Option<&str> {
        None
    }

    fn size(&self) -> usize {
        self.frame.len()
    }
}
