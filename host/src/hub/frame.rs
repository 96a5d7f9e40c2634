//! A published message with its number and its encodings.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;

use super::chunk::text_of;
use super::histories::Histories;
use super::message::{Encoding, Message, Position};
use super::sync::{Mutex, RwLock};
use crate::call::ChannelMessage;

/// The bytes that a message counts in addition to its size: its frame and its places in queues.
pub const FRAME: u64 = 256;

/// The bytes of all frames of a hub. A frame counts once, from its creation until it is dropped:
/// in `history` while a history keeps it, otherwise in `queued`.
pub struct Memory {
    history: AtomicU64,
    queued: AtomicU64,
    /// `hub.history`.
    pub max_history: u64,
    /// `hub.queued`.
    pub max_queued: u64,
    /// Those that count here, to be shrunk.
    pub(super) histories: RwLock<Vec<Weak<dyn Histories>>>,
    /// Held while histories shrink to `hub.history`.
    pub(super) evicting: Mutex<()>,
}

impl Memory {
    pub fn new(max_history: u64, max_queued: u64) -> Memory {
        Memory {
            history: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            max_history,
            max_queued,
            histories: RwLock::new(Vec::new()),
            evicting: Mutex::new(()),
        }
    }

    /// Adds histories that are shrunk if all exceed `hub.history`.
    pub fn add_histories(&self, histories: Weak<dyn Histories>) {
        self.histories.write().push(histories);
    }

    /// The bytes that all histories keep.
    pub fn history(&self) -> u64 {
        self.history.load(Relaxed)
    }

    /// The bytes that wait for clients, and are in no history.
    pub fn queued(&self) -> u64 {
        self.queued.load(Relaxed)
    }

    pub fn exceeds_history(&self) -> bool {
        self.history() > self.max_history
    }

    pub fn exceeds_queued(&self) -> bool {
        self.queued() > self.max_queued
    }
}

/// A message on its way to any number of clients.
pub struct Frame {
    message: Arc<dyn Message>,
    /// Its place in the order of its namespace. Zero for a message that the history never keeps.
    number: u64,
    /// The position that is sent with it.
    id: Option<Position>,
    /// One place for each [`Encoding`].
    encoded: [OnceLock<Bytes>; Encoding::COUNT],
    /// The bytes that it counts.
    pub cost: u64,
    memory: Arc<Memory>,
    /// Whether it counts as history.
    is_kept: AtomicBool,
}

/// The form in which a client sends an encoded message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// All bytes. Those of a server-sent event are a chunk of HTTP/1.1.
    Whole,
    /// The text inside the chunk.
    Text,
}

impl Frame {
    pub fn new(message: Arc<dyn Message>, memory: &Arc<Memory>, is_kept: bool) -> Frame {
        let cost = (message.size() as u64).saturating_add(FRAME);
        let place = if is_kept { &memory.history } else { &memory.queued };
        place.fetch_add(cost, Relaxed);
        let (memory, is_kept) = (memory.clone(), AtomicBool::new(is_kept));
        Frame { message, number: 0, id: None, encoded: Default::default(), cost, memory, is_kept }
    }

    /// Gives the frame its place in the order.
    pub fn set_position(&mut self, position: Position) {
        self.number = position.number;
        self.id = self.is_kept.get_mut().then_some(position).filter(|_| self.message.own_id().is_none());
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn own_id(&self) -> Option<&str> {
        self.message.own_id()
    }

    /// The message, if it is one of a channel.
    pub fn of_channel(&self) -> Option<&ChannelMessage> {
        self.message.of_channel()
    }

    /// Returns the message in an encoding and a form.
    pub fn bytes(&self, encoding: Encoding, form: Form) -> &[u8] {
        let whole = self.whole(encoding);
        match form {
            Form::Whole => whole,
            Form::Text => whole.get(text_of(whole)).unwrap_or_default(),
        }
    }

    /// Returns the text inside the chunk of a message, without a copy.
    pub fn text(&self, encoding: Encoding) -> Bytes {
        let chunk = self.whole(encoding);
        chunk.slice(text_of(chunk))
    }

    fn whole(&self, encoding: Encoding) -> &Bytes {
        let [sse, plain, socketcluster] = &self.encoded;
        let place = match encoding {
            Encoding::Sse => sse,
            Encoding::Plain => plain,
            Encoding::SocketCluster => socketcluster,
        };
        place.get_or_init(|| self.message.encode(encoding, self.id.as_ref()))
    }

    /// The history has dropped the frame. Clients may still wait for it.
    pub fn leave_history(&self) {
        if self.is_kept.swap(false, Relaxed) {
            self.memory.queued.fetch_add(self.cost, Relaxed);
            self.memory.history.fetch_sub(self.cost, Relaxed);
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let place = if *self.is_kept.get_mut() { &self.memory.history } else { &self.memory.queued };
        place.fetch_sub(self.cost, Relaxed);
    }
}
