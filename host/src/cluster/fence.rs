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
    /// Until when it is sure if all other nodes answer that they count it.
    if_counted: AtomicU64,
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
            if_counted: AtomicU64::new(0),
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
        let until = sent.saturating_add(self.gone_after);
        let is_first = self.until.load(Acquire) == 0;
        let is_new = is_first && sent < self.since.load(Acquire).saturating_add(self.gone_after);
        if is_new || self.holds_at(now) {
            self.until.fetch_max(until, AcqRel);
            return false;
        }
        // A node that counts this one when it is asked hears its heartbeats from then on.
        if now < self.if_counted.load(Acquire) {
            self.if_counted.fetch_max(until, AcqRel);
        }
        true
    }

    /// The other nodes are asked at this time whether they count this one.
    pub(super) fn begin_to_ask(&self, now: u64) {
        self.if_counted.store(now.saturating_add(self.gone_after), Release);
    }

    /// All of them have answered that they do. An answer may take longer than the time in which a
    /// node counts as gone.
    pub(super) fn all_count_it(&self) {
        self.until.fetch_max(self.if_counted.load(Acquire), AcqRel);
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
        fence.begin_to_ask(9_500);
        assert!(!fence.holds_at(9_600), "nobody has answered");
        fence.all_count_it();
        assert!(fence.holds_at(12_000));
        assert!(!fence.came_back(10_000, 12_000));
        assert!(fence.holds_at(12_999));
    }

    #[test]
    fn a_home_that_gets_late_answers_is_sure_because_of_its_heartbeats_since_it_has_asked() {
        let fence = Fence::new(Duration::from_secs(3));
        assert!(fence.came_back(4_000, 9_000));
        fence.begin_to_ask(9_500);
        for sent in [9_400, 10_000, 12_000, 14_000] {
            assert!(fence.came_back(sent, sent + 100));
        }
        fence.all_count_it();
        assert!(fence.holds_at(16_999) && !fence.holds_at(17_000));
        // Others may have taken it for gone between two of its heartbeats.
        fence.begin_to_ask(20_000);
        assert!(fence.came_back(22_900, 23_000));
        fence.all_count_it();
        assert!(!fence.holds_at(23_000));
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
