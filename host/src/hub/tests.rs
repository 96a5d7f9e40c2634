//! Tests of the hub with clients that exist only in memory.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::message::HistoryLimits;
use super::*;

mod bursts;
mod channels;
mod fanout;
mod history;
mod inbox;
mod model;
mod parts;
mod reading;
mod sessions;
mod slow;
mod task;

/// A message of one line.
pub struct Text {
    text: String,
    own_id: Option<String>,
    size: usize,
}

impl Message for Text {
    fn encode(&self, _: Encoding, id: Option<&Position>) -> Bytes {
        let id = id.map(|id| format!("@{}", id.number)).unwrap_or_default();
        chunk(8, |bytes| bytes.extend_from_slice(format!("{}{id} ", self.text).as_bytes()))
    }

    fn own_id(&self) -> Option<&str> {
        self.own_id.as_deref()
    }

    fn size(&self) -> usize {
        self.size
    }
}

fn text(text: &str) -> Arc<dyn Message> {
    sized(text, 0)
}

fn sized(text: &str, size: usize) -> Arc<dyn Message> {
    Arc::new(Text { text: text.to_owned(), own_id: None, size })
}

fn with_id(text: &str, id: &str) -> Arc<dyn Message> {
    Arc::new(Text { text: text.to_owned(), own_id: Some(id.to_owned()), size: 0 })
}

/// What a client has received, and how it behaves.
#[derive(Default)]
struct Wire {
    received: String,
    /// The writes.
    writes: usize,
    /// The bytes that it accepts. `None` for any number.
    window: Option<usize>,
    is_gone: bool,
    /// Whether it sends bytes all the time.
    is_flooding: bool,
    /// Whether it waits for an answer, which holds up the stop.
    is_busy: bool,
    /// How often the hub has looked whether it has disconnected.
    looks: usize,
    /// What it has said, and the hub has not read.
    said: String,
    /// The number of the message of which it has sent a part.
    partial: Option<u32>,
    /// How often the hub has told it that it was silent.
    silences: usize,
    /// Whether its silence does not mean that it is lost.
    may_be_silent: bool,
    /// The entries of its queue when it was cut.
    unsent: Option<usize>,
    /// Whether the connection ended in order.
    is_ended: bool,
    is_dropped: bool,
    waker: Option<Waker>,
}

/// The test's end of a connection.
#[derive(Clone, Default)]
struct Reader(Arc<Mutex<Wire>>);

impl Reader {
    fn received(&self) -> String {
        std::mem::take(&mut self.0.lock().received)
    }

    fn set_window(&self, window: Option<usize>) {
        self.change(|wire| wire.window = window);
    }

    fn leave(&self) {
        self.change(|wire| wire.is_gone = true);
    }

    fn say(&self, text: &str) {
        self.change(|wire| wire.said.push_str(text));
    }

    fn change(&self, change: impl FnOnce(&mut Wire)) {
        let mut wire = self.0.lock();
        change(&mut wire);
        let waker = wire.waker.take();
        drop(wire);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn is_open(&self) -> bool {
        !self.0.lock().is_dropped
    }

    fn ended(&self) -> bool {
        let wire = self.0.lock();
        wire.is_ended && wire.is_dropped
    }

    fn unsent(&self) -> Option<usize> {
        self.0.lock().unsent
    }

    fn writes(&self) -> usize {
        self.0.lock().writes
    }
}

/// The hub's end of a connection.
struct MemoryClient(Reader);

impl Drop for MemoryClient {
    fn drop(&mut self) {
        self.0.0.lock().is_dropped = true;
    }
}

impl Client for MemoryClient {
    fn peer(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    fn notice(&mut self, notice: Notice) -> Bytes {
        let number = |position: Option<Position>| position.map_or("-".to_owned(), |at| at.number.to_string());
        match notice {
            Notice::Open(position) => format!("open:{} ", number(position)),
            Notice::Reset(position) => format!("reset:{} ", number(position)),
            Notice::Ping => "ping ".to_owned(),
            Notice::Stop => "stop ".to_owned(),
        }
        .into()
    }

    fn poll_write(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let mut wire = self.0.0.lock();
        wire.writes += 1;
        if wire.is_gone {
            return Poll::Ready(Err(Gone));
        }
        while !outbox.is_empty() {
            let mut slices = [std::io::IoSlice::new(&[]); 16];
            let count = outbox.slices(Encoding::Sse, Form::Text, &mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            let sent = wire.window.map_or(bytes.len(), |window| window.min(bytes.len()));
            wire.window = wire.window.map(|window| window - sent);
            wire.received.push_str(std::str::from_utf8(&bytes[..sent]).unwrap());
            if sent == 0 {
                wire.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            outbox.advance(sent, Encoding::Sse, Form::Text);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Result<Received, Gone> {
        let mut wire = self.0.0.lock();
        wire.looks += 1;
        if wire.is_gone {
            return Err(Gone);
        }
        if wire.is_flooding {
            cx.waker().wake_by_ref();
        }
        wire.waker = Some(cx.waker().clone());
        let said = std::mem::take(&mut wire.said);
        if !said.is_empty() {
            outbox.push_notice(Bytes::from(format!("echo:{said} ")));
        }
        Ok(match said.as_str() {
            "" => Received::Nothing,
            "bye" => Received::End,
            _ => Received::Something,
        })
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
        self.0.0.lock().is_ended = true;
        Poll::Ready(())
    }

    fn is_busy(&self) -> bool {
        self.0.0.lock().is_busy
    }

    fn partial(&self) -> Option<u32> {
        self.0.0.lock().partial
    }

    fn is_lost(&mut self, _: Lost, _: &Context<'_>) -> bool {
        let mut wire = self.0.0.lock();
        wire.silences += 1;
        !wire.may_be_silent
    }

    fn cut(&mut self, outbox: &Outbox) {
        self.0.0.lock().unsent = Some(outbox.len());
    }
}

fn session_settings() -> SessionSettings {
    let topics =
        TopicSettings::of_sessions(&WebSocketConfig::default(), Duration::from_secs(60), Duration::from_secs(1));
    SessionSettings { topics, node: "n".to_owned(), max_values: 1_024, max_channels: 3, encoder: Arc::new(()) }
}

/// A namespace whose fan-outs run when the test says so.
struct Bench {
    topics: Topics,
    fanouts: VecDeque<Fanout>,
    now: Instant,
}

const LIMITS: Limits = Limits { max: 1_000, max_per_topic: 1_000 };

/// The settings of a test, to be changed.
struct Setup {
    hub: HubConfig,
    streams: TopicSettings,
    workers: u32,
    inbox: usize,
}

impl Default for Setup {
    fn default() -> Setup {
        let streams = TopicSettings::new(&SseConfig::default(), Duration::from_secs(60));
        Setup { hub: HubConfig::default(), streams, workers: 2, inbox: INBOX }
    }
}

impl Bench {
    fn new() -> Bench {
        Bench::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Setup)) -> Bench {
        let mut setup = Setup::default();
        change(&mut setup);
        let HubConfig { history, topics, queued } = setup.hub;
        let memory = Arc::new(Memory::new(history, queued));
        let inboxes: Arc<[_]> = (0..setup.workers).map(|_| Arc::new(Inbox::new(setup.inbox, queued))).collect();
        let inboxes = Inboxes { own: inboxes.clone(), all: inboxes };
        let topics = Topics::new(Namespace::new(epoch(), topics, setup.streams, inboxes, memory, Arc::default()));
        let fanouts = (0..setup.workers).map(|worker| Fanout::new(&topics.namespace, worker).unwrap()).collect();
        Bench { topics, fanouts, now: Instant::now() }
    }

    fn open_with(&self, topic: &str, worker: u32, resume: Option<&str>, reader: &Reader) {
        let place = self.topics.reserve(topic, LIMITS).unwrap();
        let resume = resume.map(|id| Resume::Id(id.to_owned()));
        self.topics.attach(place, worker, resume, Box::new(MemoryClient(reader.clone())));
    }

    fn open(&self, topic: &str, worker: u32) -> Reader {
        let reader = Reader::default();
        self.open_with(topic, worker, None, &reader);
        reader
    }

    /// Opens a connection of a client that has received this id.
    fn resume(&self, topic: &str, id: &str) -> Reader {
        let reader = Reader::default();
        self.open_with(topic, 0, Some(id), &reader);
        reader
    }

    /// Opens a connection of a client that has received all up to this number.
    fn resume_after(&self, topic: &str, number: u64) -> Reader {
        self.resume(topic, &Position { number, ..self.topics.position() }.to_string())
    }

    fn publish(&self, topic: &str, message: &str) -> u32 {
        self.topics.publish(topic, text(message), Reach::Node)
    }

    fn publish_all(&self, message: &str) -> u32 {
        self.topics.publish_all(text(message), Reach::Node)
    }

    /// Runs the fan-outs until they wait.
    fn run(&mut self) {
        for worker in 0..self.fanouts.len() {
            while self.turn(worker) {}
        }
    }

    /// Runs one turn of a fan-out. Returns whether it wants another one.
    fn turn(&mut self, worker: usize) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.fanouts[worker].poll(&mut cx, self.now).is_ready()
    }

    fn slow(&self, reason: SlowReason) -> u64 {
        self.topics.counters().slow(reason)
    }
}
