//! Reads server-sent events, as the HTML standard defines them (section 9.2.6).

use std::mem;

/// A server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// The value of the field `event`.
    pub name: String,
    /// The value of the field `data`.
    pub data: String,
    /// The last value of the field `id`, in this event or an earlier one.
    pub id: Option<String>,
}

/// Reads the fields `event`, `data` and `id`. Ignores comments and other fields.
#[derive(Debug)]
pub struct EventParser {
    /// The most bytes of an event.
    max: usize,
    /// The beginning of the next line.
    line: Vec<u8>,
    name: String,
    /// `None` before the first `data` line of the next event.
    data: Option<String>,
    /// The id of the block that has begun. It counts once the block has ended, so that a reader
    /// that is cut within an event gets this event again.
    begun_id: Option<String>,
    id: Option<String>,
}

impl EventParser {
    pub fn new(max: usize) -> EventParser {
        EventParser { max, line: Vec::new(), name: String::new(), data: None, begun_id: None, id: None }
    }

    /// Whether the next event has more than the most bytes. The reader must then stop.
    pub fn is_too_long(&self) -> bool {
        self.line.len() + self.data.as_ref().map_or(0, String::len) > self.max
    }

    /// The last value of the field `id` in a block that has ended, also without data.
    pub fn last_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The id of a block that has begun and has not ended, if the block has one.
    pub fn begun_id(&self) -> Option<&str> {
        self.begun_id.as_deref()
    }

    /// Returns the events that end in this part of the stream.
    pub fn parse(&mut self, part: &[u8]) -> Vec<ServerEvent> {
        let mut events = Vec::new();
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            let Some(end) = piece.strip_suffix(b"\n") else {
                self.line.extend_from_slice(piece);
                break;
            };
            let mut line = mem::take(&mut self.line);
            line.extend_from_slice(end);
            let line = String::from_utf8_lossy(&line);
            let line = line.strip_suffix('\r').unwrap_or(&line);
            if line.is_empty() {
                let name = mem::take(&mut self.name);
                if let Some(id) = self.begun_id.take() {
                    self.id = Some(id);
                }
                if let Some(data) = self.data.take() {
                    events.push(ServerEvent { name, data, id: self.id.clone() });
                }
                continue;
            }
            self.field(line);
        }
        events
    }

    fn field(&mut self, line: &str) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => self.begun_id = Some(value.to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str, id: &str) -> ServerEvent {
        ServerEvent { name: name.to_owned(), data: data.to_owned(), id: Some(id.to_owned()) }
    }

    #[test]
    fn events_are_read_from_any_parts_of_the_stream() {
        let text = "retry: 1000\n\nid: 1-1\nevent: info\ndata: {\"a\":1}\n\n:\n\ndata:x\r\ndata: y\r\n\r\nid: 7\n\nevent: full\ndata:\n\ndata\ndata: z\n\nid: 8\n\nevent: no";
        let expected = [
            event("info", "{\"a\":1}", "1-1"),
            event("", "x\ny", "1-1"),
            event("full", "", "7"),
            event("", "\nz", "7"),
        ];
        for size in 1..=text.len() {
            let mut parser = EventParser::new(99);
            let events: Vec<_> = text.as_bytes().chunks(size).flat_map(|part| parser.parse(part)).collect();
            assert_eq!(events, expected, "parts of {size} bytes");
            assert_eq!(parser.last_id(), Some("8"), "also of a block without data");
        }
    }

    #[test]
    fn an_id_counts_once_its_block_has_ended() {
        let mut parser = EventParser::new(99);
        assert_eq!(parser.parse(b"id: 1\ndata: x\n"), []);
        assert_eq!((parser.last_id(), parser.begun_id()), (None, Some("1")));
        assert_eq!(parser.parse(b"\nid: 2\n"), [event("", "x", "1")]);
        assert_eq!((parser.last_id(), parser.begun_id()), (Some("1"), Some("2")));
        parser.parse(b"\ndata: y\n");
        assert_eq!((parser.last_id(), parser.begun_id()), (Some("2"), None));
    }

    #[test]
    fn an_event_of_more_than_the_most_bytes_is_noticed_before_it_ends() {
        let mut parser = EventParser::new(10);
        parser.parse(b"data: 1234\nxxxxxx");
        assert!(!parser.is_too_long());
        parser.parse(b"x");
        assert!(parser.is_too_long());
        let mut parser = EventParser::new(10);
        parser.parse(b"data: 12345\ndata: 12345\n");
        assert!(parser.is_too_long());
    }
}
