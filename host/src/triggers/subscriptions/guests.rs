//! Events of guests, and the subscriptions that guests make at run time.

use std::sync::Arc;

use super::subscription::{Receiver, Subscription};
use super::{Key, RouteState, Subscriptions};
use crate::call::text::{NAME, line};
use crate::call::{CallError, Event, Payload, RouteName, bounds, event_type};
use crate::ports::{self, Caller};
use crate::registry::{Source, SourceKind, SubscriptionSettings};
use crate::triggers::events::Emitter;

/// The events of a node, as its guests use them.
pub struct GuestEvents {
    emitter: Emitter,
    subscriptions: Arc<Subscriptions>,
}

impl GuestEvents {
    pub fn new(emitter: Emitter, subscriptions: Arc<Subscriptions>) -> GuestEvents {
        GuestEvents { emitter, subscriptions }
    }
}

impl ports::Events for GuestEvents {
    fn emit(&self, from: Caller, event_type: Option<String>, value: Payload) -> Result<(), CallError> {
        let kind = event_type.as_deref().unwrap_or(Event::DEFAULT_KIND);
        check_access(&from, kind)?;
        let value = json(value)?;
        from.check_size("the event", kind.len() + value.len())?;
        self.emitter.emit(&from.module, Event { kind: kind.into(), value: value.into(), source: None })
    }

    fn subscribe(&self, from: Caller, pattern: Option<String>, route: RouteName) -> Result<String, CallError> {
        let pattern = pattern.as_deref().unwrap_or(event_type::ALL);
        check_access(&from, pattern)?;
        self.subscriptions.subscribe(&from, pattern, route)
    }

    fn unsubscribe(&self, from: Caller, subscription: String) -> Result<(), CallError> {
        self.subscriptions.unsubscribe(&from, &subscription)
    }
}

/// Whether a guest may emit events of a type, or subscribe to a pattern.
fn check_access(from: &Caller, wanted: &str) -> Result<(), CallError> {
    if !event_type::is_type(wanted) {
        let size = wanted.len();
        if size > event_type::MAX {
            bounds::MESSAGE_TOPIC.count();
        }
        return Err(CallError::Invalid(format!(
            "the type of an event has 1 to {} bytes without control characters, found {size} bytes",
            event_type::MAX
        )));
    }
    match from.capabilities.allows_event(&from.module, wanted) {
        true => Ok(()),
        false => Err(from.forbidden("events", Some(wanted))),
    }
}

/// The value of an event as JSON.
fn json(value: Payload) -> Result<String, CallError> {
    let bytes = || CallError::Invalid("the value of an event is text: encode bytes, for example as Base64".to_owned());
    value.into_json().ok_or_else(bytes)
}

impl Subscriptions {
    /// Lets a route of a guest receive the events whose types match a pattern, from now on, in the
    /// guest's isolate. Returns the name of the subscription: the same one for the same pattern and
    /// route.
    pub fn subscribe(&self, from: &Caller, pattern: &str, route: RouteName) -> Result<String, CallError> {
        // A name of the manifest has no spaces, and no route has an arrow.
        let name = format!("{pattern} -> {}", route.text_within());
        self.add(from, name, Source::Event(pattern.into()), route)
    }

    /// Lets a route of a guest receive the messages of a channel, from now on, in the guest's
    /// isolate. Returns the name of the subscription: the same one for the same channel and route.
    pub fn subscribe_channel(&self, from: &Caller, channel: &str, route: RouteName) -> Result<String, CallError> {
        let name = format!("{channel} => {}", route.text_within());
        self.add(from, name, Source::Channel(channel.into()), route)
    }

    fn add(&self, from: &Caller, name: String, source: Source, route: RouteName) -> Result<String, CallError> {
        let key = Key { module: from.module.as_ref().into(), isolate: Some(from.isolate), name: name.as_str().into() };
        if self.node.stopping.is_cancelled() {
            return Err(CallError::stopping());
        }
        let mut table = self.table.lock();
        // Under the lock, so that the removal of the module, which empties the table, comes before
        // or after both.
        let state = self.node.backend.route(&key, &route);
        if state == RouteState::Absent {
            return Err(CallError::Unavailable(format!(
                "{} is not installed in {}, so it cannot subscribe there",
                from.module, from.isolate
            )));
        }
        if table.contains_key(&key) {
            return Ok(name);
        }
        let most = from.max_subscriptions;
        let own = table.keys().filter(|other| other.module == key.module && other.isolate == key.isolate).count();
        if own >= most {
            return Err(CallError::Overloaded(format!(
                "{} has made {own} subscriptions in {}, but limits.subscriptions allows {most}: end one, or raise the limit",
                from.module, from.isolate
            )));
        }
        let (receiver, settings) = (Receiver::Guest(from.isolate, route), SubscriptionSettings::default());
        let one = Subscription::start(key.clone(), source, receiver, settings, self.node.clone());
        if let RouteState::Missing(digest) = state {
            one.awaits_successor_of(digest);
        }
        self.read_events(&one);
        if let Err(error) = self.listen(&one) {
            self.end(&key, &one);
            return Err(CallError::Overloaded(error.to_string()));
        }
        table.insert(key, one);
        drop(table);
        self.changes.send_modify(|count| *count += 1);
        Ok(name)
    }

    /// Ends a subscription to events that the guest made in this isolate.
    pub fn unsubscribe(&self, from: &Caller, name: &str) -> Result<(), CallError> {
        self.remove(from, name, SourceKind::Event)
    }

    /// Ends a subscription to a channel that the guest made in this isolate.
    pub fn unsubscribe_channel(&self, from: &Caller, name: &str) -> Result<(), CallError> {
        self.remove(from, name, SourceKind::Channel)
    }

    fn remove(&self, from: &Caller, name: &str, kind: SourceKind) -> Result<(), CallError> {
        let key = Key { module: from.module.as_ref().into(), isolate: Some(from.isolate), name: name.into() };
        let mut table = self.table.lock();
        let found = table.get(&key).filter(|one| one.source.kind() == kind).cloned();
        let Some(one) = found else {
            return Err(CallError::NotFound(format!(
                "{} has made no subscription `{}` in {}",
                from.module,
                line(name, NAME),
                from.isolate
            )));
        };
        table.remove(&key);
        self.end(&key, &one);
        drop(table);
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }
}
