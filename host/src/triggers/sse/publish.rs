//! Sends events of guests and of the embedding program to streams.

use std::sync::Arc;

use super::event::EventMessage;
use super::request::check_key;
use crate::call::{CallError, IsolateId, Post, PostAbout, StreamEvent, StreamReach};
use crate::config::capabilities::ALL;
use crate::hub::{Hub, Reach};
use crate::ports::{self, Acted, Caller, Topics};

/// Publishes to the streams of a host and closes them.
pub struct Publisher {
    hub: Arc<Hub>,
    /// `limits.max.payload`.
    max_payload: u64,
    /// The streams of other nodes.
    topics: Arc<dyn Topics>,
}

impl Publisher {
    pub fn new(hub: Arc<Hub>, max_payload: u64, topics: Arc<dyn Topics>) -> Publisher {
        Publisher { hub, max_payload, topics }
    }

    /// Publishes an event of the embedding program to the streams of a key, or of all keys.
    pub fn publish_as_operator(
        &self,
        key: Option<&str>,
        event: StreamEvent,
        reach: StreamReach,
    ) -> Result<u32, CallError> {
        key.map_or(Ok(()), check_key).map_err(CallError::Invalid)?;
        let message = EventMessage::new(event, self.max_payload, "limits.max.payload")?;
        self.publish_message(key, Arc::new(message), Some(Reach::Node), reach)
    }

    /// Ends the streams of a key, or all, once everything that waits for them is sent.
    pub fn close_as_operator(&self, key: Option<&str>) -> u32 {
        // Nothing about it can be too large.
        self.end(key, Some(Reach::Node), StreamReach::Everywhere).unwrap_or_default()
    }

    /// The open streams of a key, or all.
    pub fn count(&self, key: Option<&str>) -> u32 {
        self.hub.streams.count(key)
    }

    fn publish_message(
        &self,
        key: Option<&str>,
        message: Arc<EventMessage>,
        here: Option<Reach>,
        reach: StreamReach,
    ) -> Result<u32, CallError> {
        let post = || Post::stream(key, message.event());
        let publish = |reach| match key {
            Some(key) => self.hub.streams.publish(key, message.clone(), reach),
            None => self.hub.streams.publish_all(message.clone(), reach),
        };
        self.spread(reach, post, || here.map_or(0, publish))
    }

    fn end(&self, key: Option<&str>, here: Option<Reach>, reach: StreamReach) -> Result<u32, CallError> {
        let close = |reach| match key {
            Some(key) => self.hub.streams.close(key, reach),
            None => self.hub.streams.close_all(reach),
        };
        self.spread(reach, || Post::close(key), || here.map_or(0, close))
    }

    /// Acts in this node, and with the reach `everywhere` tells the others.
    fn spread(&self, reach: StreamReach, post: impl FnOnce() -> Post, act: impl Fn() -> u32) -> Result<u32, CallError> {
        if reach != StreamReach::Everywhere || self.topics.is_alone() {
            return Ok(act());
        }
        let mut reached = 0;
        self.topics.prepare(vec![post()])?.send(&mut || {
            reached = act();
            Acted::Done
        });
        Ok(reached)
    }

    /// Does what another node tells.
    pub fn receive(&self, post: Post) {
        let Post { about, payload, .. } = post;
        match about {
            PostAbout::Stream { key, event, id, retry, comment } => {
                if key.as_deref().is_some_and(|key| check_key(key).is_err()) {
                    return;
                }
                let event = StreamEvent { data: payload, event, id, retry, comment };
                // The node that sends it has checked it with its own limits.
                let Ok(message) = EventMessage::new(event, u64::MAX, "") else { return };
                let message = Arc::new(message);
                match key {
                    Some(key) => self.hub.streams.publish(&key, message, Reach::Node),
                    None => self.hub.streams.publish_all(message, Reach::Node),
                };
            }
            PostAbout::Close { key: Some(key) } => _ = self.hub.streams.close(&key, Reach::Node),
            PostAbout::Close { key: None } => _ = self.hub.streams.close_all(Reach::Node),
            PostAbout::Channel { .. } | PostAbout::Event { .. } => {}
        }
    }

    /// Tells all readers that they may have missed events of other nodes. The history keeps this,
    /// so that readers who resume before it learn of it, too.
    pub fn missed(&self) {
        let event = StreamEvent { event: Some("reset".to_owned()), ..StreamEvent::default() };
        self.hub.streams.publish_all(Arc::new(EventMessage::of_host(event)), Reach::Node);
    }

    /// Skips a number of the events of this node, and returns it.
    pub fn skip(&self) -> u64 {
        self.hub.streams.skip()
    }
}

impl ports::Streams for Publisher {
    fn publish(&self, from: Caller, key: String, event: StreamEvent, reach: StreamReach) -> Result<u32, CallError> {
        check_access(&from, &key)?;
        let message = message(&from, event)?;
        self.publish_message(Some(&key), message, reach_of(&from, reach), reach)
    }

    fn publish_all(&self, from: Caller, event: StreamEvent, reach: StreamReach) -> Result<u32, CallError> {
        check_access_to_all(&from)?;
        let message = message(&from, event)?;
        self.publish_message(None, message, reach_of(&from, reach), reach)
    }

    fn close(&self, from: Caller, key: String, reach: StreamReach) -> Result<u32, CallError> {
        check_access(&from, &key)?;
        self.end(Some(&key), reach_of(&from, reach), reach)
    }

    fn close_all(&self, from: Caller, reach: StreamReach) -> Result<u32, CallError> {
        check_access_to_all(&from)?;
        self.end(None, reach_of(&from, reach), reach)
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
