//! The services that all isolates of a node share.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::call::Call;
use crate::config::{IsolateConfig, MasterConfig};
use crate::engine::Engine;
use crate::events::EventLog;
use crate::ports::Ports;
use crate::registry::PlaceKinds;

/// The services that all isolates of a node share.
pub struct Services {
    pub engine: Engine,
    pub node: Arc<NodeFacts>,
    /// The interfaces through which imports reach the parts above.
    pub ports: Ports,
    pub restart: IsolateConfig,
    /// Which crashes end in a restart.
    pub master: MasterConfig,
    /// Receives the events that the isolates and swaps cause.
    pub events: Arc<EventLog>,
    /// Whether the environment is for development, so that errors may show what instances wrote.
    pub development: bool,
    /// `shutdown.hook`.
    pub stop_hook: Duration,
    /// `swap.linger`.
    pub linger: Duration,
    /// Cancelled when the host stops. No instance restarts after that.
    pub stop: CancellationToken,
    /// The tasks of all isolates, and those that report the ends of scheduled runs.
    pub tasks: TaskTracker,
    pub ids: Ids,
    /// Receives every call as it starts, in the task of its instance. Only tests set it, for
    /// example to panic there.
    pub probe: Option<Probe>,
}

/// A test's observer, which is called for every call that starts.
pub type Probe = Arc<dyn Fn(&Call) + Send + Sync>;

impl Services {
    pub fn next_id(&self) -> u64 {
        self.ids.next()
    }
}

/// Ids of calls and instances, from 1. Each thread reserves a block of them, so that threads seldom
/// contend.
#[derive(Debug, Clone)]
pub struct Ids {
    /// Tells hosts apart whose ids a thread uses one after the other. An address would not, because
    /// a later host may be at the address of an earlier one.
    host: u64,
    reserved: Arc<AtomicU64>,
}

impl Default for Ids {
    fn default() -> Ids {
        static HOSTS: AtomicU64 = AtomicU64::new(1);
        Ids { host: HOSTS.fetch_add(1, Ordering::Relaxed), reserved: Arc::default() }
    }
}

impl Ids {
    const BLOCK: u64 = 1 << 12;

    pub fn next(&self) -> u64 {
        thread_local! {
            /// The host of the block, and its next id.
            static BLOCK: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
        }
        let (host, next) = BLOCK.get();
        let id = if host == self.host && next % Self::BLOCK != 0 {
            next
        } else {
            self.reserved.fetch_add(Self::BLOCK, Ordering::Relaxed) + 1
        };
        BLOCK.set((self.host, id + 1));
        id
    }
}

/// The facts about the node that every guest may read.
#[derive(Debug)]
pub struct NodeFacts {
    pub id: String,
    pub server: String,
    pub workers: u32,
    pub brokers: u32,
    /// When the host started, in milliseconds since 1970-01-01 UTC.
    pub since: u64,
    /// Whether clients connect to it.
    pub frontend: bool,
    /// The keys of its entry in `cluster.servers` that the host does not know.
    pub settings: Map<String, Value>,
}

impl NodeFacts {
    /// How many isolates install a generation that lives in these kinds of isolates.
    pub fn places(&self, kinds: PlaceKinds) -> u64 {
        let brokers = if kinds.brokers { self.brokers } else { 0 };
        u64::from(self.workers) + u64::from(brokers) + u64::from(kinds.master)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_at_the_address_of_an_earlier_one_does_not_use_its_block() {
        for _ in 0..10 {
            Ids::default().next();
            let ids = Ids::default();
            let mut all: Vec<u64> = (0..3).map(|_| ids.next()).collect();
            all.extend(std::thread::spawn(move || [ids.next(), ids.next(), ids.next()]).join().unwrap());
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), 6, "{all:?}");
        }
    }
}
