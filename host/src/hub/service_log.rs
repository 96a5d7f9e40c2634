//! The log of the event service: the newest events of all types, in one order.
//!
//! One log for all types means that a reader of several types resumes with one position, and that
//! a type costs nothing. Readers choose the events that they want themselves.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::epoch::epoch;
use super::message::Position;
use crate::call::Event;
use crate::config::EventHistoryConfig;
use crate::journal::{Item, Journal, JournalLimits, Reader};

/// The bytes that an event counts in addition to its texts: its places in the log, and the names of
/// the keys and its position in its encoding.
const OVERHEAD: u64 = 256;

/// The bytes that a line of a value has in addition: `data: `.
const FIELD: u64 = 6;

/// The bytes of an event and of its encoding for subscribers. There, each line of the value is a
/// field of its own, and some characters of the other texts are escaped.
fn cost(event: &Event) -> u64 {
    let lines = event.value.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64;
    let escapes = |text: &str| text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count() as u64;
    let escapes = escapes(&event.kind) + event.source.as_deref().map_or(0, escapes);
    let encoded = event.size().saturating_add(lines.saturating_mul(FIELD)).saturating_add(escapes);
    event.size().saturating_add(encoded).saturating_add(OVERHEAD)
}

/// The newest events of a node, or of an event service of its own.
#[derive(Debug)]
pub struct ServiceLog {
    /// Differs for each start of the host.
    epoch: u64,
    journal: Arc<Journal<Logged>>,
}

/// An event in the log.
#[derive(Debug)]
pub struct Logged {
    pub position: Position,
    pub event: Event,
    text: OnceLock<Bytes>,
}

/// An event, or a gap.
#[derive(Debug, Clone)]
pub enum LogItem {
    Event(Arc<Logged>),
    /// The log no longer keeps the next events of this reader. The value is their number. `None`
    /// if the host cannot tell, because the reader's position is of another start.
    Missed(Option<u64>),
}

/// Reads events in their order. Dropping the reader has no effect on others.
#[derive(Debug)]
pub struct LogReader {
    epoch: u64,
    reader: Reader<Logged>,
    /// Whether the position of the reader is unknown here, and the reader does not know it yet.
    is_lost: bool,
}

impl ServiceLog {
    pub fn new(limits: JournalLimits) -> ServiceLog {
        ServiceLog { epoch: epoch(), journal: Arc::new(Journal::new(limits)) }
    }

    /// A log with the limits of the settings.
    pub fn of(config: &EventHistoryConfig) -> ServiceLog {
        let EventHistoryConfig { count, age, bytes } = *config;
        ServiceLog::new(JournalLimits { count: usize::try_from(count).unwrap_or(usize::MAX), bytes, age })
    }

    /// Adds an event of a module, or for `None` of another process, and wakes the readers. Returns
    /// its position.
    pub fn emit(&self, module: &Option<Arc<str>>, event: Event) -> Position {
        self.emit_all(module, [event])
    }

    /// Adds events, without others between them. Returns the position of the last one.
    pub fn emit_all(&self, module: &Option<Arc<str>>, events: impl IntoIterator<Item = Event>) -> Position {
        let epoch = self.epoch;
        let number = self.journal.add(module, events, |event, number| {
            let cost = cost(&event);
            (Logged { position: Position { epoch, number }, event, text: OnceLock::new() }, cost)
        });
        // The journal is never closed.
        Position { epoch, number: number.unwrap_or_default() }
    }

    /// Tells all readers that events of other nodes may be missing here.
    pub fn gap(&self) {
        self.emit(&None, Event { kind: "".into(), value: "null".into(), source: None });
    }

    /// Reads the events after a position, or those from now on for `None`. If the position is
    /// unknown here, the reader is told so, and then gets everything that is kept.
    pub fn reader(&self, from: Option<Position>) -> LogReader {
        let (epoch, known) = (self.epoch, self.journal.count());
        match from {
            None => LogReader { epoch, reader: self.journal.read_newest(0), is_lost: false },
            Some(Position { epoch: of, number }) if of == epoch && number <= known => {
                LogReader { epoch, reader: self.journal.read_after(number), is_lost: false }
            }
            Some(_) => LogReader { epoch, reader: self.journal.read_newest(usize::MAX), is_lost: true },
        }
    }

    /// The position of the last event.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, number: self.journal.count() }
    }

    /// The number of events that the log keeps, and their bytes.
    pub fn kept(&self) -> (usize, u64) {
        self.journal.kept()
    }
}

impl Logged {
    /// Whether this says that events of other nodes may be missing here. It has no type.
    pub fn is_gap(&self) -> bool {
        self.event.kind.is_empty()
    }

    /// Returns the encoding of the event, which `encode` makes for the first reader.
    pub fn text(&self, encode: impl FnOnce(&Event, &Position) -> Bytes) -> Bytes {
        self.text.get_or_init(|| encode(&self.event, &self.position)).clone()
    }
}

impl LogReader {
    /// Waits for the next event.
    pub async fn next(&mut self) -> LogItem {
        loop {
            if let Some(item) = self.try_next() {
                return item;
            }
            match self.reader.next().await {
                Some(item) => return LogItem::from(item),
                // The journal is never closed.
                None => std::future::pending().await,
            }
        }
    }

    /// Returns the next event if it has been emitted.
    pub fn try_next(&mut self) -> Option<LogItem> {
        if std::mem::take(&mut self.is_lost) {
            return Some(LogItem::Missed(None));
        }
        self.reader.try_next().map(LogItem::from)
    }

    /// Takes the events that were emitted, at most `most` of them, and none if the reader has
    /// missed some. Gaps are among them.
    pub fn take(&mut self, most: usize) -> Vec<Arc<Logged>> {
        if self.is_lost { Vec::new() } else { self.reader.take(most) }
    }

    /// The place of the reader: the events after this position come next.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, number: self.reader.number() }
    }
}

impl From<Item<Logged>> for LogItem {
    fn from(item: Item<Logged>) -> LogItem {
        match item {
            Item::Entry(event) if event.is_gap() => LogItem::Missed(None),
            Item::Entry(event) => LogItem::Event(event),
            Item::Missed(count) => LogItem::Missed(Some(count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: JournalLimits = JournalLimits { count: 3, bytes: 10_000, age: Duration::from_secs(3_600) };

    fn event(value: u64) -> Event {
        Event { kind: "a".into(), value: value.to_string().into(), source: None }
    }

    /// The values of the events, and the gaps as text.
    fn read(reader: &mut LogReader) -> Vec<String> {
        let shown = |item| match item {
            LogItem::Event(logged) => logged.event.value.as_ref().to_owned(),
            LogItem::Missed(count) => format!("missed {count:?}"),
        };
        std::iter::from_fn(|| reader.try_next()).map(shown).collect()
    }

    #[test]
    fn a_reader_continues_after_its_position_or_learns_that_it_cannot() {
        let log = ServiceLog::new(LIMITS);
        let start = log.position();
        assert_eq!(start.number, 0);
        let first = log.emit(&None, event(1));
        let last = log.emit_all(&None, [event(2), event(3)]);
        assert_eq!((first.number, last.number, log.position()), (1, 3, last));
        let after = |position| read(&mut log.reader(Some(position)));
        assert_eq!(
            (after(start), after(first), after(last)),
            (vec!["1".into(), "2".into(), "3".into()], vec!["2".into(), "3".into()], vec![])
        );
        assert!(read(&mut log.reader(None)).is_empty());
        for unknown in [Position { number: 4, ..last }, Position { epoch: last.epoch + 1, ..last }] {
            assert_eq!(after(unknown), ["missed None", "1", "2", "3"], "{unknown}");
        }
        log.emit(&None, event(4));
        assert_eq!(after(start), ["missed Some(1)", "2", "3", "4"]);
        let mut lost = log.reader(Some(start));
        assert_eq!(lost.position(), start);
        lost.try_next();
        assert_eq!(lost.position(), first);
    }

    #[tokio::test]
    async fn a_waiting_reader_gets_the_next_event() {
        let log = Arc::new(ServiceLog::new(LIMITS));
        let mut reader = log.reader(None);
        let waiting = tokio::spawn(async move { reader.next().await });
        tokio::task::yield_now().await;
        log.emit(&None, event(7));
        let LogItem::Event(logged) = waiting.await.unwrap() else { panic!("a gap") };
        assert_eq!((&*logged.event.value, logged.position.number), ("7", 1));
    }

    #[test]
    fn the_log_counts_the_texts_of_events_and_encodes_each_once() {
        let log = ServiceLog::new(JournalLimits { count: 100, bytes: 3 * (OVERHEAD + 4), ..LIMITS });
        for value in 1..=4 {
            log.emit(&None, event(value));
        }
        assert_eq!(log.kept(), (3, 3 * (OVERHEAD + 4)));
        let mut reader = log.reader(Some(Position { number: 3, ..log.position() }));
        let Some(LogItem::Event(logged)) = reader.try_next() else { panic!("no event") };
        assert_eq!(logged.text(|event, position| Bytes::from(format!("{} {}", event.value, position.number))), "4 4");
        assert_eq!(logged.text(|_, _| Bytes::new()), "4 4");
    }
}
