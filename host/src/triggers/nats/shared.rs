//! What all subscriptions to NATS share.

use std::sync::Arc;

use super::counts::Counts;
use crate::events::EventLog;

/// The settings that the subscriptions need.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The largest message that the host receives: the setting `limits.max.payload`.
    pub max_payload: u64,
}

pub struct Shared {
    pub settings: Settings,
    pub events: Arc<EventLog>,
    pub counts: Counts,
}
