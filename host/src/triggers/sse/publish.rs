//! Sends events of guests and of the embedding program to streams.

use std::sync::Arc;

use super::event::EventMessage;
use super::request::check_key;
use crate::call::{CallError, IsolateId, StreamEvent, StreamReach};
use crate::config::capabilities::ALL;
use crate::hub::{Hub, Reach};
use crate::ports::{self, Caller};

/// Publishes to the streams of a host and closes them.
pub struct Publisher {
    hub: Arc<Hub>,
    /// `limits.max.payload`.
    max_payload: u64,
}

impl Publisher {
    pub fn new(hub: Arc<Hub>, max_payload: u64) -> Publisher {
        Publisher { hub, max_payload }
    }

    /// Publishes an event of the embedding program to all workers.
    pub fn publish_as_operator(&self, key: &str, event: StreamEvent) -> Result<u32, CallError> {
        check_key(key).map_err(CallError::Invalid)?;
        let message = EventMessage::new(event, self.max_payload, "limits.max.payload")?;
        Ok(self.hub.streams.publish(key, Arc::new(message), Reach::Node))
    }

    /// Publishes an event of the embedding program to the streams of all keys.
    pub fn publish_all_as_operator(&self, event: StreamEvent) -> Result<u32, CallError> {
        let message = EventMessage::new(event, self.max_payload, "limits.max.payload")?;
        Ok(self.hub.streams.publish_all(Arc::new(message), Reach::Node))
    }

    /// Ends the streams of a key, or all, once everything that waits for them is sent.
    pub fn close_as_operator(&self, key: Option<&str>) -> u32 {
        match key {
            Some(key) => self.hub.streams.close(key, Reach::Node),
            None => self.hub.streams.close_all(Reach::Node),
        }
    }

    /// The open streams of a key, or all.
    pub fn count(&self, key: Option<&str>) -> u32 {
        self.hub.streams.count(key)
    }
}

impl ports::Streams for Publisher {
    fn publish(&self, from: Caller, key: String, event: StreamEvent, reach: StreamReach) -> Result<u32, CallError> {
        check_access(&from, &key)?;
        let message = message(&from, event)?;
        Ok(reach_of(&from, reach).map_or(0, |reach| self.hub.streams.publish(&key, message, reach)))
    }

    fn publish_all(&self, from: Caller, event: StreamEvent, reach: StreamReach) -> Result<u32, CallError> {
        check_access_to_all(&from)?;
        let message = message(&from, event)?;
        Ok(reach_of(&from, reach).map_or(0, |reach| self.hub.streams.publish_all(message, reach)))
    }

    fn close(&self, from: Caller, key: String, reach: StreamReach) -> Result<u32, CallError> {
        check_access(&from, &key)?;
        Ok(reach_of(&from, reach).map_or(0, |reach| self.hub.streams.close(&key, reach)))
    }

    fn close_all(&self, from: Caller, reach: StreamReach) -> Result<u32, CallError> {
        check_access_to_all(&from)?;
        Ok(reach_of(&from, reach).map_or(0, |reach| self.hub.streams.close_all(reach)))
    }

    fn count(&self, key: Option<&str>) -> u32 {
        Publisher::count(self, key)
    }
}

fn message(from: &Caller, event: StreamEvent) -> Result<Arc<EventMessage>, CallError> {
    EventMessage::new(event, from.max_payload, &format!("limits.payload of {}", from.module)).map(Arc::new)
}

/// Whether a module may publish to a key: it owns the key, or was granted it.
fn check_access(from: &Caller, key: &str) -> Result<(), CallError> {
    check_key(key).map_err(CallError::Invalid)?;
    match from.capabilities.allows_key(&from.module, key) {
        true => Ok(()),
        // Only `*` covers the clients without a key.
        false if key.is_empty() => Err(from.forbidden("sse", Some(ALL))),
        false => Err(from.forbidden("sse", Some(key))),
    }
}

fn check_access_to_all(from: &Caller) -> Result<(), CallError> {
    match from.capabilities.sse.allow(ALL) {
        true => Ok(()),
        false => Err(from.forbidden("sse", Some(ALL))),
    }
}

/// The connections that a guest means. `None` for nobody: brokers and the master have none of their
/// own.
fn reach_of(from: &Caller, reach: StreamReach) -> Option<Reach> {
    match (reach, from.isolate) {
        (StreamReach::Everywhere | StreamReach::ThisNode, _) => Some(Reach::Node),
        (StreamReach::ThisWorker, IsolateId::Worker(index)) => Some(Reach::Worker(index)),
        (StreamReach::ThisWorker, IsolateId::Broker(_) | IsolateId::Master) => None,
    }
}
