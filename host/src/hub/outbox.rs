//! The messages that wait for one connection.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{Form, Frame};
use super::message::{Encoding, QueueLimits};

/// A frame as one worker shares it between its connections. Workers have one each, so that they do
/// not contend for its counter.
pub struct Shared(pub Arc<Frame>);

/// The queue of a connection. Its [`Client`](super::Client) sends from the front.
#[derive(Default)]
pub struct Outbox {
    entries: VecDeque<Entry>,
    /// The bytes that the entries count.
    bytes: u64,
    /// The bytes of the first entry that were sent.
    sent: usize,
    /// The number of sends, which tells whether the client reads.
    sends: u32,
    /// The bytes of all sends.
    sent_bytes: usize,
    /// Replayed messages and notices: they do not count against the limits until all was sent once.
    extra_events: u32,
    extra_bytes: u64,
    /// The notices that wait.
    notices: u32,
}

enum Entry {
    Frame(Arc<Shared>),
    /// A notice, in the form that the client sends.
    Own(Box<Bytes>),
}

/// An empty queue keeps room for this number of messages.
const KEPT_CAPACITY: usize = 8;

impl Entry {
    fn bytes(&self, encoding: Encoding, form: Form) -> &[u8] {
        match self {
            Entry::Frame(shared) => shared.0.bytes(encoding, form),
            Entry::Own(bytes) => bytes,
        }
    }

    fn cost(&self) -> u64 {
        match self {
            Entry::Frame(shared) => shared.0.cost,
            Entry::Own(bytes) => bytes.len() as u64,
        }
    }
}

impl Outbox {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a message waits, besides notices.
    pub fn has_messages(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Frame(_)))
    }

    /// The number of notices that wait.
    pub fn notices(&self) -> u32 {
        self.notices
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// A number that changes whenever something was sent.
    pub fn sends(&self) -> u32 {
        self.sends
    }

    /// The bytes that were sent so far. The number begins again at 0 after the largest one.
    pub fn sent_bytes(&self) -> usize {
        self.sent_bytes
    }

    /// Whether one more message of this cost would exceed the limits.
    pub fn is_full(&self, cost: u64, limits: &QueueLimits) -> bool {
        let events = limits.events.saturating_add(self.extra_events as usize);
        let bytes = limits.bytes.saturating_add(self.extra_bytes);
        !self.entries.is_empty() && (self.entries.len() >= events || self.bytes.saturating_add(cost) > bytes)
    }

    pub fn push(&mut self, shared: Arc<Shared>) {
        self.add(Entry::Frame(shared));
    }

    /// Adds a message that does not count against the limits.
    pub fn push_replayed(&mut self, shared: Arc<Shared>) {
        self.extra_events = self.extra_events.saturating_add(1);
        self.extra_bytes = self.extra_bytes.saturating_add(shared.0.cost);
        self.push(shared);
    }

    /// Adds a notice, which does not count against the limits.
    pub fn push_notice(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.extra_events = self.extra_events.saturating_add(1);
        self.extra_bytes = self.extra_bytes.saturating_add(bytes.len() as u64);
        self.notices = self.notices.saturating_add(1);
        self.add(Entry::Own(Box::new(bytes)));
    }

    fn add(&mut self, entry: Entry) {
        self.bytes = self.bytes.saturating_add(entry.cost());
        self.entries.push_back(entry);
    }

    /// Fills `slices` with the bytes to send next, and returns how many slices it has filled.
    pub fn slices<'a>(&'a self, encoding: Encoding, form: Form, slices: &mut [IoSlice<'a>]) -> usize {
        let (mut count, mut skip) = (0, self.sent);
        for (slice, entry) in slices.iter_mut().zip(&self.entries) {
            let bytes = entry.bytes(encoding, form);
            *slice = IoSlice::new(bytes.get(std::mem::take(&mut skip)..).unwrap_or_default());
            count += 1;
        }
        count
    }

    /// The rest of the first entry, if a part of it was sent.
    pub fn rest_of_started(&self, encoding: Encoding, form: Form) -> &[u8] {
        let front = self.entries.front().filter(|_| self.sent > 0).map(|entry| entry.bytes(encoding, form));
        front.and_then(|bytes| bytes.get(self.sent..)).unwrap_or_default()
    }

    /// Removes bytes that were sent.
    pub fn advance(&mut self, count: usize, encoding: Encoding, form: Form) {
        self.sends = self.sends.wrapping_add(1);
        self.sent = self.sent.saturating_add(count);
        self.sent_bytes = self.sent_bytes.wrapping_add(count);
        while let Some(front) = self.entries.front() {
            let length = front.bytes(encoding, form).len();
            if self.sent < length {
                break;
            }
            self.sent -= length;
            self.pop();
        }
    }

    /// The bytes of the first message that waits, whole. 0 if none waits.
    pub fn front_len(&self, encoding: Encoding) -> usize {
        self.entries.front().map_or(0, |entry| entry.bytes(encoding, Form::Text).len())
    }

    /// Takes the next message, for a client that sends whole messages.
    pub fn take(&mut self, encoding: Encoding) -> Option<Bytes> {
        let bytes = match self.entries.front()? {
            Entry::Frame(shared) => shared.0.text(encoding),
            Entry::Own(bytes) => Bytes::clone(bytes),
        };
        self.sends = self.sends.wrapping_add(1);
        self.sent_bytes = self.sent_bytes.wrapping_add(bytes.len());
        self.pop();
        Some(bytes)
    }

    fn pop(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.bytes = self.bytes.saturating_sub(entry.cost());
        if matches!(entry, Entry::Own(_)) {
            self.notices = self.notices.saturating_sub(1);
        }
        if self.entries.is_empty() {
            (self.extra_events, self.extra_bytes) = (0, 0);
            if self.entries.capacity() > KEPT_CAPACITY {
                self.entries = VecDeque::new();
            }
        }
    }
}
