//! The lines of channels: what waits until the route of a channel has decided.
//!
//! Everything on a channel whose route is asked goes through its line. A step enters the line in
//! the order of its arrival, with its call queued already, and the steps end one after the other. A
//! line exists while it has steps. It belongs to the host, so it survives the brokers.
//!
//! If the broker is killed or crashes, calls that have not started run in its next instance at
//! their places, and a call that was running ends with `crashed` and leaves its place empty.
//! Subscriptions go through the same line as messages, so that a message published after an
//! acknowledged subscription reaches the new member.
//!
//! What the route is only told about members has lines of its own, so that it delays no request:
//! the route decides nothing there.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::task::coop::consume_budget;

use crate::call::text::{NAME, line};
use crate::call::{Amount, CallError, Context, Shares, bounds};

/// The most requests of one channel that wait for its route: subscriptions, the ends of
/// subscriptions, and messages.
pub const WAITING: usize = 64;

/// The most bytes of all steps that wait. A module has its share of them, and a step is accepted
/// while no other waits.
const MOST: Amount = Amount { bytes: 64 << 20, ..Amount::MAX };

/// What a step counts besides its message: about what it uses.
const STEP_BYTES: u64 = 512;

/// The most steps of one channel that only tell its route about a member, or deliver a message of
/// another node.
const NOTICES: usize = 10_000;

/// The parts of the map of lines, each with a lock of its own.
const SHARDS: usize = 64;

/// The lines of a node.
pub struct Lines {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// The lines that exist.
    active: AtomicUsize,
    /// The requests that wait.
    waiting: AtomicUsize,
    /// The bytes of the steps that wait or run, for each module.
    bytes: Mutex<Shares<Arc<str>>>,
    /// Runs the steps that call no route.
    runtime: Handle,
}

type Shard = HashMap<Arc<str>, Line>;

/// The steps of one channel.
#[derive(Default)]
struct Line {
    steps: VecDeque<Step>,
    /// How many of them, and of the one that runs, are requests.
    requests: usize,
}

struct Step {
    kind: Kind,
    /// The bytes of the message, until the step has ended.
    _bytes: Bytes,
    /// Runs when all earlier steps have ended.
    work: BoxFuture<'static, ()>,
}

/// The bytes of a step that count until this is dropped.
struct Bytes {
    lines: Arc<Lines>,
    module: Arc<str>,
    count: u64,
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.lines.bytes.lock().remove(&self.module, self.count);
    }
}

/// Why a step is in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Someone waits for the outcome.
    Request,
    /// The route is told about a member, or asked about a message of another node.
    Notice,
}

/// The end of a line, where a step may enter. While it exists, no other step enters.
pub struct Place<'a> {
    lines: &'a Arc<Lines>,
    shard: MutexGuard<'a, Shard>,
    channel: &'a Arc<str>,
    kind: Kind,
    bytes: Bytes,
}

impl Lines {
    /// `runtime` runs the steps that call no route.
    pub fn new(runtime: Handle) -> Arc<Lines> {
        Arc::new(Lines {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            active: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            bytes: Mutex::default(),
            runtime,
        })
    }

    fn shard(&self, channel: &str) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(channel) % SHARDS as u64).unwrap_or_default();
        // The index is below the number of shards.
        let [first, ..] = &self.shards;
        self.shards.get(index).unwrap_or(first).lock()
    }

    /// Whether steps of a channel wait, so that another one must not overtake them.
    pub fn is_busy(&self, channel: &str) -> bool {
        self.active.load(Relaxed) > 0 && self.shard(channel).contains_key(channel)
    }

    /// The requests that wait in all lines.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Goes to the end of a channel's line. `module` has its route, and `bytes` is the size of the
    /// message. Fails if too many steps wait there, if too many bytes wait anywhere, or if
    /// `waiter`, the call that is to wait for the step, is itself about the channel: it would wait
    /// for itself.
    pub fn place<'a>(
        self: &'a Arc<Lines>,
        channel: &'a Arc<str>,
        module: &Arc<str>,
        kind: Kind,
        bytes: usize,
        waiter: Option<&Context>,
    ) -> Result<Place<'a>, CallError> {
        if waiter.is_some_and(|waiter| waiter.is_about(channel)) {
            return Err(CallError::WouldDeadlock(format!(
                "a call of the route of {} waits for its own channel: publish without waiting",
                line(channel, NAME)
            )));
        }
        let shard = self.shard(channel);
        let (requests, notices) =
            shard.get(channel).map_or((0, 0), |line| (line.requests, line.steps.len().saturating_sub(line.requests)));
        match kind {
            Kind::Request if requests >= WAITING => {
                bounds::CHANNEL_WAITING.count();
                return Err(CallError::Overloaded(format!(
                    "{WAITING} messages of {} wait for its route, the maximum: retry later",
                    line(channel, NAME)
                )));
            }
            Kind::Notice if notices >= NOTICES => {
                bounds::CHANNEL_NOTICES.count();
                return Err(CallError::Overloaded(format!(
                    "{NOTICES} joins, leaves and messages of other nodes wait for the route of {}, the maximum: this \
                     one is dropped",
                    line(channel, NAME)
                )));
            }
            Kind::Request | Kind::Notice => {}
        }
        let bytes = self.count(module, bytes as u64)?;
        Ok(Place { lines: self, shard, channel, kind, bytes })
    }

    /// Counts the bytes of a step, if there is room for them.
    fn count(self: &Arc<Lines>, module: &Arc<str>, message: u64) -> Result<Bytes, CallError> {
        let count = message.saturating_add(STEP_BYTES);
        if !self.bytes.lock().try_add(module, count, &MOST) {
            bounds::CHANNEL_BYTES.count();
            return Err(CallError::Overloaded(format!(
                "messages of at most {} bytes wait for the routes of channels, and the share of {module} is full: \
                 retry later",
                MOST.bytes
            )));
        }
        Ok(Bytes { lines: self.clone(), module: module.clone(), count })
    }

    /// Takes the next step of a line. `ended` is the kind of the one that has ended. Without
    /// further steps the line ends.
    fn next(&self, channel: &str, ended: Option<Kind>) -> Option<Step> {
        let mut shard = self.shard(channel);
        let line = shard.get_mut(channel)?;
        if ended == Some(Kind::Request) {
            line.requests = line.requests.saturating_sub(1);
            self.waiting.fetch_sub(1, Relaxed);
        }
        let next = line.steps.pop_front();
        if next.is_none() {
            shard.remove(channel);
            self.active.fetch_sub(1, Relaxed);
        }
        next
    }

    /// Ends a line whose steps will not run.
    fn abandon(&self, channel: &str) {
        let line = self.shard(channel).remove(channel);
        if let Some(line) = line {
            self.active.fetch_sub(1, Relaxed);
            self.waiting.fetch_sub(line.requests, Relaxed);
        }
    }
}

impl Place<'_> {
    /// Enters the line. `runtime` runs the line if it was empty.
    pub fn enter(self, runtime: Option<&Handle>, work: BoxFuture<'static, ()>) {
        let Place { lines, mut shard, channel, kind, bytes } = self;
        let is_new = !shard.contains_key(channel);
        let line = shard.entry(channel.clone()).or_default();
        line.steps.push_back(Step { kind, _bytes: bytes, work });
        if kind == Kind::Request {
            line.requests += 1;
            lines.waiting.fetch_add(1, Relaxed);
        }
        if !is_new {
            return;
        }
        lines.active.fetch_add(1, Relaxed);
        // A runtime that has ended drops the driver at once, which needs the lock.
        drop(shard);
        let driver = Driver { lines: lines.clone(), channel: channel.clone(), has_ended: false };
        runtime.unwrap_or(&lines.runtime).spawn(driver.run());
    }
}

/// Runs the steps of one line.
struct Driver {
    lines: Arc<Lines>,
    channel: Arc<str>,
    has_ended: bool,
}

impl Driver {
    async fn run(mut self) {
        let mut ended = None;
        while let Some(Step { kind, work, _bytes }) = self.lines.next(&self.channel, ended) {
            work.await;
            ended = Some(kind);
            consume_budget().await;
        }
        self.has_ended = true;
    }
}

/// A driver that does not reach its end, because the host stops, leaves no line behind.
impl Drop for Driver {
    fn drop(&mut self) {
        if !self.has_ended {
            self.lines.abandon(&self.channel);
        }
    }
}
