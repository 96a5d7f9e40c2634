//! A message to clients.

use std::sync::OnceLock;

use bytes::Bytes;

use super::frames;
use super::socketcluster::packet;
use crate::call::Payload;
use crate::hub::{Encoding, Message, Position};

/// The name of messages that clients of SocketCluster get without a packet around them.
const RAW: &str = "raw";

/// A message to one client or many. Each encoding is made once, also if the message is published to
/// many sessions.
#[derive(Debug)]
pub(super) struct OutgoingMessage {
    name: String,
    payload: Payload,
    plain: OnceLock<Bytes>,
    packet: OnceLock<Bytes>,
}

impl OutgoingMessage {
    pub(super) fn new(name: String, payload: Payload) -> OutgoingMessage {
        OutgoingMessage { name, payload, plain: OnceLock::new(), packet: OnceLock::new() }
    }

    fn plain(&self) -> Bytes {
        self.plain.get_or_init(|| frames::message(&self.payload)).clone()
    }

    fn packet(&self) -> Bytes {
        let written = || frames::frame(frames::TEXT, packet::event(&self.name, &self.payload, None).as_bytes());
        self.packet.get_or_init(written).clone()
    }
}

impl Message for OutgoingMessage {
    fn encode(&self, encoding: Encoding, _: Option<&Position>) -> Bytes {
        match encoding {
            Encoding::SocketCluster if self.name != RAW => self.packet(),
            Encoding::Plain | Encoding::SocketCluster => self.plain(),
            // No stream of server-sent events is in a topic of sessions.
            Encoding::Sse => Bytes::new(),
        }
    }

    fn own_id(&self) -> Option<&str> {
        None
    }

    fn size(&self) -> usize {
        let copies = self.payload.len().saturating_mul(2).saturating_add(self.payload.json_growth());
        copies.saturating_add(self.name.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_at_least_itself_and_its_packet() {
        let texts =
            ["\u{1}".repeat(3_000), "\n".repeat(3_000), "x".repeat(3_000), format!("[{}1]", "1,".repeat(3_000))];
        let bytes = Payload::Bytes(vec![0xff; 3_000]);
        for payload in texts.into_iter().map(Payload::Text).chain([bytes]) {
            let message = OutgoingMessage::new("say".to_owned(), payload.clone());
            let copies = payload.len() + message.encode(Encoding::SocketCluster, None).len();
            // The hub adds 256 bytes for a message.
            assert!(message.size() + 256 >= copies, "{} for {copies}", message.size());
            assert!(message.size() <= copies + 3_000, "{} for {copies}", message.size());
        }
    }

    #[test]
    fn a_message_has_its_name_only_where_the_protocol_has_names() {
        let encoded = |name: &str, encoding| {
            let message = OutgoingMessage::new(name.to_owned(), Payload::Text("hi".to_owned()));
            let bytes = message.encode(encoding, None);
            String::from_utf8(bytes[2..].to_vec()).unwrap()
        };
        assert_eq!(encoded("say", Encoding::Plain), "hi");
        assert_eq!(encoded("say", Encoding::SocketCluster), r#"{"event":"say","data":"hi"}"#);
        assert_eq!(encoded(RAW, Encoding::SocketCluster), "hi");
    }
}
