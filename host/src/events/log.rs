//! The log of host events, and its readers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};

use super::event::{EventRecord, HostEvent};
use crate::call::time::now;
use crate::journal::{Item, Journal, JournalLimits, Reader};

/// The number of events that the log keeps.
pub const KEPT: usize = 1_024;

/// Each event has a bounded size, and none becomes too old.
const LIMITS: JournalLimits = JournalLimits { count: KEPT, bytes: u64::MAX, age: Duration::MAX };

/// The last 1,024 events of a host.
#[derive(Debug)]
pub struct EventLog {
    /// When the log was created, in milliseconds since 1970-01-01 UTC. It tells the numbers of this
    /// host from those of an earlier process.
    pub epoch: u64,
    journal: Arc<Journal<EventRecord>>,
    errors: bool,
    warnings: bool,
}

/// An event, or the number of events that a reader has missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventItem {
    /// The next event.
    Event(Arc<EventRecord>),
    /// The log no longer keeps the next events of this reader: it was too slow, or it asked for
    /// events that are too old. The value is their number.
    Missed(u64),
}

/// Reads events in their order. Dropping the reader has no effect on others.
#[derive(Debug)]
pub struct EventReader(Reader<EventRecord>);

impl EventLog {
    /// Creates an empty log. It ignores `fail` unless `errors` is set, and `warning` unless
    /// `warnings` is set.
    pub fn new(errors: bool, warnings: bool) -> EventLog {
        EventLog { epoch: now(), journal: Arc::new(Journal::new(LIMITS)), errors, warnings }
    }

    /// Adds an event and wakes the readers. No effect after [`EventLog::close`].
    pub fn raise(&self, event: HostEvent) {
        let ignored = match &event {
            HostEvent::Fail { .. } => !self.errors,
            HostEvent::Warning { .. } => !self.warnings,
            _ => false,
        };
        if !ignored {
            self.journal.add(&None, [event.bounded()], record);
        }
    }

    /// Adds the last event: readers end after it. No effect the second time.
    pub fn close(&self, last: HostEvent) {
        self.journal.close([last.bounded()], record);
    }

    /// The number of events so far.
    pub fn count(&self) -> u64 {
        self.journal.count()
    }

    /// Reads the events after the one with this number. The reader waits until there is one.
    pub fn read_after(&self, number: u64) -> EventReader {
        EventReader(self.journal.read_after(number))
    }

    /// Reads the newest kept events, at most this number, and then those from now on.
    pub fn read_newest(&self, count: usize) -> EventReader {
        EventReader(self.journal.read_newest(count))
    }

    /// Reads the events from now on.
    pub fn read_new(&self) -> EventReader {
        self.read_newest(0)
    }
}

fn record(event: HostEvent, number: u64) -> (EventRecord, u64) {
    (EventRecord { number, time: now(), event }, 0)
}

impl EventReader {
    /// Waits for the next event. `None` when the host has stopped and no event is left.
    pub async fn next(&mut self) -> Option<EventItem> {
        self.0.next().await.map(EventItem::from)
    }

    /// Returns the events as a stream, which ends when [`EventReader::next`] returns `None`.
    pub fn into_stream(self) -> impl Stream<Item = EventItem> + Send + Unpin {
        Box::pin(stream::unfold(self, async |mut reader| reader.next().await.map(|item| (item, reader))))
    }

    /// Returns the next event if it has been raised.
    pub fn try_next(&mut self) -> Option<EventItem> {
        self.0.try_next().map(EventItem::from)
    }
}

impl From<Item<EventRecord>> for EventItem {
    fn from(item: Item<EventRecord>) -> EventItem {
        match item {
            Item::Entry(record) => EventItem::Event(record),
            Item::Missed(count) => EventItem::Missed(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;
    use crate::events::Origin;

    fn info(message: usize) -> HostEvent {
        HostEvent::Info { message: message.to_string() }
    }

    fn numbers(reader: &mut EventReader) -> Vec<u64> {
        std::iter::from_fn(|| match reader.try_next()? {
            EventItem::Event(record) => Some(record.number),
            EventItem::Missed(count) => panic!("missed {count}"),
        })
        .collect()
    }

    #[tokio::test]
    async fn every_reader_gets_every_event_in_order_and_the_end() {
        let log = Arc::new(EventLog::new(true, true));
        log.raise(info(1));
        let (mut all, mut new) = (log.read_after(0), log.read_new());
        let waiting = tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Some(EventItem::Event(record)) = new.next().await {
                seen.push(record.number);
            }
            seen
        });
        log.raise(info(2));
        log.raise(info(3));
        assert_eq!(numbers(&mut all), [1, 2, 3]);
        log.close(info(4));
        log.raise(info(5));
        log.close(info(6));
        assert_eq!(waiting.await.unwrap(), [2, 3, 4]);
        assert_eq!(numbers(&mut all), [4]);
        assert_eq!(all.next().await, None);
    }

    #[tokio::test]
    async fn a_reader_is_also_a_stream() {
        let log = Arc::new(EventLog::new(true, true));
        (0..3).for_each(|index| log.raise(info(index)));
        log.close(info(3));
        assert_eq!(log.read_after(1).into_stream().collect::<Vec<_>>().await.len(), 3);
    }

    /// Events that other threads raise at the same time must neither follow the last one nor keep
    /// the readers waiting for more.
    #[test]
    fn no_event_follows_the_last_one_and_readers_end() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for _ in 0..300 {
            let log = Arc::new(EventLog::new(true, true));
            let mut reader = log.read_new();
            let (ready, last) = (std::sync::Barrier::new(3), || HostEvent::Warning {
                origin: Origin::master(),
                message: "last".to_owned(),
            });
            std::thread::scope(|threads| {
                for _ in 0..2 {
                    threads.spawn(|| {
                        ready.wait();
                        log.close(last());
                    });
                }
                ready.wait();
                (0..300).for_each(|index| log.raise(info(index)));
            });
            let mut names = Vec::new();
            runtime.block_on(async {
                let read = async {
                    while let Some(EventItem::Event(record)) = reader.next().await {
                        names.push(record.event.name());
                    }
                };
                tokio::time::timeout(std::time::Duration::from_secs(10), read).await.expect("the reader ends");
            });
            assert_eq!(names.iter().position(|name| *name == "warning"), Some(names.len() - 1), "{names:?}");
        }
    }

    #[test]
    fn a_slow_reader_is_told_how_many_events_it_has_missed() {
        let log = Arc::new(EventLog::new(true, true));
        let mut reader = log.read_new();
        (0..KEPT).for_each(|index| log.raise(info(index)));
        assert_eq!(numbers(&mut log.read_after(0)).len(), KEPT, "all of them are kept");
        log.raise(info(KEPT));
        assert_eq!(reader.try_next(), Some(EventItem::Missed(1)));
        assert_eq!(numbers(&mut reader), (2..=KEPT as u64 + 1).collect::<Vec<_>>());
    }

    #[test]
    fn a_reader_starts_after_a_number_or_with_the_newest_events() {
        let log = Arc::new(EventLog::new(true, true));
        assert_eq!(log.read_newest(5).try_next(), None);
        (0..3).for_each(|index| log.raise(info(index)));
        let newest = |count| numbers(&mut log.read_newest(count));
        assert_eq!((newest(0), newest(2), newest(9)), (vec![], vec![2, 3], vec![1, 2, 3]));
        let after = |number| numbers(&mut log.read_after(number));
        assert_eq!((after(0), after(2), after(3), after(u64::MAX)), (vec![1, 2, 3], vec![3], vec![], vec![]));
    }

    #[test]
    fn errors_and_warnings_can_be_switched_off() {
        let (origin, message) = (Origin::master(), "why".to_owned());
        let fail = HostEvent::Fail { origin: origin.clone(), message: message.clone() };
        let warning = HostEvent::Warning { origin, message };
        for (errors, warnings, count) in [(true, true, 2), (true, false, 1), (false, true, 1), (false, false, 0)] {
            let log = EventLog::new(errors, warnings);
            log.raise(fail.clone());
            log.raise(warning.clone());
            assert_eq!(log.count(), count, "{errors} {warnings}");
        }
    }
}
