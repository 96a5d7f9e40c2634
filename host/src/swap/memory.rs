//! Kills a worker whose instances use too much memory: `master.killWorkerMemoryThreshold`.

use std::sync::Arc;

use super::swapper::Swapper;
use crate::api::KillMode;
use crate::document::units::Size;
use crate::events::{HostEvent, Origin};

impl Swapper {
    /// Checks every worker each `master.workerStatusInterval`, and kills those above the threshold
    /// gracefully. Returns only if there is no threshold.
    pub async fn watch_memory(self: Arc<Swapper>) {
        let Some(threshold) = self.config.master.kill_worker_memory_threshold else { return };
        loop {
            tokio::time::sleep(self.config.master.worker_status_interval).await;
            for isolate in self.dispatch.workers() {
                let used = isolate.memory();
                if used <= threshold {
                    continue;
                }
                let reason = format!(
                    "the instances of {} use {used} bytes, more than master.killWorkerMemoryThreshold, {}",
                    isolate.id,
                    Size(threshold)
                );
                tracing::warn!(isolate = %isolate.id, used, threshold, "{reason}: killing the worker");
                let (origin, message) = (Origin::isolate(isolate.id), reason.clone());
                self.services.events.raise(HostEvent::Warning { origin, message });
                // The kill has logged its failures.
                let _ = self.roll(vec![isolate.clone()], KillMode::Graceful, &reason).await;
            }
        }
    }
}
