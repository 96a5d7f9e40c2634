//! What clients have sent and received, which faults there were, and which frontends are open.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;

use super::topology::FRONTENDS;

/// The connection of a client, and the number of a message of it.
pub type Key = (String, u64);

/// The code of a message that has failed without an answer.
pub const SILENCE: &str = "silence";

/// The end of a message, as its client knows it.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    Acked(Value),
    /// The error in the ack.
    Refused {
        code: String,
        message: String,
    },
    /// The connection has ended before.
    Lost,
}

#[derive(Clone)]
pub struct Message {
    /// What it causes, see the guest.
    pub act: &'static str,
    /// The member that a push is for.
    pub to: usize,
    pub sent: Instant,
    pub ended: Option<(Instant, End)>,
    /// How often its handler has sent its number back.
    pub told: u32,
}

/// The beginning of the run, from which times are told.
pub static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl fmt::Debug for Message {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { act, to: member, told, ended, .. } = self;
        let (sent, over) = self.span();
        let end = ended.as_ref().map(|(_, end)| end);
        let [sent, over] = [sent, over].map(|at| at.saturating_duration_since(*BEGUN).as_secs_f64());
        write!(to, "`{act}` to {member} from {sent:.3} s to {over:.3} s, told {told} times: {end:?}")
    }
}

impl Message {
    pub fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    /// The time during which it was on its way.
    pub fn span(&self) -> (Instant, Instant) {
        (self.sent, self.ended.as_ref().map_or_else(Instant::now, |(at, _)| *at))
    }

    pub fn reply(&self) -> Option<&Value> {
        match &self.ended {
            Some((_, End::Acked(reply))) => Some(reply),
            _ => None,
        }
    }

    /// The version of the module that has replied.
    fn version(&self) -> Option<u64> {
        self.reply()?["version"].as_u64()
    }

    /// The code of the error of the message, or of what it caused.
    pub fn error(&self) -> Option<&str> {
        match self.ended.as_ref()? {
            (_, End::Refused { code, .. }) => Some(code),
            (_, End::Acked(reply)) => reply["act"]["error"].as_str(),
            (_, End::Lost) => None,
        }
    }
}

/// Something that a client has received: `<connection> <number> <node>` of the message behind it.
#[derive(Debug, Clone)]
pub struct Got {
    pub client: usize,
    pub connection: u32,
    pub text: String,
}

/// The time during which a client was connected, with its subscriptions.
#[derive(Debug, Clone)]
pub struct Stay {
    pub client: usize,
    pub connection: u32,
    pub since: Instant,
    pub until: Option<Instant>,
}

impl Stay {
    /// Whether it has begun before a span of time, and not ended since.
    pub fn covers(&self, (from, _): (Instant, Instant)) -> bool {
        self.since < from && self.until.is_none()
    }

    /// Whether a span of time is within it.
    pub fn contains(&self, (from, until): (Instant, Instant)) -> bool {
        self.since < from && self.until.is_none_or(|end| end > until)
    }
}

/// A channel with a history: what each client has got, and all that is at each place.
#[derive(Default)]
pub struct LogBook {
    pub got: Vec<Got>,
    pub places: BTreeMap<(String, u64), BTreeSet<String>>,
    /// When clients were told that they have lost messages.
    pub losses: Vec<Loss>,
    /// All epochs of the run.
    pub epochs: BTreeSet<String>,
}

/// A client was told that it may have lost messages of a channel with a history.
#[derive(Debug)]
pub struct Loss {
    pub client: usize,
    pub at: Instant,
    /// When it was sure the last time that nothing was missing, and up to which place.
    pub whole: Instant,
    pub last: (String, u64),
}

#[derive(Default)]
pub struct Books {
    pub said: BTreeMap<Key, Message>,
    pub noted: BTreeMap<Key, Message>,
    pub room: Vec<Got>,
    pub pushed: Vec<Got>,
    pub news: Vec<Got>,
    /// The channels with a history.
    pub logs: BTreeMap<&'static str, LogBook>,
    /// When a reader was told that it may have missed something.
    pub resets: Vec<(usize, Instant)>,
    pub stays: Vec<Stay>,
    /// The same of readers.
    pub readings: Vec<Stay>,
    pub closed: usize,
}

impl Books {
    /// Whether a message may have taken effect after a later one of its connection. Calls start in
    /// their order (docs/websockets.md), also over a swap. But a call of the previous generation
    /// that waits, here for its file, is not waited for. What failed because the connection of a
    /// node was lost may arrive late (docs/faults.md).
    pub fn may_follow(&self, (from, number): &Key, later: u64) -> bool {
        let version = |number: u64| self.said.get(&(from.clone(), number)).and_then(Message::version);
        let has_failed = self.said.get(&(from.clone(), *number)).is_none_or(|message| message.error().is_some());
        has_failed || version(*number).is_none_or(|of| version(later).is_some_and(|other| of < other))
    }
}

/// What a fault may cause for messages and readers that the fault itself does not cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allows {
    /// Messages end with an error.
    pub errors: bool,
    /// Messages end at their deadline, because nobody knows that they were lost.
    pub timeouts: bool,
    /// What is published does not arrive on all nodes.
    pub misses: bool,
    /// A push does not reach a frontend, which is silent, or which the backend has not met.
    pub silence: bool,
    /// The channels with a history have another home.
    pub moves: bool,
}

#[derive(Debug)]
struct Window {
    allows: Allows,
    from: Instant,
    until: Option<Instant>,
}

/// Readers are told of a gap at most once a second.
const TOLD_LATER: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Shared {
    books: Mutex<Books>,
    windows: Mutex<Vec<Window>>,
    board: Mutex<BTreeSet<String>>,
}

impl Shared {
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    pub fn fault_begins(&self, allows: Allows) {
        self.windows.lock().unwrap().push(Window { allows, from: Instant::now(), until: None });
    }

    pub fn fault_ends(&self) {
        self.windows.lock().unwrap().last_mut().unwrap().until = Some(Instant::now());
    }

    /// Whether a fault that allows something was on during a span of time.
    pub fn allowed(&self, (from, until): (Instant, Instant), wanted: impl Fn(Allows) -> bool) -> bool {
        let windows = self.windows.lock().unwrap();
        windows.iter().any(|one| wanted(one.allows) && one.from <= until && one.until.is_none_or(|end| end >= from))
    }

    /// Whether a reader may be told of a gap at this time.
    pub fn may_tell(&self, at: Instant) -> bool {
        self.allowed((at - TOLD_LATER, at), |allows| allows.misses)
    }

    /// When the message behind a text was sent, if it was not forgotten.
    pub fn sent(&self, text: &str) -> Option<Instant> {
        let mut parts = text.split(' ');
        let key = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        Some(self.books().said.get(&key)?.sent)
    }

    /// Begins a round of probes.
    pub fn clear_board(&self) {
        self.board.lock().unwrap().clear();
    }

    /// Notes that a client has received a probe, or the ack of a message.
    pub fn mark(&self, client: &str, what: &str) {
        self.board.lock().unwrap().insert(format!("{client}: {what}"));
    }

    pub fn is_marked(&self, client: &str, what: &str) -> bool {
        self.board.lock().unwrap().contains(&format!("{client}: {what}"))
    }
}

/// The frontends that accept clients.
#[derive(Clone)]
pub struct Doors {
    addresses: [SocketAddr; FRONTENDS],
    /// How often each was shut and opened again. Odd while it is shut.
    turns: Arc<watch::Sender<[u32; FRONTENDS]>>,
}

impl Doors {
    pub fn new(addresses: [SocketAddr; FRONTENDS]) -> Doors {
        Doors { addresses, turns: Arc::new(watch::channel([0; FRONTENDS]).0) }
    }

    pub fn shut(&self, index: usize) {
        self.turns.send_modify(|turns| turns[index] += 1);
    }

    pub fn open(&self, index: usize) {
        self.turns.send_modify(|turns| turns[index] += 1);
    }

    /// Waits for an open frontend: the preferred one, or else another one. Returns its number, its
    /// turn and its address.
    pub async fn enter(&self, preferred: usize) -> (usize, u32, SocketAddr) {
        let open = |turns: &[u32; FRONTENDS], index: usize| turns[index].is_multiple_of(2);
        let mut turns = self.turns.subscribe();
        let turns = turns.wait_for(|turns| (0..FRONTENDS).any(|index| open(turns, index))).await.unwrap();
        let index = match open(&turns, preferred) {
            true => preferred,
            false => (0..FRONTENDS).find(|index| open(&turns, *index)).unwrap(),
        };
        (index, turns[index], self.addresses[index])
    }

    /// Whether a frontend was shut since a client has entered it.
    pub fn was_shut(&self, index: usize, turn: u32) -> bool {
        self.turns.borrow()[index] != turn
    }
}
