//! What a node asks another one about the sessions of its clients, and the answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::call::{Payload, Recipient, SessionInfo};
use crate::ports::{ClientEvent, SessionValues};

/// A request about sessions.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum SessionRequest {
    /// Send a message to these recipients, as far as they are on the node.
    Push {
        to: Vec<Recipient>,
        event: Event,
    },
    /// Send a message to a client, and wait for its answer.
    Ask {
        session: String,
        event: Event,
        timeout: Duration,
    },
    Read(String),
    /// Remove values, then set values.
    Write {
        session: String,
        set: SessionValues,
        remove: Vec<String>,
    },
    /// The sessions that are bound to a user.
    Find(String),
}

/// A message to clients. Its payload follows the header.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Event {
    name: String,
    #[serde(skip)]
    payload: Payload,
}

impl From<&ClientEvent> for Event {
    fn from(event: &ClientEvent) -> Event {
        Event { name: event.name.clone(), payload: event.payload.clone() }
    }
}

impl From<Event> for ClientEvent {
    fn from(Event { name, payload }: Event) -> ClientEvent {
        ClientEvent { name, payload }
    }
}

impl SessionRequest {
    pub(super) fn payload_mut(&mut self) -> Option<&mut Payload> {
        match self {
            SessionRequest::Push { event, .. } | SessionRequest::Ask { event, .. } => Some(&mut event.payload),
            SessionRequest::Read(_) | SessionRequest::Write { .. } | SessionRequest::Find(_) => None,
        }
    }
}

/// What has become of a push on one node.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct PushResult {
    pub(super) reached: u32,
    /// The places of the recipients without a session in the list of the request.
    pub(super) unknown: Vec<usize>,
}

/// A session, and those of its values that may leave its node.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReadResult {
    pub(super) session: SessionInfo,
    pub(super) values: SessionValues,
}
