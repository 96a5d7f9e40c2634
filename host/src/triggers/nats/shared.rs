//! What all subscriptions to NATS share.

use std::sync::Arc;
use std::time::Duration;

use super::counts::Counts;
use crate::call::Payload;
use crate::call::text::{NAME, line};
use crate::events::EventLog;
use crate::triggers::subscriptions::Subscription;

/// The settings that the subscriptions need.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long a server may take to answer: the setting `cluster.timeout`.
    pub timeout: Duration,
    /// The largest message that the host receives: the setting `limits.max.payload`.
    pub max_payload: u64,
}

pub struct Shared {
    pub settings: Settings,
    pub events: Arc<EventLog>,
    pub counts: Counts,
}

/// The module and the name of a subscription, as messages show them.
pub fn label_of(one: &Subscription) -> String {
    format!("{}:{}", one.module(), line(one.name(), NAME))
}

/// Text if the bytes are UTF-8.
pub fn payload_of(bytes: &[u8]) -> Payload {
    match std::str::from_utf8(bytes) {
        Ok(text) => Payload::Text(text.to_owned()),
        Err(_) => Payload::Bytes(bytes.to_vec()),
    }
}
