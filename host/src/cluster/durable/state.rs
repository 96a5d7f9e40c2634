//! What durable broadcasts keep in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::jetstream::Context;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;
use super::streams::Names;
use crate::config::DurableConfig;

/// The durable broadcasts of a node.
pub(crate) struct Durable {
    pub(crate) config: DurableConfig,
    pub(super) names: Names,
    pub(crate) outbox: Outbox,
    /// The connection to the streams. `None` until they were opened, and after a failure.
    pub(super) opened: tokio::sync::Mutex<Option<Context>>,
    /// The modules whose broadcasts this node reads.
    pub(super) modules: Mutex<BTreeMap<String, Arc<Reading>>>,
    pub(super) counts: Counts,
    /// Cancelled when this node begins no further broadcasts, because it stops.
    pub(crate) leaving: CancellationToken,
}

/// What is known about the broadcasts of a module.
#[derive(Default)]
pub(super) struct Reading(Mutex<Progress>);

#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Whether the consumer exists, so that the stream keeps what this node has not run.
    pub(super) is_ready: bool,
    /// Why the node reads nothing, or does not continue.
    pub(super) reason: Option<String>,
    /// The place of the last broadcast that all workers have run.
    pub(super) position: u64,
    /// The place of the one that runs.
    pub(super) running: Option<u64>,
    /// How many wait behind the last one that has arrived.
    pub(super) pending: u64,
}

impl Reading {
    pub(super) fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.0.lock());
    }

    pub(super) fn get(&self) -> Progress {
        self.0.lock().clone()
    }
}

/// The counters.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) refused: Counter,
    pub(super) kept: Counter,
    pub(super) resent: Counter,
    pub(super) run: Counter,
    pub(super) retried: Counter,
    pub(super) duplicates: Counter,
    pub(super) parked: Counter,
    pub(super) replayed: Counter,
    pub(super) dropped: Counter,
}

impl Durable {
    pub(crate) fn new(cluster: &str, config: DurableConfig) -> Durable {
        Durable {
            names: Names::new(cluster),
            outbox: Outbox::new(&config),
            config,
            opened: tokio::sync::Mutex::default(),
            modules: Mutex::default(),
            counts: Counts::default(),
            leaving: CancellationToken::new(),
        }
    }

    /// Whether this node still runs broadcasts of the stream.
    pub(crate) fn is_running(&self) -> bool {
        self.modules.lock().values().any(|reading| reading.get().reason.is_none())
    }

    /// The names of the streams, once they were opened.
    pub(crate) async fn streams(&self) -> Vec<String> {
        match *self.opened.lock().await {
            Some(_) => vec![self.names.broadcasts(), self.names.parked()],
            None => Vec::new(),
        }
    }

    /// The counters, each with the name of its metric and its help.
    pub(crate) fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        let counts = &self.counts;
        vec![
            (
                "fanfare_durable_refused",
                "Durable broadcasts that cluster.durable.queue had no room for",
                counts.refused.get(),
            ),
            ("fanfare_durable_kept", "Durable broadcasts of this node that the stream has", counts.kept.get()),
            ("fanfare_durable_resent", "Durable broadcasts that were sent again", counts.resent.get()),
            ("fanfare_durable_run", "Durable broadcasts that all workers of this node have run", counts.run.get()),
            ("fanfare_durable_retried", "Durable broadcasts that a worker ran again", counts.retried.get()),
            (
                "fanfare_durable_duplicates",
                "Durable broadcasts that arrived again and were not run",
                counts.duplicates.get(),
            ),
            ("fanfare_durable_parked", "Durable broadcasts that failed too often", counts.parked.get()),
            (
                "fanfare_durable_dropped",
                "Times that the stream may have dropped broadcasts that this node has not run",
                counts.dropped.get(),
            ),
            ("fanfare_durable_replayed", "Parked broadcasts that were replayed here", counts.replayed.get()),
        ]
    }
}
