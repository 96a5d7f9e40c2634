//! The queue from publishers to the fan-out of one worker.

use std::collections::VecDeque;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Wake, Waker};

use super::client::Client;
use super::frame::Frame;
use super::ids::IdHasher;
use super::message::Position;
use super::shards::Place;
use super::sync::{AtomicBool, Mutex};
use crate::call::{Amount, Shares};

/// The messages that an inbox may hold.
pub const INBOX: usize = 81_920;

/// The numbers under which messages to all, and those to some topics, have their shares of the
/// inbox. Topics and channels have lower numbers.
const ALL: u64 = u64::MAX;
pub const EACH: u64 = u64::MAX - 1;

/// An empty inbox keeps room for this number of items.
const KEPT_CAPACITY: usize = 1_024;

/// What a fan-out is told, in order.
pub enum Item {
    /// A message for the connections of a topic.
    Frame {
        topic: u64,
        frame: Arc<Frame>,
    },
    /// A message for all connections.
    All(Arc<Frame>),
    /// A message for the connections of several topics. It counts once, however many they are.
    Each {
        /// The number under which it has its share of the inbox.
        share: u64,
        topics: Arc<Vec<u64>>,
        /// The bytes that the list counts, besides those of the frame.
        bytes: u64,
        frame: Arc<Frame>,
    },
    Attach(Box<Attach>),
    /// The inbox was full: the connections of the topic have missed messages.
    Cut {
        topic: u64,
    },
    /// The inbox was full: all connections have missed messages.
    CutAll,
    /// The connections of the topic end.
    Close {
        topic: u64,
    },
    /// All connections end.
    CloseAll,
    /// All connections end, and those that follow.
    Stop,
    /// This connection ends because of that, behind the last answers to its client.
    StopOne(u32),
}

/// A new connection.
pub struct Attach {
    pub place: Place,
    pub client: Box<dyn Client>,
    pub start: Start,
    /// The messages that the client gets first.
    pub replay: Vec<Arc<Frame>>,
}

/// Where a new connection starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After this position, if the topic has a history.
    After(Option<Position>),
    /// The hub does not know what the client has missed. The position is the one before the oldest
    /// message that it has kept.
    Reset(Option<Position>),
}

/// The inbox of one worker.
pub struct Inbox {
    state: Mutex<State>,
    /// The connections that were attached and have not ended.
    pub attached: AtomicU32,
    /// Messages that did not fit.
    pub dropped: AtomicU64,
    most: Amount,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    /// The messages among the items, and those of each topic. A message needs about 50 ns to pass
    /// the inbox. The count adds nothing while messages of a few hundred topics wait, about 35 ns
    /// with 10,000 topics, and 70 to 140 ns with 60,000.
    shares: Shares<u64, BuildHasherDefault<IdHasher>>,
    /// Connections whose client may accept more, or has disconnected.
    ready: Vec<u32>,
    waker: Option<Waker>,
    /// Whether the fan-out was woken, or runs, and will look for more.
    is_awake: bool,
    /// Whether the fan-out has ended.
    is_ended: bool,
    /// As in [`Member`](super::topic::Member), for all connections of the worker.
    is_cut: bool,
    is_closed: bool,
}

impl State {
    /// Returns the waker of a fan-out that sleeps.
    fn wake(&mut self) -> Option<Waker> {
        if std::mem::replace(&mut self.is_awake, true) { None } else { self.waker.clone() }
    }

    fn push(&mut self, topic: u64, cost: u64, item: Item) {
        self.shares.add(topic, cost);
        self.items.push_back(item);
    }
}

/// The wakers that a publisher calls when it holds no lock any more.
#[derive(Default)]
pub struct Wakers(Vec<Waker>);

impl Wakers {
    pub fn add(&mut self, waker: Option<Waker>) {
        self.0.extend(waker);
    }
}

impl Drop for Wakers {
    fn drop(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

impl Inbox {
    pub fn new(max_frames: usize, max_bytes: u64) -> Inbox {
        let (state, attached, dropped) = (Mutex::new(State::default()), AtomicU32::new(0), AtomicU64::new(0));
        Inbox { state, attached, dropped, most: Amount { entries: max_frames as u64, bytes: max_bytes } }
    }

    /// Adds a message for a topic. If there is no room, the connections of the topic are cut.
    /// `is_cut` says whether they are being cut already.
    pub fn push_frame(&self, topic: u64, frame: &Arc<Frame>, is_cut: &mut bool) -> Option<Waker> {
        let mut state = self.state.lock();
        if state.is_ended {
            return None;
        }
        if !state.shares.has_room(&topic, frame.cost, &self.most) {
            return self.cut(&mut state, topic, is_cut);
        }
        state.push(topic, frame.cost, Item::Frame { topic, frame: frame.clone() });
        state.wake()
    }

    /// Adds a message for all connections. If there is no room, they are cut.
    pub fn push_all(&self, frame: &Arc<Frame>) -> Option<Waker> {
        let mut state = self.state.lock();
        if state.is_ended {
            return None;
        }
        if state.shares.has_room(&ALL, frame.cost, &self.most) {
            state.push(ALL, frame.cost, Item::All(frame.clone()));
        } else {
            self.dropped.fetch_add(1, Relaxed);
            if !std::mem::replace(&mut state.is_cut, true) {
                state.items.push_back(Item::CutAll);
            }
        }
        state.wake()
    }

    /// Adds a message for several topics. Its list counts `bytes`. Returns false if there is no
    /// room: then the caller cuts their connections with [`Inbox::push_cut`].
    pub fn push_each(
        &self,
        share: u64,
        topics: Arc<Vec<u64>>,
        bytes: u64,
        frame: &Arc<Frame>,
        wakers: &mut Wakers,
    ) -> bool {
        let mut state = self.state.lock();
        if state.is_ended {
            return true;
        }
        let cost = frame.cost.saturating_add(bytes);
        let has_room = state.shares.has_room(&share, cost, &self.most);
        if has_room {
            state.push(share, cost, Item::Each { share, topics, bytes, frame: frame.clone() });
            wakers.add(state.wake());
        }
        has_room
    }

    /// Cuts the connections of a topic, which have missed a message. `is_cut` says whether they are
    /// being cut already.
    pub fn push_cut(&self, topic: u64, is_cut: &mut bool) -> Option<Waker> {
        let mut state = self.state.lock();
        if state.is_ended { None } else { self.cut(&mut state, topic, is_cut) }
    }

    fn cut(&self, state: &mut State, topic: u64, is_cut: &mut bool) -> Option<Waker> {
        self.dropped.fetch_add(1, Relaxed);
        if !std::mem::replace(is_cut, true) {
            state.items.push_back(Item::Cut { topic });
        }
        state.wake()
    }

    /// Adds a connection. Returns it if the fan-out has ended.
    pub fn push_attach(&self, attach: Box<Attach>) -> Result<Option<Waker>, Box<Attach>> {
        let mut state = self.state.lock();
        if state.is_ended {
            return Err(attach);
        }
        self.attached.fetch_add(1, Relaxed);
        (state.is_cut, state.is_closed) = (false, false);
        state.items.push_back(Item::Attach(attach));
        Ok(state.wake())
    }

    /// Closes the connections of a topic.
    pub fn push_close(&self, topic: u64) -> Option<Waker> {
        let mut state = self.state.lock();
        if state.is_ended {
            return None;
        }
        state.items.push_back(Item::Close { topic });
        state.wake()
    }

    /// Closes all connections. Returns how many there are, or 0 if they are being closed already.
    pub fn push_close_all(&self) -> (u32, Option<Waker>) {
        let mut state = self.state.lock();
        if state.is_ended || std::mem::replace(&mut state.is_closed, true) {
            return (0, None);
        }
        state.items.push_back(Item::CloseAll);
        (self.attached.load(Relaxed), state.wake())
    }

    /// Tells the fan-out to stop after everything that was added before. Only the fan-out itself
    /// calls it.
    pub fn push_stop(&self) {
        self.state.lock().items.push_back(Item::Stop);
    }

    /// Tells the fan-out to end a connection after everything that was added before, as the answer
    /// that its client has waited for. Only the fan-out itself calls it.
    pub fn push_stop_of(&self, index: u32) {
        self.state.lock().items.push_back(Item::StopOne(index));
    }

    /// Moves up to `max` items and all ready connections to the fan-out. If there are none, the
    /// waker is called when there are. Returns whether there were any.
    pub fn take(&self, max: usize, items: &mut VecDeque<Item>, ready: &mut VecDeque<u32>, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if state.items.is_empty() && state.ready.is_empty() {
            state.is_awake = false;
            // Dropping a waker can run code of the runtime, which must not find the lock taken.
            let is_same = state.waker.as_ref().is_some_and(|known| known.will_wake(waker));
            let old = if is_same { None } else { state.waker.replace(waker.clone()) };
            drop(state);
            drop(old);
            return false;
        }
        state.is_awake = true;
        ready.extend(state.ready.drain(..));
        for _ in 0..max {
            let Some(item) = state.items.pop_front() else { break };
            match &item {
                Item::Frame { topic, frame } => state.shares.remove(topic, frame.cost),
                Item::All(frame) => state.shares.remove(&ALL, frame.cost),
                Item::Each { share, bytes, frame, .. } => state.shares.remove(share, frame.cost.saturating_add(*bytes)),
                _ => {}
            }
            items.push_back(item);
        }
        if state.items.is_empty() && state.items.capacity() > KEPT_CAPACITY {
            (state.items, state.shares) = Default::default();
        }
        true
    }

    /// Rejects all further items, and returns those that nobody has taken.
    pub fn end(&self) -> VecDeque<Item> {
        let mut state = self.state.lock();
        state.is_ended = true;
        let waker = state.waker.take();
        let items = std::mem::take(&mut state.items);
        drop(state);
        drop(waker);
        items
    }

    /// Makes the fan-out take a turn, although nothing was added.
    pub fn wake(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        if state.is_ended { None } else { state.wake() }
    }

    fn ready(&self, index: u32) -> Option<Waker> {
        let mut state = self.state.lock();
        if state.is_ended {
            return None;
        }
        state.ready.push(index);
        state.wake()
    }
}

/// The waker of one connection. It tells the fan-out which connection is ready, so that no
/// connection needs a task.
pub struct ReadyWaker {
    inbox: Arc<Inbox>,
    index: u32,
    is_queued: AtomicBool,
}

impl ReadyWaker {
    pub fn new(inbox: &Arc<Inbox>, index: u32) -> Arc<ReadyWaker> {
        Arc::new(ReadyWaker { inbox: inbox.clone(), index, is_queued: AtomicBool::new(false) })
    }

    /// The fan-out looks at the connection now: a later wake counts again.
    pub fn rearm(&self) {
        self.is_queued.store(false, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Wake for ReadyWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, std::sync::atomic::Ordering::SeqCst)
            && let Some(waker) = self.inbox.ready(self.index)
        {
            waker.wake();
        }
    }
}
