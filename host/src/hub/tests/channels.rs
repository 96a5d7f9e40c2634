//! Channels, with clients that exist only in memory.

use super::*;
use crate::call::{ChannelKeep, ChannelMessage, ChannelPage, ChannelPosition, ChannelSettings, Payload};

mod keeping;
mod members;
mod presence;
mod random;
mod replica;
mod sending;

/// The epoch of the first channel of a test.
const EPOCH: u64 = 0x100;

/// The channels of a node whose clients exist only in memory.
struct Node {
    channels: Arc<Channels>,
    sessions: Arc<Sessions>,
    bench: Bench,
}

/// The settings of a test, to be changed.
struct Limited {
    hub: HubConfig,
    workers: u32,
    inbox: usize,
    channels_of_session: u32,
    subscriptions: u32,
}

/// Writes a message as `<channel>:<payload>@<offset>`, with the offset only where there is a
/// history.
struct Encoder;

impl EncodeChannel for Encoder {
    fn encode(
        &self,
        channel: &str,
        message: &ChannelMessage,
        position: Option<ChannelPosition>,
        envelope: bool,
        _: Encoding,
    ) -> Bytes {
        let at = position.map(|at| format!("@{}", at.offset)).unwrap_or_default();
        assert!(position.is_none_or(|at| at.offset == message.offset));
        let mark = if envelope { "+" } else { "" };
        chunk(8, |bytes| {
            bytes.extend_from_slice(format!("{channel}{mark}:{}{at} ", message.payload.to_text()).as_bytes());
        })
    }
}

/// The settings of a channel without a history.
const PLAIN: ChannelSettings = ChannelSettings {
    count: 0,
    age: Duration::ZERO,
    bytes: 0,
    keep: ChannelKeep::Memory,
    presence: false,
    envelope: false,
    is_for_each: false,
};

/// The settings of a channel that keeps this number of messages.
fn keeping(count: usize) -> ChannelSettings {
    ChannelSettings { count, age: Duration::from_secs(300), bytes: u64::MAX, ..PLAIN }
}

const PRESENCE: ChannelSettings = ChannelSettings { presence: true, ..PLAIN };

impl Node {
    fn new() -> Node {
        Node::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Limited)) -> Node {
        let (hub, subscriptions) = (HubConfig::default(), 100_000);
        let mut limited = Limited { hub, workers: 2, inbox: INBOX, channels_of_session: 10, subscriptions };
        change(&mut limited);
        let topics = limited.hub.topics;
        let bench = Bench::with(|setup| {
            setup.hub = HubConfig { topics: 100_000, ..limited.hub };
            setup.streams = session_settings().topics;
            (setup.workers, setup.inbox) = (limited.workers, limited.inbox);
        });
        let namespace = bench.topics.namespace.clone();
        let (each, all) = (limited.channels_of_session, limited.subscriptions);
        let channels = Channels::new(EPOCH, topics, each, all, namespace, Arc::new(Encoder));
        let sessions = Arc::new(Sessions::new(bench.topics.clone(), "n", 32, channels.clone()));
        Node { channels, sessions, bench }
    }

    /// Connects a client to a worker.
    fn open(&self, worker: u32) -> (Arc<Session>, Reader) {
        let new = NewSession { worker, peer: Ipv4Addr::LOCALHOST.into(), protocol: "plain".into(), socket: None };
        let (session, place) = self.sessions.open(new, 10_000).unwrap();
        let reader = Reader::default();
        self.bench.topics.attach(place, worker, None, Box::new(MemoryClient(reader.clone())));
        (session, reader)
    }

    /// Connects a client that is subscribed to a channel.
    fn member(&self, channel: &str, worker: u32, settings: &ChannelSettings) -> (Arc<Session>, Reader) {
        let (session, reader) = self.open(worker);
        assert_eq!(self.channels.subscribe(channel, &session, None, settings), Ok(true));
        (session, reader)
    }

    /// Publishes a message. Returns its offset if it is kept.
    fn publish(&self, channel: &str, text: &str, settings: &ChannelSettings) -> Option<u64> {
        let message = Published { payload: text.into(), session: None, settings };
        self.channels.publish(channel, message).unwrap().map(|at| at.offset)
    }

    /// Runs the fan-outs until they wait, and returns what a client has received since.
    fn got(&mut self, reader: &Reader) -> String {
        self.bench.run();
        reader.received().replace("open:- ", "")
    }

    fn history(&self, channel: &str, after: Option<(u64, u64)>) -> Option<ChannelPage> {
        let after = after.map(|(epoch, offset)| ChannelPosition { epoch, offset });
        self.channels.history(channel, after, 1_000, u64::MAX)
    }

    /// The texts of a channel's messages after a position, and whether they are complete.
    fn read(&self, channel: &str, after: Option<(u64, u64)>) -> (String, bool) {
        let page = self.history(channel, after).unwrap();
        (texts(&page), page.complete)
    }

    fn sweep(&self, later: Duration) {
        let now = Instant::now() + later;
        // Each sweep looks at one of 64 parts.
        (0..64).for_each(|_| _ = self.channels.sweep(now));
    }
}

fn texts(page: &ChannelPage) -> String {
    page.messages.iter().map(|message| format!("{}@{} ", message.payload.to_text(), message.offset)).collect()
}
