//! Whether this node may give messages their places, as the home of a channel.
//!
//! Other nodes take a node for gone once they have not heard it for `cluster.goneAfter`, and then
//! channels have other homes. So a home is sure of its channels only for this long after it has
//! sent a heartbeat that has come back from NATS. Afterwards it has to ask the others
//! (`counted.rs`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::presence::View;

/// Until when this node is sure of its channels. All times are milliseconds since `begun`.
pub(super) struct Fence {
    begun: Instant,
    gone_after: u64,
    /// When this node has begun to take part.
    since: AtomicU64,
    /// 0 until the first heartbeat has come back.
    until: AtomicU64,
    /// Whether the other nodes are being asked.
    pub(super) asks: AtomicBool,
    /// The nodes when this one was sure last.
    pub(super) view: ArcSwap<View>,
}

impl Fence {
    pub(super) fn new(gone_after: Duration) -> Fence {
        Fence {
            begun: Instant::now(),
            gone_after: millis(gone_after),
            since: AtomicU64::new(0),
            until: AtomicU64::new(0),
            asks: AtomicBool::new(false),
            view: ArcSwap::default(),
        }
    }

    /// The time, which heartbeats tell.
    pub(super) fn now(&self) -> u64 {
        millis(self.begun.elapsed())
    }

    /// This node begins to take part.
    pub(super) fn begin(&self) {
        self.since.store(self.now(), Release);
    }

    /// Whether no other node can have taken this one for gone.
    pub(super) fn holds(&self) -> bool {
        self.holds_at(self.now())
    }

    fn holds_at(&self, now: u64) -> bool {
        now < self.until.load(Acquire)
    }

    /// A heartbeat that this node has sent at this time has come back. Returns whether the other
    /// nodes have to be asked.
    pub(super) fn came_back(&self, sent: u64, now: u64) -> bool {
        let is_first = self.until.load(Acquire) == 0;
        let is_new = is_first && sent < self.since.load(Acquire).saturating_add(self.gone_after);
        if is_new || self.holds_at(now) {
            self.all_count_it(sent);
            return false;
        }
        true
    }

    /// All other nodes have counted this one at this time, or later.
    pub(super) fn all_count_it(&self, at: u64) {
        self.until.fetch_max(at.saturating_add(self.gone_after), AcqRel);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_sure_for_gone_after_from_the_sending_of_a_heartbeat_that_came_back() {
        let fence = Fence::new(Duration::from_secs(3));
        assert!(!fence.holds_at(0), "nothing has come back");
        assert!(!fence.came_back(100, 150));
        assert!(fence.holds_at(3_099) && !fence.holds_at(3_100));
        assert!(!fence.came_back(2_000, 2_900));
        assert!(fence.holds_at(4_999) && !fence.holds_at(5_000));
        // What was sent before the node was frozen comes back late.
        assert!(fence.came_back(4_000, 9_000), "others may have taken it for gone");
        assert!(!fence.holds_at(9_000));
        fence.all_count_it(9_500);
        assert!(fence.holds_at(12_000));
        assert!(!fence.came_back(10_000, 12_000));
        assert!(fence.holds_at(12_999));
    }

    #[test]
    fn a_node_that_has_served_alone_asks_before_it_is_sure() {
        let fence = Fence::new(Duration::from_secs(3));
        assert!(fence.came_back(3_000, 3_001));
        let fence = Fence::new(Duration::from_secs(3));
        fence.since.store(60_000, Release);
        assert!(!fence.came_back(62_000, 62_001), "it has begun a moment ago");
    }
}
