//! The counters of the histories that the cluster keeps.

use prometheus_client::metrics::counter::Counter;

#[derive(Debug, Default)]
pub(super) struct KeepingCounts {
    pub(super) written: Counter,
    pub(super) overtaken: Counter,
    pub(super) failed: Counter,
    pub(super) refused: Counter,
    pub(super) read: Counter,
}

/// The figures for metrics.
#[derive(Debug, Clone, Copy)]
pub struct KeepingTotals {
    /// The messages that the stream does not have yet.
    pub queued: u64,
    pub queued_bytes: u64,
    /// Messages that the stream has.
    pub written: u64,
    /// Writes that were refused because another node had written.
    pub overtaken: u64,
    /// Reads and writes that failed for another reason.
    pub failed: u64,
    /// Messages that the queue had no room for.
    pub refused: u64,
    /// Histories that were read.
    pub read: u64,
}

impl KeepingCounts {
    pub(super) fn totals(&self, queued: u64, queued_bytes: u64) -> KeepingTotals {
        KeepingTotals {
            queued,
            queued_bytes,
            written: self.written.get(),
            overtaken: self.overtaken.get(),
            failed: self.failed.get(),
            refused: self.refused.get(),
            read: self.read.get(),
        }
    }
}
