//! Events as text (HTML standard, section "Server-sent events"). The order of the fields is that of
//! egg-sse: `event`, `retry`, `id`, `data`.

use std::time::Duration;

use bytes::Bytes;

use crate::call::{CallError, Payload, StreamEvent, bounds, size};
use crate::hub::{self, Encoding, Message, Position};

/// The most bytes of the type and of the id of an event.
pub(super) const MAX_FIELD: usize = 1_024;

/// An event that can be sent: its data is UTF-8, and its type and its id are single lines.
#[derive(Debug)]
pub struct EventMessage {
    event: StreamEvent,
    /// The event consists of its comment only.
    is_comment: bool,
    /// The length of the text, without a position.
    length: usize,
}

impl EventMessage {
    /// Checks an event. `max` is the most bytes of its texts, and `limit` says where it comes from.
    pub(in crate::triggers) fn new(event: StreamEvent, max: u64, limit: &str) -> Result<EventMessage, CallError> {
        size::check("the event", event.len(), max, limit)?;
        for (name, text) in [("type", &event.event), ("id", &event.id)] {
            check_field(name, text.as_deref().unwrap_or_default())?;
        }
        let event = match event.data {
            Payload::Bytes(bytes) => match String::from_utf8(bytes) {
                Ok(text) => StreamEvent { data: Payload::Text(text), ..event },
                Err(_) => {
                    let fix = "encode it as text, for example as Base64";
                    return Err(CallError::Invalid(format!("the data of the event is not UTF-8: {fix}")));
                }
            },
            Payload::Text(_) | Payload::None => event,
        };
        Ok(EventMessage::of_host(event))
    }

    /// An event of the host itself, which needs no check.
    pub fn of_host(event: StreamEvent) -> EventMessage {
        let is_comment = event.comment.is_some() && event.event.is_none() && event.data == Payload::None;
        let mut message = EventMessage { event, is_comment, length: 0 };
        let mut length = Length(0);
        message.write(&mut length, None);
        message.length = length.0;
        message
    }

    /// An event of the host itself without data, which also says when to connect again.
    pub(in crate::triggers) fn notice(name: &str, retry: Duration) -> EventMessage {
        let (event, retry) = (Some(name.to_owned()), Some(retry));
        EventMessage::of_host(StreamEvent { event, retry, ..StreamEvent::default() })
    }

    pub(super) fn event(&self) -> &StreamEvent {
        &self.event
    }

    /// The text without a position.
    pub fn text(&self) -> Vec<u8> {
        self.text_at(None)
    }

    /// The text, with a position unless the event has an id.
    pub(in crate::triggers) fn text_at(&self, position: Option<&Position>) -> Vec<u8> {
        // A position has at most 37 characters.
        let mut text = Vec::with_capacity(self.length + 48);
        self.write(&mut text, position);
        text
    }

    fn write(&self, text: &mut impl Text, position: Option<&Position>) {
        let StreamEvent { data, event, id, retry, comment } = &self.event;
        for line in comment.as_deref().map(lines).into_iter().flatten() {
            text.push(": ");
            text.push(line);
            text.push("\n");
        }
        if !self.is_comment {
            field(text, "event", event.as_deref());
            field(text, "retry", retry.map(|retry| retry.as_millis().to_string()).as_deref());
            match id {
                Some(id) => field(text, "id", Some(id)),
                None => field(text, "id", position.map(ToString::to_string).as_deref()),
            }
            let data = match data {
                Payload::Text(data) => data,
                Payload::Bytes(_) | Payload::None => "",
            };
            lines(data).for_each(|line| field(text, "data", Some(line)));
        }
        text.push("\n");
    }
}

impl Message for EventMessage {
    fn encode(&self, encoding: Encoding, id: Option<&Position>) -> Bytes {
        match encoding {
            // An id of the host has at most 37 characters.
            Encoding::Sse => hub::chunk(self.length + 64, |text| self.write(text, id)),
            // No WebSocket is in a topic of streams.
            Encoding::Plain | Encoding::SocketCluster => Bytes::new(),
        }
    }

    fn own_id(&self) -> Option<&str> {
        self.event.id.as_deref().filter(|_| !self.is_comment)
    }

    fn size(&self) -> usize {
        self.event.len() + self.length
    }
}

/// The rules for the type and the id of an event, which `name` says.
fn check_field(name: &str, text: &str) -> Result<(), CallError> {
    if text.len() > MAX_FIELD {
        bounds::STREAM_NAME.count();
        let size = text.len();
        return Err(CallError::Invalid(format!(
            "the {name} of the event has {size} bytes, but at most {MAX_FIELD} are allowed"
        )));
    }
    if text.contains(['\r', '\n', '\0']) {
        return Err(CallError::Invalid(format!("the {name} of the event has a line break or a NUL: remove it")));
    }
    Ok(())
}

/// Splits a text at CR, LF and CRLF, as readers do. An empty text has one empty line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some((line, after)) = text.find(['\r', '\n']).and_then(|end| text.split_at_checked(end)) else {
            return rest.take();
        };
        rest = after.strip_prefix("\r\n").or_else(|| after.get(1..));
        Some(line)
    })
}

fn field(text: &mut impl Text, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        text.push(name);
        text.push(": ");
        text.push(value);
        text.push("\n");
    }
}

/// What an event is written to.
trait Text {
    fn push(&mut self, part: &str);
}

impl Text for Vec<u8> {
    fn push(&mut self, part: &str) {
        self.extend_from_slice(part.as_bytes());
    }
}

/// Counts the bytes of a text.
struct Length(usize);

impl Text for Length {
    fn push(&mut self, part: &str) {
        self.0 += part.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: impl Into<Payload>) -> StreamEvent {
        StreamEvent { data: data.into(), ..StreamEvent::default() }
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[track_caller]
    fn assert_text(event: StreamEvent, expected: &str) {
        let message = EventMessage::new(event, 1 << 20, "x").unwrap();
        assert_eq!(String::from_utf8(message.text()).unwrap(), expected);
        assert_eq!(message.length, expected.len());
        let chunk = message.encode(Encoding::Sse, None);
        assert_eq!(chunk, format!("{:x}\r\n{expected}\r\n", expected.len()));
        assert_eq!(chunk.slice(hub::text_of(&chunk)), expected);
    }

    #[test]
    fn fields_have_the_order_of_egg_sse_and_end_with_an_empty_line() {
        let retry = Some(Duration::from_secs(3));
        let all = StreamEvent { event: some("e"), id: some("7"), retry, ..event("x") };
        assert_text(all.clone(), "event: e\nretry: 3000\nid: 7\ndata: x\n\n");
        assert_text(StreamEvent { comment: some("c"), ..all }, ": c\nevent: e\nretry: 3000\nid: 7\ndata: x\n\n");
    }

    #[test]
    fn every_line_of_the_data_is_a_field_however_it_ends() {
        assert_text(event("plain"), "data: plain\n\n");
        assert_text(event("a\nb\rc\r\nd"), "data: a\ndata: b\ndata: c\ndata: d\n\n");
        assert_text(event("a\n"), "data: a\ndata: \n\n");
        assert_text(event("\r\n\n\r"), "data: \ndata: \ndata: \ndata: \n\n");
        assert_text(event("\n\r"), "data: \ndata: \ndata: \n\n");
        assert_text(event(" a: \u{e4}\0"), "data:  a: \u{e4}\0\n\n");
        assert_text(event(b"bytes\n".to_vec()), "data: bytes\ndata: \n\n");
    }

    #[test]
    fn data_that_egg_sse_writes_as_text_stays_that_text() {
        for text in ["0", "null", "false", r#"{"a":1}"#] {
            assert_text(event(text), &format!("data: {text}\n\n"));
        }
        assert_text(event(": no comment"), "data: : no comment\n\n");
    }

    #[test]
    fn missing_data_is_an_empty_line_and_an_id_of_zero_is_kept() {
        assert_text(StreamEvent::default(), "data: \n\n");
        assert_text(event(""), "data: \n\n");
        assert_text(StreamEvent { id: some("0"), ..event("x") }, "id: 0\ndata: x\n\n");
        assert_text(StreamEvent { id: some(""), ..event("x") }, "id: \ndata: x\n\n");
        assert_text(StreamEvent { event: some(""), ..event("x") }, "event: \ndata: x\n\n");
        assert_text(StreamEvent { retry: Some(Duration::ZERO), ..event("x") }, "retry: 0\ndata: x\n\n");
    }

    #[test]
    fn a_comment_without_data_and_type_is_sent_alone() {
        assert_text(StreamEvent { comment: some("comment"), ..StreamEvent::default() }, ": comment\n\n");
        assert_text(StreamEvent { comment: some("a\r\nb\n"), ..StreamEvent::default() }, ": a\n: b\n: \n\n");
        let retry = Some(Duration::from_secs(1));
        let alone = StreamEvent { comment: some("c"), id: some("7"), retry, ..StreamEvent::default() };
        assert_text(alone.clone(), ": c\n\n");
        assert_eq!(EventMessage::new(alone, 9, "x").unwrap().own_id(), None);
        assert_text(StreamEvent { comment: some("c"), ..event("") }, ": c\ndata: \n\n");
        let named = StreamEvent { comment: some("c"), event: some("e"), ..StreamEvent::default() };
        assert_text(named, ": c\nevent: e\ndata: \n\n");
    }

    #[test]
    fn the_position_is_the_id_of_an_event_without_one() {
        let position = Position { epoch: 10, number: 7 };
        let text = |event| {
            let chunk = EventMessage::new(event, 9, "x").unwrap().encode(Encoding::Sse, Some(&position));
            String::from_utf8(chunk.slice(hub::text_of(&chunk)).to_vec()).unwrap()
        };
        assert_eq!(text(event("x")), "id: a-7\ndata: x\n\n");
        assert_eq!(text(StreamEvent { id: some("0"), ..event("x") }), "id: 0\ndata: x\n\n");
        assert_eq!(text(StreamEvent { comment: some("c"), ..StreamEvent::default() }), ": c\n\n");
        assert_eq!(EventMessage::new(StreamEvent { id: some("0"), ..event("") }, 9, "x").unwrap().own_id(), Some("0"));
    }

    #[test]
    fn an_event_that_readers_would_misread_is_rejected() {
        let error = |event| EventMessage::new(event, 2_000, "limits.payload of m").unwrap_err().to_string();
        for text in ["a\nb", "\r", "a\0"] {
            let of_type = error(StreamEvent { event: some(text), ..event("") });
            assert_eq!(of_type, "the type of the event has a line break or a NUL: remove it");
            assert!(error(StreamEvent { id: some(text), ..event("") }).starts_with("the id of the event has a line"));
        }
        assert!(error(event(vec![0xff])).contains("is not UTF-8"));
        let (longest, longer) = ("x".repeat(MAX_FIELD), "x".repeat(MAX_FIELD + 1));
        assert!(EventMessage::new(StreamEvent { id: some(&longest), ..event("") }, 2_000, "").is_ok());
        assert!(error(StreamEvent { id: some(&longer), ..event("") }).contains("1025 bytes"));
        assert!(error(StreamEvent { event: some(&longer), ..event("") }).contains("1025 bytes"));
    }

    #[test]
    fn the_texts_of_an_event_together_have_a_limit() {
        let sized = |bytes: usize| StreamEvent { event: some("e"), comment: some("c"), ..event("x".repeat(bytes)) };
        assert!(EventMessage::new(sized(8), 10, "limits.payload of m").is_ok());
        let error = EventMessage::new(sized(9), 10, "limits.payload of m").unwrap_err();
        assert_eq!(error.to_string(), "the event has 11 bytes, but limits.payload of m allows 10");
    }

    #[test]
    fn an_event_of_the_host_has_empty_data() {
        let full = EventMessage::notice("full", Duration::from_secs(5));
        assert_eq!(full.text(), b"event: full\nretry: 5000\ndata: \n\n");
    }
}
