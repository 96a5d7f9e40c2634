//! What all isolates of a node share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::call::Call;
use crate::config::IsolateConfig;
use crate::engine::Engine;
use crate::ports::Ports;
use crate::registry::PlaceKinds;

/// What all isolates of a node share.
pub struct Services {
    pub engine: Engine,
    pub node: Arc<NodeFacts>,
    /// The way up, for what guests import.
    pub ports: Ports,
    pub restart: IsolateConfig,
    /// No instance is made anew after this.
    pub stop: CancellationToken,
    /// Everything that runs in isolates.
    pub tasks: TaskTracker,
    pub ids: Ids,
    /// Sees every call as it starts, in the task of its instance. For tests of what a panic there costs.
    pub probe: Option<Probe>,
}

/// See `Services::probe`.
pub type Probe = Arc<dyn Fn(&Call) + Send + Sync>;

impl Services {
    pub fn next_id(&self) -> u64 {
        self.ids.next()
    }
}

/// Numbers for calls, from 1. Handed out in blocks, so that threads seldom meet.
#[derive(Debug, Clone, Default)]
pub struct Ids(Arc<AtomicU64>);

impl Ids {
    const BLOCK: u64 = 1 << 12;

    pub fn next(&self) -> u64 {
        use std::cell::Cell;
        thread_local! {
            static BLOCK: Cell<(usize, u64)> = const { Cell::new((0, 0)) };
        }
        let owner = Arc::as_ptr(&self.0) as usize;
        let (of, next) = BLOCK.get();
        let id = if of == owner && next % Self::BLOCK != 0 {
            next
        } else {
            self.0.fetch_add(Self::BLOCK, Ordering::Relaxed) + 1
        };
        BLOCK.set((owner, id + 1));
        id
    }
}

/// What every guest of a node may know of it.
#[derive(Debug)]
pub struct NodeFacts {
    pub id: String,
    pub server: String,
    pub workers: u32,
    pub brokers: u32,
}

impl NodeFacts {
    /// How many isolates hold a generation that lives in these kinds of places.
    pub fn places(&self, kinds: PlaceKinds) -> u64 {
        let brokers = if kinds.brokers { self.brokers } else { 0 };
        u64::from(self.workers) + u64::from(brokers) + u64::from(kinds.master)
    }
}
