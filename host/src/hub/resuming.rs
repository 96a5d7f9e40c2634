//! What clients get that resume after any position. Tests and fuzz targets use it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::frame::FRAME;
use super::inbox::Start;
use super::{
    Encoding, Hub, LogItem, Message, Position, Published, Reach, Resume, ServiceLog, SessionSettings, TopicSettings,
};
use crate::call::{ChannelPosition, ChannelSettings, Event, Payload};
use crate::config::{HubConfig, SseConfig, WebSocketConfig};
use crate::events::EventLog;
use crate::journal::JournalLimits;

const AGE: Duration = Duration::from_secs(86_400);

/// A name for all: a stream key and a channel.
const NAME: &str = "name";

/// A stream, the log of an event service and a channel with the same number of messages, of which
/// they keep the newest.
pub struct Resumable {
    hub: Arc<Hub>,
    log: ServiceLog,
    emitted: u64,
    kept: usize,
    /// The numbers of the messages of the stream that its ring keeps, and of those to all streams.
    of_stream: [Vec<u64>; 2],
}

struct Numbered(Option<String>);

impl Message for Numbered {
    fn encode(&self, _: Encoding, _: Option<&Position>) -> Bytes {
        Bytes::new()
    }

    fn own_id(&self) -> Option<&str> {
        self.0.as_deref()
    }

    fn size(&self) -> usize {
        0
    }
}

impl Resumable {
    /// Every third message of the stream has an id of its publisher, `own<number>`.
    pub fn new(emitted: u64, kept: usize) -> Resumable {
        let mut config = SseConfig::default();
        (config.history.count, config.history.age) = (u32::try_from(kept).unwrap(), AGE);
        let sessions = SessionSettings {
            topics: TopicSettings::of_sessions(&WebSocketConfig::default(), AGE, AGE),
            node: "n".to_owned(),
            max_values: 1,
            max_channels: 1,
            encoder: Arc::new(()),
        };
        let events = Arc::new(EventLog::new(false, false));
        let hub = Hub::new(&HubConfig::default(), TopicSettings::new(&config, AGE), sessions, 1, events);
        let log = ServiceLog::new(JournalLimits { count: kept.max(1), bytes: u64::MAX, age: AGE });
        let settings = ChannelSettings { count: kept, age: AGE, bytes: u64::MAX, ..ChannelSettings::default() };
        let mut of_stream = [Vec::new(), Vec::new()];
        for number in 1..=emitted {
            let message = Arc::new(Numbered(number.is_multiple_of(3).then(|| format!("own{number}"))));
            let to_all = Self::is_to_all(number);
            match to_all {
                true => hub.streams.publish_all(message, Reach::Node),
                false => hub.streams.publish(NAME, message, Reach::Node),
            };
            of_stream[usize::from(to_all)].push(number);
            log.emit(&None, Event { kind: "t".into(), value: number.to_string().into(), source: None });
            let payload = Payload::Text(number.to_string());
            hub.channels.publish(NAME, Published { payload, session: None, settings: &settings }).unwrap();
        }
        for numbers in &mut of_stream {
            numbers.drain(..numbers.len().saturating_sub(kept));
        }
        Resumable { hub, log, emitted, kept, of_stream }
    }

    /// Whether a message goes to all streams. Four follow each other, so that each of the two
    /// histories can be the one that has dropped the newest message.
    fn is_to_all(number: u64) -> bool {
        number / 4 % 2 == 1
    }

    /// The epoch of the stream, of the log and of the channel as text.
    pub fn epochs(&self) -> [String; 3] {
        let channel = self.hub.channels.history(NAME, None, 0, 0).map_or(0, |page| page.epoch);
        [self.hub.streams.namespace.position().epoch, self.log.position().epoch, channel].map(|one| format!("{one:x}"))
    }

    /// The oldest place after which nothing is lost, if `kept` are the newest of `all`.
    fn oldest(kept: &[u64], all: impl DoubleEndedIterator<Item = u64>) -> u64 {
        let first = kept.first().copied().unwrap_or(u64::MAX);
        all.rev().find(|number| *number < first).unwrap_or(0)
    }

    /// A reader of the stream gets all messages after the id, or a reset and all that is kept.
    pub fn stream(&self, id: &str) {
        let namespace = &self.hub.streams.namespace;
        let Some(topic) = namespace.shards.get(NAME) else { return };
        let mut state = topic.state.lock();
        let (start, frames) = namespace.start(&mut state.ring, Some(&Resume::Id(id.to_owned())), 0);
        let numbers: Vec<u64> = frames.iter().map(|frame| frame.number()).collect();
        if self.kept == 0 {
            assert!(matches!(start, Start::Reset(None)) && numbers.is_empty(), "{id:?}");
            return;
        }
        let [own, all] = &self.of_stream;
        let mut kept = [own.as_slice(), all].concat();
        kept.sort_unstable();
        let complete_after = Self::oldest(own, (1..=self.emitted).filter(|number| !Self::is_to_all(*number)))
            .max(Self::oldest(all, (1..=self.emitted).filter(|number| Self::is_to_all(*number))));
        let epoch = namespace.position().epoch;
        let own_id = |number: &&u64| number.is_multiple_of(3) && format!("own{number}") == id;
        let known = kept.iter().rev().find(own_id).copied();
        let known =
            known.or_else(|| Position::parse(id).filter(|found| found.epoch == epoch).map(|found| found.number));
        match start {
            Start::After(Some(position)) => {
                assert_eq!((position.epoch, Some(position.number)), (epoch, known), "{id:?}");
                assert!((complete_after..=self.emitted).contains(&position.number), "{id:?}");
                assert_eq!(numbers, (position.number + 1..=self.emitted).collect::<Vec<_>>(), "{id:?}");
            }
            Start::Reset(Some(position)) => {
                assert!(known.is_none_or(|known| known < complete_after || known > self.emitted), "{id:?}");
                assert_eq!(numbers, kept, "{id:?}");
                let before = kept.first().map_or(self.emitted, |first| first - 1);
                assert_eq!((position.epoch, position.number), (epoch, before), "{id:?}");
            }
            Start::After(None) | Start::Reset(None) => panic!("the stream keeps events: {id:?}"),
        }
    }

    /// A subscriber of the log gets all events after its position, or learns that it cannot.
    pub fn log(&self, from: Option<Position>) {
        let mut reader = self.log.reader(from);
        let (mut numbers, mut missed) = (Vec::new(), None);
        while let Some(item) = reader.try_next() {
            match item {
                LogItem::Event(logged) => numbers.push(logged.position.number),
                LogItem::Missed(count) => {
                    assert!(numbers.is_empty() && missed.is_none(), "{from:?}");
                    missed = Some(count);
                }
            }
        }
        let oldest = self.emitted.saturating_sub(self.kept.max(1) as u64);
        let first = match (from, missed) {
            (None, missed) => {
                assert_eq!(missed, None);
                self.emitted
            }
            (Some(from), None) => {
                assert!(from.epoch == self.log.position().epoch && (oldest..=self.emitted).contains(&from.number));
                from.number
            }
            (Some(from), Some(count)) => {
                let lost = (from.epoch == self.log.position().epoch).then(|| oldest.checked_sub(from.number)).flatten();
                assert_eq!(count, lost.filter(|lost| *lost > 0), "{from}");
                oldest
            }
        };
        assert_eq!(numbers, (first + 1..=self.emitted).collect::<Vec<_>>(), "{from:?}");
    }

    /// A page of the channel begins after the position, or says that it is not complete.
    pub fn channel(&self, after: Option<ChannelPosition>, most: usize, max_bytes: u64) {
        let Some(page) = self.hub.channels.history(NAME, after, most, max_bytes) else { return };
        let offsets: Vec<u64> = page.messages.iter().map(|message| message.offset).collect();
        assert!(offsets.len() <= most && page.latest == self.emitted);
        // Each message counts with `FRAME` bytes and more.
        assert!(offsets.len() as u64 <= (max_bytes / FRAME).max(1), "{offsets:?}");
        assert!(offsets.is_sorted_by(|one, next| one + 1 == *next), "{offsets:?}");
        for message in &page.messages {
            assert_eq!(message.payload, Payload::Text(message.offset.to_string()));
        }
        let oldest = self.emitted.saturating_sub(self.kept as u64);
        let is_known = |at: &ChannelPosition| at.epoch == page.epoch && (oldest..=self.emitted).contains(&at.offset);
        let first = offsets.first().copied();
        match after {
            Some(at) => {
                assert_eq!(page.complete, is_known(&at), "{at}");
                let begin = if page.complete { at.offset } else { oldest } + 1;
                let has_more = begin <= self.emitted && most > 0;
                assert_eq!(first, has_more.then_some(begin), "{at}");
            }
            None => assert_eq!(page.complete, page.latest == 0 || first == Some(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_resumes_without_a_gap_or_is_reset() {
        for (emitted, kept) in [(0, 0), (0, 3), (1, 1), (2, 5), (9, 0), (9, 1), (9, 4), (12, 20), (17, 5)] {
            let resumable = Resumable::new(emitted, kept);
            let [stream, log, channel] = resumable.epochs();
            for number in (0..emitted + 3).chain([u64::MAX - 1, u64::MAX]) {
                for id in [format!("{stream}-{number}"), format!("0-{number}"), format!("own{number}")] {
                    resumable.stream(&id);
                }
                resumable.log(Position::parse(&format!("{log}-{number}")));
                resumable.log(Some(Position { epoch: 0, number }));
                for most in [0, 1, 3, 100] {
                    resumable.channel(ChannelPosition::parse(&format!("{channel}-{number}")), most, u64::MAX);
                    resumable.channel(Some(ChannelPosition { epoch: 0, offset: number }), most, 300);
                }
            }
            resumable.log(None);
            resumable.channel(None, 2, u64::MAX);
            resumable.channel(None, 100, 0);
        }
    }
}
