//! The brokers outside that modules publish messages to, by connection.

use std::sync::Arc;

use super::nats::Nats;
use super::redis::Redis;
use crate::call::text::{NAME, line};
use crate::call::{CallError, Payload, topic};
use crate::ports::{Caller, Messages};

/// The brokers of a host.
pub struct Brokers {
    pub redis: Arc<Redis>,
    pub nats: Arc<Nats>,
}

impl Messages for Brokers {
    fn publish(&self, from: Caller, connection: String, topic: String, payload: Payload) -> Result<(), CallError> {
        match topic::parse_connection(&connection) {
            Some((topic::REDIS, name)) => self.redis.publish(&from, name, &topic, payload),
            Some((topic::NATS, _)) => self.nats.publish(topic, payload),
            _ => Err(CallError::NotFound(format!(
                "there is no connection `{}`: write `redis`, `redis.<name>` for a connection to Redis with a name, or \
                 `nats`",
                line(&connection, NAME)
            ))),
        }
    }
}
