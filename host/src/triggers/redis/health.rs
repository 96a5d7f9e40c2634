//! Whether a connection is up. A connection of the settings consists of several connections to the
//! server, its parts; it is up while all of them are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::call::text::{MESSAGE, line};
use crate::events::{EventLog, HostEvent};

#[derive(Debug)]
pub struct Health {
    connection: String,
    events: Arc<EventLog>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The parts that are not connected, each with the reason after a failed attempt.
    missing: BTreeMap<String, Option<String>>,
    /// Topics that the server refuses, each with the reason.
    refused: BTreeMap<String, String>,
    /// Whether the last event said that it is up. `None` before the first event.
    announced: Option<bool>,
    /// When it changed last, in milliseconds since 1970-01-01 UTC.
    since: u64,
}

impl Health {
    pub fn new(connection: &str, events: Arc<EventLog>) -> Health {
        Health { connection: connection.to_owned(), events, state: Mutex::default() }
    }

    /// A part begins to connect.
    pub fn begin(&self, part: &str) {
        self.state.lock().missing.entry(part.to_owned()).or_default();
    }

    /// A part has connected.
    pub fn connected(&self, part: &str) {
        let mut state = self.state.lock();
        state.missing.remove(part);
        self.up_if_whole(&mut state);
    }

    /// A part is no longer needed.
    pub fn ended(&self, part: &str) {
        let mut state = self.state.lock();
        let was_missing = state.missing.remove(part).is_some();
        // Before the first attempt has succeeded there is nothing to tell.
        if was_missing && state.announced == Some(false) {
            self.up_if_whole(&mut state);
        }
    }

    /// A part has lost its connection, or could not connect. Returns whether the connection was up,
    /// or not known, until now.
    pub fn lost(&self, part: &str, reason: &str) -> bool {
        let mut state = self.state.lock();
        let reason = line(reason, MESSAGE);
        state.missing.insert(part.to_owned(), Some(reason.clone()));
        if state.announced == Some(false) {
            return false;
        }
        (state.announced, state.since) = (Some(false), now());
        tracing::warn!(connection = %self.connection, %reason, "Redis is away");
        self.events.raise(HostEvent::RedisDown { connection: self.connection.clone(), reason });
        true
    }

    fn up_if_whole(&self, state: &mut State) {
        if !state.missing.is_empty() || state.announced == Some(true) {
            return;
        }
        (state.announced, state.since) = (Some(true), now());
        tracing::info!(connection = %self.connection, "Redis is connected");
        self.events.raise(HostEvent::RedisUp { connection: self.connection.clone() });
    }

    /// The server refuses a topic, or no longer does. Returns whether that is new.
    pub fn refuses(&self, topic: &str, reason: Option<&str>) -> bool {
        let mut state = self.state.lock();
        match reason.map(|reason| line(reason, MESSAGE)) {
            Some(reason) => state.refused.insert(topic.to_owned(), reason.clone()) != Some(reason),
            None => state.refused.remove(topic).is_some(),
        }
    }

    /// Whether it is up (`None` while it connects for the first time), since when, and why not.
    pub fn state(&self) -> (Option<bool>, u64, Vec<String>) {
        let state = self.state.lock();
        let missing = state.missing.iter().filter_map(|(part, reason)| Some(format!("{part}: {}", reason.as_ref()?)));
        let refused = state.refused.iter().map(|(topic, reason)| format!("{topic}: {reason}"));
        (state.announced, state.since, missing.chain(refused).collect())
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
