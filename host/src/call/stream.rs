//! Events of live streams, as plain data.

use std::time::Duration;

use super::Payload;

/// One server-sent event.
///
/// ```
/// use fanfare::StreamEvent;
///
/// let event = StreamEvent { event: Some("price".to_owned()), ..StreamEvent::from("12") };
/// assert_eq!(event.data, fanfare::Payload::from("12"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamEvent {
    /// The text that a reader gets. `None` is an empty text.
    pub data: Payload,
    /// The name that a reader's `addEventListener` uses. `None` means `message`.
    pub event: Option<String>,
    /// The id that a reader sends as `Last-Event-ID`. `None` means the host's position.
    pub id: Option<String>,
    /// How long a reader waits before it connects again.
    pub retry: Option<Duration>,
    /// Text that no handler of the reader sees.
    pub comment: Option<String>,
}

/// An event with these data, and nothing else.
impl<P: Into<Payload>> From<P> for StreamEvent {
    fn from(data: P) -> StreamEvent {
        StreamEvent { data: data.into(), ..StreamEvent::default() }
    }
}

impl StreamEvent {
    /// The size of all its text in bytes.
    pub fn len(&self) -> usize {
        let texts = [&self.event, &self.id, &self.comment];
        self.data.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }

    /// Whether it has no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The connections that a publish or a close reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamReach {
    /// Those of every node.
    Everywhere,
    /// Those of every worker of this node.
    ThisNode,
    /// Those of the caller's worker. Outside of workers there are none.
    ThisWorker,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_an_event_includes_every_text() {
        let text = || Some("x".repeat(5));
        let event = StreamEvent { data: "abc".into(), event: text(), id: text(), comment: text(), retry: None };
        assert_eq!((event.len(), event.is_empty()), (18, false));
        assert!(StreamEvent::default().is_empty());
    }
}
