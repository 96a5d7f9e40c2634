//! What all subscriptions of a node use.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::backend::SubscriptionBackend;
use crate::call::bounds;
use crate::events::{EventLog, EventQuota, HostEvent};

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
    /// Counts the events about subscriptions.
    pub(super) quota: EventQuota,
}

impl Node {
    pub(super) fn raise(&self, event: HostEvent) {
        match self.quota.allows_one() {
            true => self.events.raise(event),
            false => bounds::SUBSCRIPTION_EVENTS.count(),
        }
    }
}
