//! The state of durable broadcasts for the operator.

use crate::api::{DurableModule, DurableStatus};
use crate::cluster::Cluster;

impl Cluster {
    /// The modules whose durable broadcasts this node reads, and what waits for the stream.
    pub fn durable_status(&self) -> DurableStatus {
        let (queued, queued_bytes) = self.durable.outbox.len();
        let modules = self.durable.modules.lock();
        let modules = modules.iter().map(|(module, reading)| {
            let progress = reading.get();
            DurableModule {
                module: module.clone(),
                reading: progress.is_ready,
                reason: progress.reason,
                position: progress.position,
                running: progress.running,
                pending: progress.pending,
            }
        });
        DurableStatus {
            stream: Some(self.durable.names.broadcasts()),
            queued,
            queued_bytes,
            modules: modules.collect(),
        }
    }
}
