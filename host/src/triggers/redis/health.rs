//! Whether a connection is up. A connection of the settings consists of several connections to the
//! server, its parts; it is up while all of them are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::call::text::{MESSAGE, NAME, line};
use crate::call::time::now;
use crate::events::{EventLog, HostEvent, Notice};

/// The most reasons in a status.
const MOST_REASONS: usize = 16;

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
    /// What the server refuses, each with the reason.
    refused: BTreeMap<String, String>,
    /// The refusals of which the log does not tell yet.
    untold: Notice,
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

    /// The server refuses something: a topic, a stream, or to publish. The log tells of what is
    /// new, at most once a second.
    pub fn refused(&self, what: &str, reason: &str) {
        let mut state = self.state.lock();
        let reason = line(reason, MESSAGE);
        if state.refused.insert(what.to_owned(), reason.clone()).as_ref() == Some(&reason) {
            return;
        }
        if let Some(count) = state.untold.add(1, Instant::now()) {
            tracing::warn!(connection = %self.connection, what = %line(what, NAME), %reason, count, "Redis refuses a command");
        }
    }

    /// The server does not refuse this, or it is no longer needed.
    pub fn accepted(&self, what: &str) {
        self.state.lock().refused.remove(what);
    }

    /// Whether it is up (`None` while it connects for the first time), since when, and why not.
    pub fn state(&self) -> (Option<bool>, u64, Vec<String>) {
        let state = self.state.lock();
        let missing = state.missing.iter().filter_map(|(part, reason)| Some(format!("{part}: {}", reason.as_ref()?)));
        let refused = state.refused.iter().map(|(what, reason)| format!("{}: {reason}", line(what, NAME)));
        let mut reasons: Vec<String> = missing.chain(refused).take(MOST_REASONS).collect();
        let more = (state.missing.len() + state.refused.len()).saturating_sub(MOST_REASONS);
        if more > 0 {
            reasons.push(format!("{more} more"));
        }
        (state.announced, state.since, reasons)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_a_limited_number_of_reasons() {
        let health = Health::new("default", Arc::new(EventLog::new(false, false)));
        (0..MOST_REASONS).for_each(|n| health.refused(&format!("topic {n:03}"), "no"));
        assert_eq!(health.state().2.len(), MOST_REASONS);
        health.refused("topic 999", "no");
        let reasons = health.state().2;
        assert_eq!((reasons.len(), reasons.last().unwrap().as_str()), (MOST_REASONS + 1, "1 more"));
        health.accepted("topic 000");
        assert_eq!(health.state().2.last().unwrap(), "topic 999: no");
    }
}
