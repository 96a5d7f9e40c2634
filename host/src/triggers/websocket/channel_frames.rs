//! The messages of channels, as clients get them.

use bytes::Bytes;

use super::frames;
use super::socketcluster::packet::{push_data, push_text};
use crate::call::{ChannelMessage, ChannelPosition, Payload};
use crate::hub::{EncodeChannel, Encoding};

/// Encodes the messages of channels.
#[derive(Debug, Clone, Copy)]
pub struct ChannelFrames;

impl EncodeChannel for ChannelFrames {
    fn encode(
        &self,
        channel: &str,
        message: &ChannelMessage,
        position: Option<ChannelPosition>,
        envelope: bool,
        encoding: Encoding,
    ) -> Bytes {
        let payload = &message.payload;
        match encoding {
            Encoding::SocketCluster => {
                let mut json = String::with_capacity(payload.len() + channel.len() + 96);
                json.push_str("{\"event\":\"#publish\",\"data\":");
                push_message(&mut json, channel, payload, position);
                json.push('}');
                frames::frame(frames::TEXT, json.as_bytes())
            }
            Encoding::Plain if envelope => {
                frames::frame(frames::TEXT, message_json(channel, payload, position).as_bytes())
            }
            Encoding::Plain => frames::message(payload),
            // No stream of server-sent events is subscribed to a channel.
            Encoding::Sse => Bytes::new(),
        }
    }
}

/// A message as `{"channel": .., "data": .., "position": ..}`.
pub(super) fn message_json(channel: &str, payload: &Payload, position: Option<ChannelPosition>) -> String {
    let mut json = String::with_capacity(payload.len() + channel.len() + 64);
    push_message(&mut json, channel, payload, position);
    json
}

/// Appends `{"channel": .., "data": .., "position": ..}`.
fn push_message(json: &mut String, channel: &str, payload: &Payload, position: Option<ChannelPosition>) {
    json.push_str("{\"channel\":");
    push_text(json, channel);
    push_data(json, payload);
    if let Some(position) = position {
        json.push_str(",\"position\":");
        push_text(json, &position.to_string());
    }
    json.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_channel_and_its_position_where_the_protocol_has_room_for_them() {
        let encoded = |payload: Payload, position, envelope, encoding| {
            let message = ChannelMessage { offset: 3, at: 0, session: None, payload };
            let bytes = ChannelFrames.encode("a\"b", &message, position, envelope, encoding);
            (bytes[0] & 0x0f, String::from_utf8(bytes[2..].to_vec()).unwrap())
        };
        let text = |text: &str| Payload::Text(text.to_owned());
        let position = Some(ChannelPosition { epoch: 0x1f, offset: 3 });
        let packet = r##"{"event":"#publish","data":{"channel":"a\"b","data":{"x":1},"position":"1f-3"}}"##;
        assert_eq!(encoded(text(r#"{"x":1}"#), position, false, Encoding::SocketCluster), (1, packet.to_owned()));
        let packet = r##"{"event":"#publish","data":{"channel":"a\"b","data":"hi"}}"##;
        assert_eq!(encoded(text("hi"), None, true, Encoding::SocketCluster), (1, packet.to_owned()));
        let packet = r##"{"event":"#publish","data":{"channel":"a\"b"}}"##;
        assert_eq!(encoded(Payload::None, None, false, Encoding::SocketCluster).1, packet);
        assert_eq!(encoded(text("hi"), position, false, Encoding::Plain), (1, "hi".to_owned()));
        assert_eq!(encoded(Payload::Bytes(b"hi".to_vec()), None, false, Encoding::Plain), (2, "hi".to_owned()));
        let envelope = r#"{"channel":"a\"b","data":{"base64":true,"data":"aGk="},"position":"1f-3"}"#;
        assert_eq!(encoded(Payload::Bytes(b"hi".to_vec()), position, true, Encoding::Plain), (1, envelope.to_owned()));
    }
}
