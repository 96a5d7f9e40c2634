//! What the hub itself tells the clients of a stream.

use std::time::Duration;

use bytes::Bytes;

use crate::hub::{Form, Notice, Position, chunk};

/// A comment, which keeps a quiet stream open.
pub const PING: &str = ": ping\n\n";

/// A block that dispatches no event. It says when to connect again after a cut.
pub fn retry(after: Duration) -> String {
    format!("retry: {}\n\n", after.as_millis())
}

/// Encodes a notice for a client that sends this form.
pub(in crate::triggers) fn encode(notice: Notice, form: Form) -> Bytes {
    match (notice, form) {
        (Notice::Ping, Form::Whole) => Bytes::from_static(b"8\r\n: ping\n\n\r\n"),
        (Notice::Ping, Form::Text) => Bytes::from_static(PING.as_bytes()),
        // The end of the stream says enough.
        (Notice::Stop, _) => Bytes::new(),
        (Notice::Open(position), form) => {
            // The block with the id dispatches no event. It tells a client that is cut before its
            // first event where to resume.
            let id = position.map(|position| format!("{}\n", id(Some(position)))).unwrap_or_default();
            write(&format!(": connected\n\n{id}"), form)
        }
        (Notice::Reset(position), form) => write(&format!("event: reset\n{}data: \n\n", id(position)), form),
    }
}

fn id(position: Option<Position>) -> String {
    position.map(|position| format!("id: {position}\n")).unwrap_or_default()
}

fn write(text: &str, form: Form) -> Bytes {
    match form {
        Form::Whole => chunk(text.len(), |bytes| bytes.extend_from_slice(text.as_bytes())),
        Form::Text => Bytes::copy_from_slice(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notice_has_its_text_and_the_same_text_as_a_chunk() {
        let position = Some(Position { epoch: 10, number: 7 });
        for (notice, text) in [
            (Notice::Open(None), ": connected\n\n"),
            (Notice::Open(position), ": connected\n\nid: a-7\n\n"),
            (Notice::Reset(None), "event: reset\ndata: \n\n"),
            (Notice::Reset(position), "event: reset\nid: a-7\ndata: \n\n"),
            (Notice::Ping, ": ping\n\n"),
        ] {
            assert_eq!(encode(notice, Form::Text), text);
            assert_eq!(encode(notice, Form::Whole), format!("{:x}\r\n{text}\r\n", text.len()));
        }
        assert!(encode(Notice::Stop, Form::Text).is_empty() && encode(Notice::Stop, Form::Whole).is_empty());
    }
}
