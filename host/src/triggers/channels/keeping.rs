//! What waits until a stream of the cluster has it, for channels whose history is kept there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use super::keeping_counts::{KeepingCounts, KeepingTotals};
use crate::call::{CallError, ChannelPosition, ChannelSettings, Payload};
use crate::ports::{Histories, NoHistories, Prepared};

/// The most messages that are written together.
const BATCH: usize = 64;

/// The histories that are read at the same time.
const READS: usize = 64;

/// Is told the position of a message, or why it is refused.
pub(super) type Done = Box<dyn FnOnce(Result<Option<ChannelPosition>, CallError>) + Send>;

/// The limits of what waits, and how long each message does.
#[derive(Debug, Clone, Copy)]
pub struct KeepingLimits {
    /// `cluster.histories.queue.messages`.
    pub messages: u64,
    /// `cluster.histories.queue.bytes`.
    pub bytes: u64,
    /// `cluster.timeout`.
    pub timeout: Duration,
    /// `cluster.goneAfter`.
    pub gone_after: Duration,
}

/// What the channels of this node read from the stream and write to it.
pub struct Keeping {
    pub(super) histories: Arc<dyn Histories>,
    pub(super) limits: KeepingLimits,
    /// A channel is here while something waits or is on its way.
    pub(super) lines: Mutex<HashMap<Arc<str>, Line>>,
    /// The messages that wait or are on their way, and their bytes.
    queued: Mutex<(u64, u64)>,
    pub(super) reads: Semaphore,
    /// The channels that a task reads until it succeeds.
    pub(super) soon: Mutex<HashSet<Arc<str>>>,
    pub(super) counts: KeepingCounts,
}

/// What waits for one channel.
#[derive(Default)]
pub(super) struct Line {
    pub(super) messages: VecDeque<Waiting>,
    pub(super) readers: Vec<Reader>,
    /// Whether the last turn was that of the readers.
    reads: bool,
}

/// A message that waits until the stream has it.
pub(super) struct Waiting {
    pub(super) payload: Payload,
    pub(super) session: Option<Arc<str>>,
    pub(super) settings: ChannelSettings,
    /// The same for other nodes.
    pub(super) prepared: Box<dyn Prepared>,
    pub(super) bytes: u64,
    /// The latest epoch that its publisher has seen, or 0.
    pub(super) seen: u64,
    pub(super) since: Instant,
    pub(super) done: Done,
}

/// Waits until the history was read.
pub(super) struct Reader {
    pub(super) seen: Option<ChannelPosition>,
    /// Whether another node has seen it. A client may name any position.
    pub(super) is_node: bool,
    pub(super) done: oneshot::Sender<Result<(), CallError>>,
}

/// What is to be done next.
pub(super) enum Next {
    Read(Vec<Reader>),
    Write(Vec<Waiting>),
}

impl Keeping {
    pub fn new(histories: Arc<dyn Histories>, limits: KeepingLimits) -> Keeping {
        Keeping {
            histories,
            limits,
            lines: Mutex::default(),
            queued: Mutex::default(),
            reads: Semaphore::new(READS),
            soon: Mutex::default(),
            counts: KeepingCounts::default(),
        }
    }

    /// That of a node without a cluster.
    pub fn none() -> Keeping {
        Keeping::new(
            Arc::new(NoHistories),
            KeepingLimits { messages: 0, bytes: 0, timeout: Duration::ZERO, gone_after: Duration::ZERO },
        )
    }

    pub(super) fn totals(&self) -> KeepingTotals {
        let (messages, bytes) = *self.queued.lock();
        self.counts.totals(messages, bytes)
    }

    /// Counts a message that waits, if there is room for it.
    pub(super) fn count(&self, bytes: u64) -> Result<(), CallError> {
        let mut queued = self.queued.lock();
        let (messages, all) = (queued.0 + 1, queued.1.saturating_add(bytes));
        let setting = match (messages > self.limits.messages, all > self.limits.bytes && queued.0 > 0) {
            (true, _) => "cluster.histories.queue.messages",
            (false, true) => "cluster.histories.queue.bytes",
            (false, false) => {
                *queued = (messages, all);
                return Ok(());
            }
        };
        self.counts.refused.inc();
        Err(CallError::Overloaded(format!(
            "{setting} has no room for a further message that the history of its channel does not have: retry later"
        )))
    }

    /// Tells the publisher of a message what has become of it.
    pub(super) fn end(&self, done: Done, bytes: u64, result: Result<Option<ChannelPosition>, CallError>) {
        let mut queued = self.queued.lock();
        *queued = (queued.0.saturating_sub(1), queued.1.saturating_sub(bytes));
        drop(queued);
        done(result);
    }

    pub(super) fn end_all(&self, messages: Vec<Waiting>, error: &CallError) {
        messages.into_iter().for_each(|one| self.end(one.done, one.bytes, Err(error.clone())));
    }

    /// Does something unless something waits for a channel meanwhile.
    pub(super) fn unless_busy(&self, channel: &str, act: impl FnOnce()) {
        let lines = self.lines.lock();
        if !lines.contains_key(channel) {
            act();
        }
    }

    /// Takes what is to be done next for a channel. Removes its line if that is nothing.
    pub(super) fn next(&self, channel: &str) -> Option<Next> {
        let most_bytes = self.histories.max_bytes();
        let mut lines = self.lines.lock();
        let line = lines.get_mut(channel)?;
        // Readers do not keep messages from being written.
        line.reads = !line.readers.is_empty() && (!line.reads || line.messages.is_empty());
        if line.reads {
            return Some(Next::Read(std::mem::take(&mut line.readers)));
        }
        let (mut count, mut bytes) = (0, 0u64);
        for waiting in line.messages.iter().take(BATCH) {
            bytes = bytes.saturating_add(waiting.bytes);
            if count > 0 && bytes > most_bytes {
                break;
            }
            count += 1;
        }
        if count == 0 {
            lines.remove(channel);
            return None;
        }
        Some(Next::Write(line.messages.drain(..count).collect()))
    }
}
