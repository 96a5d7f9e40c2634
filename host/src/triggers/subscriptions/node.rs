//! What all subscriptions of a node use.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::backend::SubscriptionBackend;
use crate::call::bounds;
use crate::events::{EventLog, HostEvent};

/// The most events about subscriptions that the host raises in a second.
pub const MOST_EVENTS: u32 = 100;

/// What all subscriptions of a node use.
pub(super) struct Node {
    pub(super) backend: Arc<dyn SubscriptionBackend>,
    pub(super) events: Arc<EventLog>,
    /// The number of workers.
    pub(super) workers: u32,
    /// Runs the tasks that deliver.
    pub(super) runtime: Handle,
    /// Cancelled when the host begins to stop.
    pub(super) stopping: CancellationToken,
    pub(super) begun: Instant,
    /// The second in which a subscription last raised an event, and how many in it.
    pub(super) recent: Mutex<(u64, u32)>,
}

impl Node {
    pub(super) fn raise(&self, event: HostEvent) {
        let second = self.begun.elapsed().as_secs();
        let raised = {
            let mut recent = self.recent.lock();
            *recent = if recent.0 == second { (second, recent.1.saturating_add(1)) } else { (second, 1) };
            recent.1
        };
        match raised <= MOST_EVENTS {
            true => self.events.raise(event),
            false => bounds::SUBSCRIPTION_EVENTS.count(),
        }
    }
}
