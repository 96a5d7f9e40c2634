//! Handlers that publish to live streams.

use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::sse::{self, Event, Reach};

/// What to publish or close, as a test writes it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    pub key: String,
    /// Text, or null for no data.
    pub data: Option<String>,
    /// Data in place of `data`.
    pub bytes: Option<Vec<u8>>,
    pub event: Option<String>,
    pub id: Option<String>,
    pub retry_ms: Option<u64>,
    pub comment: Option<String>,
    /// `everywhere`, `this-node` or `this-worker`.
    pub reach: String,
}

impl Default for Spec {
    fn default() -> Spec {
        Spec {
            key: String::new(),
            data: None,
            bytes: None,
            event: None,
            id: None,
            retry_ms: None,
            comment: None,
            reach: "everywhere".to_owned(),
        }
    }
}

impl Spec {
    pub fn clients(&self) -> sse::Clients {
        sse::to(match self.reach.as_str() {
            "this-node" => Reach::ThisNode,
            "this-worker" => Reach::ThisWorker,
            _ => Reach::Everywhere,
        })
    }

    pub fn event(&self) -> Event {
        let data = match (&self.bytes, &self.data) {
            (Some(bytes), _) => Payload::Bytes(bytes.clone()),
            (None, Some(text)) => Payload::Text(text.clone()),
            (None, None) => Payload::None,
        };
        let mut event = Event::new(data);
        if let Some(name) = &self.event {
            event = event.with_event(name);
        }
        if let Some(id) = &self.id {
            event = event.with_id(id);
        }
        if let Some(retry) = self.retry_ms {
            event = event.with_retry(Duration::from_millis(retry));
        }
        if let Some(comment) = &self.comment {
            event = event.with_comment(comment);
        }
        event
    }
}

/// Publishes to a key. Returns the number of clients.
#[handler]
pub fn publish(spec: Json<Spec>) -> Result<Json<u32>> {
    Ok(Json(spec.clients().publish(&spec.key, spec.event())?))
}

/// Publishes to all keys. Returns the number of clients.
#[handler]
pub fn publish_all(spec: Json<Spec>) -> Result<Json<u32>> {
    Ok(Json(spec.clients().publish_all(spec.event())?))
}

/// Closes the connections of a key. Returns their number.
#[handler]
pub fn close(spec: Json<Spec>) -> Result<Json<u32>> {
    Ok(Json(spec.clients().close(&spec.key)?))
}

/// Closes all connections. Returns their number.
#[handler]
pub fn close_all(spec: Json<Spec>) -> Result<Json<u32>> {
    Ok(Json(spec.clients().close_all()?))
}

/// Counts the connections of the key in the body, or all for `null`.
#[handler]
pub fn count(key: Json<Option<String>>) -> Json<u32> {
    Json(key.as_deref().map_or_else(sse::count_all, sse::count))
}
