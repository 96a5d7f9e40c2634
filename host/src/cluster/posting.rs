//! What this node has sent about topics: the numbers of its messages.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicU32};

use parking_lot::{Mutex, RwLock};

use super::posts::BUCKETS;

/// What this node has sent about the topics of one kind.
pub(super) struct Posting {
    /// The number of the last message about all topics. Held exclusively while one is sent.
    pub(super) all: RwLock<u64>,
    /// The number of the last message of each bucket.
    pub(super) buckets: [Mutex<u64>; BUCKETS],
    /// Whether others have to be told the last numbers, because something was not sent.
    pub(super) owes: AtomicBool,
    /// How often the last numbers are still told although nothing is known to be lost.
    repeats: AtomicU32,
}

impl Posting {
    pub(super) fn new() -> Posting {
        Posting {
            all: RwLock::new(0),
            buckets: [const { Mutex::new(0) }; BUCKETS],
            owes: AtomicBool::new(false),
            repeats: AtomicU32::new(0),
        }
    }

    /// Notes that something may not have arrived.
    pub(super) fn owe(&self) {
        self.owes.store(true, Release);
    }

    /// Notes that the last numbers shall be told a number of times, at each look.
    pub(super) fn repeat(&self, times: u32) {
        self.repeats.store(times, Release);
    }

    /// Whether they shall be told now.
    pub(super) fn takes_repeat(&self) -> bool {
        self.repeats.fetch_update(AcqRel, Acquire, |left| left.checked_sub(1)).is_ok()
    }
}

/// What this node has sent about topics.
pub(super) struct AllPosting {
    pub(super) streams: Posting,
    pub(super) channels: Posting,
    pub(super) events: Posting,
}

impl AllPosting {
    pub(super) fn new() -> AllPosting {
        AllPosting { streams: Posting::new(), channels: Posting::new(), events: Posting::new() }
    }
}
