//! A part of a channel's history, as clients get it.

use super::socketcluster::packet::{push_data, push_text};
use crate::call::session::client_id;
use crate::call::{ChannelPage, ChannelPosition};

/// Writes a page as JSON: `{"position": .., "complete": .., "messages": [..]}`. The position is
/// that of the newest message of the channel, or null if the channel keeps no history.
pub fn page(page: &ChannelPage) -> String {
    let text = |offset| ChannelPosition { epoch: page.epoch, offset }.to_string();
    let mut json = String::with_capacity(page.messages.iter().map(|one| one.payload.len() + 128).sum::<usize>() + 64);
    json.push_str("{\"position\":");
    match page.epoch {
        0 => json.push_str("null"),
        _ => push_text(&mut json, &text(page.latest)),
    }
    json.push_str(",\"complete\":");
    json.push_str(if page.complete { "true" } else { "false" });
    json.push_str(",\"messages\":[");
    for (index, message) in page.messages.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push_str("{\"position\":");
        push_text(&mut json, &text(message.offset));
        push_data(&mut json, &message.payload);
        json.push_str(",\"at\":");
        json.push_str(&message.at.to_string());
        if let Some(session) = &message.session {
            json.push_str(",\"session\":");
            push_text(&mut json, client_id(session));
        }
        json.push('}');
    }
    json.push_str("]}");
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{ChannelMessage, Payload};

    #[test]
    fn a_page_has_positions_and_the_sessions_as_clients_know_them() {
        let message = |offset, session: Option<&str>, payload| ChannelMessage {
            offset,
            at: 1_000 + offset,
            session: session.map(Into::into),
            payload,
        };
        let messages =
            vec![message(2, Some("node/abc"), Payload::Text("{\"a\":1}".to_owned())), message(3, None, Payload::None)];
        let json = page(&ChannelPage { epoch: 0xa, messages, latest: 4, complete: true });
        assert_eq!(
            json,
            r#"{"position":"a-4","complete":true,"messages":[{"position":"a-2","data":{"a":1},"at":1002,"session":"abc"},{"position":"a-3","at":1003}]}"#
        );
        let none = ChannelPage { epoch: 0, messages: Vec::new(), latest: 0, complete: false };
        assert_eq!(page(&none), r#"{"position":null,"complete":false,"messages":[]}"#);
    }
}
