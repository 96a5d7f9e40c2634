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

/// What the admin listener answers from.
pub struct Admin {
    pub(super) config: Arc<Config>,
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) roster: Arc<Roster>,
    pub(super) swapper: Arc<Swapper>,
    pub(super) closing: CancellationToken,
    /// Connections beyond those that are served.
    pub(super) refused: Counter,
    /// Silent connections that were closed for others.
    pub(super) evicted: Counter,
    pub(super) lost_lines: LostLines,
    pub(super) sockets: Arc<Sockets>,
    /// Open HTTP connections, by worker.
    pub(super) open: Vec<Arc<AtomicUsize>>,
}

/// How many lines of the log had no room.
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

    /// How many HTTP connections are open.
    pub(super) fn connections(&self) -> usize {
        self.open.iter().map(|open| open.load(Relaxed)).sum()
    }
}
