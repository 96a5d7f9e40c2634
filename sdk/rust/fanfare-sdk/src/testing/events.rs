//! The event service, subscriptions, and messages to brokers outside.

use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;
use serde_json::Value;

use super::dispatch::{CallSpec, Pending, into_reply, worker};
use super::node::{CallState, Node};
use super::routes::RouteRequest;
use super::{TIMEOUT, TestHost};
use crate::failure::CallError;
use crate::payload::IntoPayload;
use crate::sse;
use crate::types::{Entry, Isolate, Origin, Payload, Subscription, Trigger};

/// The most bytes of a type, as in the real host.
const MAX_TYPE: usize = 256;

/// The most bytes of a topic, as in the real host.
const MAX_TOPIC: usize = 512;

/// An event that the module emitted.
#[derive(Clone, Debug, PartialEq)]
pub struct EmittedEvent {
    /// The isolate that emitted it.
    pub isolate: Isolate,
    /// The type. `message` if the module named none.
    pub event_type: String,
    /// The value.
    pub value: Value,
}

/// A message that the module published to a broker outside.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedMessage {
    /// The isolate that published it.
    pub isolate: Isolate,
    /// The connection: `redis`, `redis.<name>` or `nats`.
    pub connection: String,
    /// The topic.
    pub topic: String,
    /// The message.
    pub payload: Payload,
}

/// The part of a subscription in a manifest that the in-memory host reads.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SubscriptionEntry {
    /// The pattern of the types.
    pub event: Option<String>,
    pub redis_stream: Option<String>,
    pub nats: Option<String>,
    pub jet_stream: Option<String>,
    /// The route. `None` for a subscription that feeds live streams.
    pub path: Option<String>,
    pub sse: Option<Feed>,
    pub deliver: Deliver,
    /// The number of messages so far.
    #[serde(skip)]
    pub count: AtomicU32,
}

/// The live streams that a subscription feeds.
#[derive(Default, Deserialize)]
pub(super) struct Feed {
    /// `{topic}` stands for the topic. `None` for all keys.
    key: Option<String>,
    /// The type of the server-sent events.
    event: Option<String>,
}

impl Feed {
    /// Returns the key and the event for a message.
    fn event(&self, topic: &str, payload: &Payload) -> (Option<String>, sse::Event) {
        let event = sse::Event::new(payload.clone());
        let event = match &self.event {
            Some(name) => event.with_event(name),
            None => event,
        };
        (self.key.as_ref().map(|key| key.replace("{topic}", topic)), event)
    }
}

/// The workers that receive a message.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Deliver {
    #[default]
    One,
    All,
}

/// A subscription that the module made while it runs.
struct RunTime {
    name: String,
    pattern: String,
    route: String,
    worker: u32,
}

/// What the event service and the brokers have seen.
#[derive(Default)]
pub(super) struct EventState {
    emitted: Vec<EmittedEvent>,
    messages: Vec<PublishedMessage>,
    subscriptions: Vec<RunTime>,
    /// The number of subscriptions that the module has made.
    made: u64,
    /// The number of events in the log.
    position: u64,
}

impl TestHost {
    /// Emits an event, as a process outside does. Every subscription to its type receives it: those
    /// of the manifest in one worker, in turns, or in all (`deliver`), those that the module made
    /// in their worker. One with `sse` feeds the open streams. [`settle`](TestHost::settle) waits
    /// until the handlers have ended.
    pub fn emit_event<'a>(
        &self,
        event_type: impl Into<Option<&'a str>>,
        value: impl IntoPayload,
    ) -> Result<(), CallError> {
        self.node.emit_event(None, event_type.into(), &value.into_payload()?)
    }

    /// Runs the subscription with this name for one message, and waits for the handlers. Returns
    /// the answer of each, or none for a subscription that feeds live streams (`sse`). For a
    /// subscription to Redis it is the only way to receive a message: the in-memory host has no
    /// broker.
    ///
    /// ```
    /// use fanfare_sdk::prelude::*;
    ///
    /// #[handler]
    /// fn on_news(text: Text, from: Subscription) -> String {
    ///     format!("{}: {}", from.topic, *text)
    /// }
    /// fanfare_sdk::module!(on_news);
    /// # fn main() {
    /// let manifest = r#"{
    ///     "routes": [{ "path": "on-news", "handler": "on_news", "middlewares": "inner" }],
    ///     "subscriptions": { "news": { "redisPattern": "news:*", "path": "on-news" } },
    /// }"#;
    /// let host = TestHost::builder(Module).manifest(manifest).start();
    /// let entries = host.receive("news", "news:sport", "hello").unwrap();
    /// assert_eq!(entries[0].outcome.as_ref().unwrap().text(), "news:sport: hello");
    /// # }
    /// ```
    pub fn receive(&self, name: &str, topic: &str, payload: impl IntoPayload) -> Result<Vec<Entry>, CallError> {
        self.node.receive(name, topic, &payload.into_payload()?)
    }

    /// Returns all events that the module emitted so far, in order.
    pub fn events(&self) -> Vec<EmittedEvent> {
        self.node.state().events.emitted.clone()
    }

    /// Returns all messages that the module published to brokers outside so far, in order.
    pub fn messages(&self) -> Vec<PublishedMessage> {
        self.node.state().events.messages.clone()
    }
}

impl Node {
    /// Emits an event. `from` is the worker that emits it, or `None` for a process outside.
    pub fn emit_event(&self, from: Option<u32>, event_type: Option<&str>, value: &Payload) -> Result<(), CallError> {
        let event_type = event_type.unwrap_or("message");
        check_type(event_type)?;
        let value = json_of(value)?;
        let (id, made) = {
            let mut state = self.state();
            let events = &mut state.events;
            events.position += 1;
            if let Some(worker) = from {
                let isolate = Isolate::Worker(worker);
                let event_type = event_type.to_owned();
                events.emitted.push(EmittedEvent { isolate, event_type, value: value.clone() });
            }
            let made = events.subscriptions.iter().filter(|made| covers(&made.pattern, event_type));
            let made: Vec<_> = made.map(|made| (made.name.clone(), made.route.clone(), made.worker)).collect();
            (format!("test-{}", events.position), made)
        };
        let payload = Payload::Text(value.to_string());
        let trigger = |name: &str| Subscription {
            name: name.to_owned(),
            source: "event".to_owned(),
            topic: event_type.to_owned(),
            id: Some(id.clone()),
        };
        for (name, entry) in &self.manifest.subscriptions {
            if !entry.event.as_ref().is_some_and(|pattern| covers(pattern, event_type)) {
                continue;
            }
            self.feed(entry, event_type, &payload)?;
            let Some(path) = &entry.path else { continue };
            for index in self.turn(entry) {
                drop(self.run_subscription(path, index, trigger(name), payload.clone())?);
            }
        }
        for (name, route, index) in made {
            drop(self.run_subscription(&route, index, trigger(&name), payload.clone())?);
        }
        Ok(())
    }

    fn receive(&self, name: &str, topic: &str, payload: &Payload) -> Result<Vec<Entry>, CallError> {
        let Some(entry) = self.manifest.subscriptions.get(name) else {
            return Err(CallError::NotFound(format!("the module `{}` has no subscription `{name}`", self.name)));
        };
        let number = entry.count.load(Ordering::Relaxed) + 1;
        let source = if entry.event.is_some() {
            "event"
        } else if entry.nats.is_some() {
            "nats"
        } else {
            "redis"
        };
        let id = match (&entry.redis_stream, &entry.jet_stream) {
            _ if source == "event" => Some(format!("test-{number}")),
            (Some(_), _) => Some(format!("{number}-0")),
            (_, Some(stream)) => Some(format!("{stream}-{number}")),
            (None, None) => None,
        };
        let payload = if source == "event" { Payload::Text(json_of(payload)?.to_string()) } else { payload.clone() };
        let trigger = Subscription { name: name.to_owned(), source: source.to_owned(), topic: topic.to_owned(), id };
        self.feed(entry, topic, &payload)?;
        let Some(path) = &entry.path else { return Ok(Vec::new()) };
        let mut pending = Vec::new();
        for index in self.turn(entry) {
            pending.push((index, self.run_subscription(path, index, trigger.clone(), payload.clone())?));
        }
        let entry = |(index, pending): (u32, Pending)| {
            let outcome = pending.wait(TIMEOUT).unwrap_or(Err(CallError::Timeout)).map(into_reply);
            Entry { isolate: worker(index as usize), node: None, outcome }
        };
        Ok(pending.into_iter().map(entry).collect())
    }

    /// Sends a message to the open streams that a subscription feeds.
    fn feed(&self, entry: &SubscriptionEntry, topic: &str, payload: &Payload) -> Result<(), CallError> {
        let Some(feed) = &entry.sse else { return Ok(()) };
        let (key, event) = feed.event(topic, payload);
        self.send_to_readers(key.as_deref(), &event)
    }

    /// The workers that receive the next message.
    fn turn(&self, entry: &SubscriptionEntry) -> std::ops::Range<u32> {
        let turn = entry.count.fetch_add(1, Ordering::Relaxed) % self.workers();
        match entry.deliver {
            Deliver::All => 0..self.workers(),
            Deliver::One => turn..turn + 1,
        }
    }

    pub(super) fn run_subscription(
        &self,
        path: &str,
        worker: u32,
        trigger: Subscription,
        payload: Payload,
    ) -> Result<Pending, CallError> {
        Ok(self.start(CallSpec {
            route: self.manifest.find(&RouteRequest::parse(path))?,
            query: "",
            trigger: Trigger::Subscription(trigger),
            payload,
            timeout: None,
            state: CallState { worker, ..CallState::default() },
            origin: Origin::Host,
            extra: Vec::new(),
        }))
    }

    pub fn subscribe(&self, worker: u32, pattern: Option<&str>, route: &str) -> Result<String, CallError> {
        let pattern = pattern.unwrap_or("*");
        check_type(pattern)?;
        self.manifest.find(&RouteRequest::parse(route))?;
        let mut state = self.state();
        let events = &mut state.events;
        let same = |made: &&RunTime| (&*made.pattern, &*made.route, made.worker) == (pattern, route, worker);
        if let Some(made) = events.subscriptions.iter().find(same) {
            return Ok(made.name.clone());
        }
        events.made += 1;
        let name = format!("test-{}", events.made);
        let (pattern, route) = (pattern.to_owned(), route.to_owned());
        events.subscriptions.push(RunTime { name: name.clone(), pattern, route, worker });
        Ok(name)
    }

    pub fn unsubscribe(&self, worker: u32, name: &str) -> Result<(), CallError> {
        let mut state = self.state();
        let subscriptions = &mut state.events.subscriptions;
        match subscriptions.iter().position(|made| made.name == name && made.worker == worker) {
            Some(at) => drop(subscriptions.remove(at)),
            None => return Err(CallError::NotFound(format!("there is no subscription `{name}` in this worker"))),
        }
        Ok(())
    }

    pub fn publish_message(
        &self,
        worker: u32,
        connection: &str,
        topic: &str,
        payload: &Payload,
    ) -> Result<(), CallError> {
        if !(1..=MAX_TOPIC).contains(&topic.len()) {
            return Err(CallError::Invalid(format!("a topic has 1 to {MAX_TOPIC} bytes, found {}", topic.len())));
        }
        let isolate = Isolate::Worker(worker);
        let (connection, topic) = (connection.to_owned(), topic.to_owned());
        let message = PublishedMessage { isolate, connection, topic, payload: payload.clone() };
        self.state().events.messages.push(message);
        Ok(())
    }
}

/// Whether a pattern covers a type.
fn covers(pattern: &str, event_type: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) if prefix.is_empty() || prefix.ends_with('/') => event_type.starts_with(prefix),
        _ => pattern == event_type,
    }
}

fn check_type(text: &str) -> Result<(), CallError> {
    if text.is_empty() || text.len() > MAX_TYPE || text.contains(char::is_control) {
        let message =
            format!("the type of an event has 1 to {MAX_TYPE} bytes and no control characters, found {text:?}");
        return Err(CallError::Invalid(message));
    }
    Ok(())
}

fn json_of(value: &Payload) -> Result<Value, CallError> {
    match value {
        Payload::None => Ok(Value::Null),
        Payload::Text(text) => Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))),
        Payload::Bytes(_) => {
            Err(CallError::Invalid("the value of an event must be JSON or text, not bytes".to_owned()))
        }
    }
}
