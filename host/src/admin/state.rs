//! The shared state of the admin listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::dispatch::Dispatch;
use crate::net::Sockets;
use crate::registry::Roster;
use crate::swap::Swapper;

/// The parts of the host that the admin listener reads and calls.
pub struct Admin {
    pub(super) config: Arc<Config>,
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) roster: Arc<Roster>,
    pub(super) swapper: Arc<Swapper>,
    pub(super) closing: CancellationToken,
    /// Connections beyond the limit.
    pub(super) refused: Counter,
    /// Connections without a request that were closed to make room for others.
    pub(super) evicted: Counter,
    pub(super) lost_lines: LostLines,
    pub(super) sockets: Arc<Sockets>,
    /// Open HTTP connections, by worker.
    pub(super) open: Vec<Arc<AtomicUsize>>,
}

/// Returns how many log lines were lost because the log's queue was full.
pub type LostLines = Arc<dyn Fn() -> usize + Send + Sync>;

impl Admin {
    pub fn new(
        swapper: Arc<Swapper>,
        closing: CancellationToken,
        lost_lines: LostLines,
        sockets: Arc<Sockets>,
        open: Vec<Arc<AtomicUsize>>,
    ) -> Admin {
        Admin {
            config: swapper.config.clone(),
            dispatch: swapper.dispatch.clone(),
            roster: swapper.roster.clone(),
            swapper,
            closing,
            refused: Counter::default(),
            evicted: Counter::default(),
            lost_lines,
            sockets,
            open,
        }
    }

    /// The number of open HTTP connections.
    pub(super) fn connections(&self) -> usize {
        self.open.iter().map(|open| open.load(Relaxed)).sum()
    }
}
