//! Live streams: server-sent events for clients that read `GET /stream?connectKey=<key>`.
//!
//! A module may use its name, the keys below it (`<name>/..`) and those that it declares in
//! `streams` of `module.json`. Other keys, [`publish_all`] and [`close_all`] need the grant `sse`.
//!
//! ```
//! use fanfare_sdk::prelude::*;
//! use fanfare_sdk::sse::{self, Event};
//!
//! #[handler]
//! fn tick(count: Json<u64>) -> Result<Json<u32>> {
//!     let event = Event::new(json!({"count": *count})).with_event("tick").with_id(count.to_string());
//!     Ok(Json(sse::publish("ticker", event)?))
//! }
//! fanfare_sdk::module!(tick);
//! # fn main() {
//! let host = TestHost::builder(Module).name("ticker").start();
//! let reader = host.stream("ticker").open().unwrap();
//! assert_eq!(host.call("tick", json!(7)).unwrap().text(), "1", "the number of readers");
//! let events = reader.events();
//! assert_eq!((events[0].event(), events[0].id(), events[0].text()), (Some("tick"), Some("7"), r#"{"count":7}"#));
//! # }
//! ```

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::backend;
use crate::current::caller;
use crate::extract::{FromCall, Incoming};
use crate::failure::{CallError, Failure, Result};
use crate::payload::IntoPayload;
use crate::types::{Payload, Trigger};
use crate::wit::sse::Event as Record;
pub use crate::wit::sse::Reach;

/// Sends an event to every client of a key, on every node. Returns the number of clients of this
/// node that it is queued for.
///
/// `event` is an [`Event`] or its data: text, a JSON value, [`Json`](crate::Json) and so on.
///
/// Fails with `Forbidden` for a key that the module may not use, and with `Invalid` when the key is
/// longer than 256 bytes or has control characters, when the event is larger than
/// `limits.payload`, when its data is not UTF-8, or when its type or id has a line break.
pub fn publish(key: &str, event: impl IntoEvent) -> Result<u32, CallError> {
    to(Reach::Everywhere).publish(key, event)
}

/// Sends an event to the clients of all keys, and to those without a key. Needs the grant `sse` for
/// `*`.
pub fn publish_all(event: impl IntoEvent) -> Result<u32, CallError> {
    to(Reach::Everywhere).publish_all(event)
}

/// Closes the connections of a key after everything that is queued for them is sent. Returns their
/// number on this node. `EventSource` connects again by itself.
pub fn close(key: &str) -> Result<u32, CallError> {
    to(Reach::Everywhere).close(key)
}

/// Closes the connections of all keys. Needs the grant `sse` for `*`.
pub fn close_all() -> Result<u32, CallError> {
    to(Reach::Everywhere).close_all()
}

/// Returns the number of open connections of a key on this node. The key `""` has the connections
/// without a key.
pub fn count(key: &str) -> u32 {
    backend::stream_count(Some(key))
}

/// Returns the number of open connections of this node.
pub fn count_all() -> u32 {
    backend::stream_count(None)
}

/// Limits what is sent or closed to the clients of this node, or of this worker.
///
/// ```
/// use fanfare_sdk::prelude::*;
/// use fanfare_sdk::sse::{self, Reach};
///
/// /// Runs in every worker, by a broadcast or a schedule of the type `all`.
/// #[handler]
/// fn tick() -> Result<()> {
///     sse::to(Reach::ThisWorker).publish("ticker", "tick")?;
///     Ok(())
/// }
/// fanfare_sdk::module!(tick);
/// # fn main() {
/// let host = TestHost::builder(Module).workers(2).broadcast("tick", "tick").start();
/// let readers = [0, 1].map(|worker| host.stream("ticker").on(worker).open().unwrap());
/// host.broadcast("tick", ()).unwrap();
/// assert!(readers.iter().all(|reader| reader.events().len() == 1));
/// # }
/// ```
pub fn to(reach: Reach) -> Clients {
    Clients { reach }
}

/// The clients within a [`Reach`]. Create it with [`to`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `publish` or `close`"]
pub struct Clients {
    reach: Reach,
}

impl Clients {
    /// Sends an event to the clients of a key. See [`publish`](fn@publish).
    pub fn publish(self, key: &str, event: impl IntoEvent) -> Result<u32, CallError> {
        let record = event.into_event().into_record()?;
        Ok(backend::publish(caller(), key, &record, self.reach)?)
    }

    /// Sends an event to the clients of all keys. See [`publish_all`](fn@publish_all).
    pub fn publish_all(self, event: impl IntoEvent) -> Result<u32, CallError> {
        let record = event.into_event().into_record()?;
        Ok(backend::publish_all(caller(), &record, self.reach)?)
    }

    /// Closes the connections of a key. See [`close`](fn@close).
    pub fn close(self, key: &str) -> Result<u32, CallError> {
        Ok(backend::close(caller(), key, self.reach)?)
    }

    /// Closes all connections. See [`close_all`](fn@close_all).
    pub fn close_all(self) -> Result<u32, CallError> {
        Ok(backend::close_all(caller(), self.reach)?)
    }
}

/// A server-sent event.
///
/// ```
/// use fanfare_sdk::sse::Event;
/// use std::time::Duration;
///
/// let event = Event::new("first line\nsecond line")
///     .with_event("news")
///     .with_id("42")
///     .with_retry(Duration::from_secs(3))
///     .with_comment("no handler sees this");
/// assert_eq!(event.event(), Some("news"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    record: Record,
    /// Why serde could not serialise the data.
    fault: Option<String>,
}

impl Event {
    /// Creates an event with this data and the type `message`. The client receives the data as
    /// text.
    pub fn new(data: impl IntoPayload) -> Self {
        let (data, fault) = match data.into_payload() {
            Ok(data) => (data, None),
            Err(error) => (Payload::None, Some(CallError::from(error).to_string())),
        };
        let record = Record { data, event: None, id: None, retry_ms: None, comment: None, extra: Vec::new() };
        Event { record, fault }
    }

    /// Sets the type, which a client passes to `addEventListener`.
    #[must_use]
    pub fn with_event(mut self, event: impl Into<String>) -> Self {
        self.record.event = Some(event.into());
        self
    }

    /// Sets the id, which a client sends as `Last-Event-ID` when it connects again. Without it, the
    /// host sends its own position if it keeps a history of the key.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.record.id = Some(id.into());
        self
    }

    /// Sets how long the client waits before it connects again after a cut.
    #[must_use]
    pub fn with_retry(mut self, retry: Duration) -> Self {
        self.record.retry_ms = Some(crate::rpc::millis(retry));
        self
    }

    /// Adds text that the client ignores. An event without data and type is sent as its comment
    /// alone: `Event::new(()).with_comment("..")`.
    #[must_use]
    pub fn with_comment(mut self, comment: impl Into<String>) -> Self {
        self.record.comment = Some(comment.into());
        self
    }

    /// Returns the data as text: empty without data, and when it is not valid UTF-8.
    pub fn text(&self) -> &str {
        self.record.data.as_text().unwrap_or_default()
    }

    /// Parses the data as JSON. Missing data is `null`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.record.data.json()
    }

    /// Returns the type. `None` means `message`.
    pub fn event(&self) -> Option<&str> {
        self.record.event.as_deref()
    }

    /// Returns the id.
    pub fn id(&self) -> Option<&str> {
        self.record.id.as_deref()
    }

    /// Returns how long the client waits before it connects again.
    pub fn retry(&self) -> Option<Duration> {
        self.record.retry_ms.map(|retry| Duration::from_millis(retry.into()))
    }

    /// Returns the comment.
    pub fn comment(&self) -> Option<&str> {
        self.record.comment.as_deref()
    }

    fn into_record(self) -> Result<Record, CallError> {
        self.fault.map_or(Ok(self.record), |fault| Err(CallError::Invalid(fault)))
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn of_record(record: &Record) -> Event {
        Event { record: record.clone(), fault: None }
    }
}

/// A type that can be published: an [`Event`], or the data of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be published",
    note = "publish an `Event`, `&str`, `String`, `Vec<u8>`, `Payload` or `serde_json::Value`, or `Json(value)` for a type that implements `serde::Serialize`"
)]
pub trait IntoEvent {
    /// Converts the value to an event.
    fn into_event(self) -> Event;
}

impl IntoEvent for Event {
    fn into_event(self) -> Event {
        self
    }
}

impl<P: IntoPayload> IntoEvent for P {
    fn into_event(self) -> Event {
        Event::new(self)
    }
}

/// A client that asks to open a stream: an argument of the handler that `streams` of `module.json`
/// names.
///
/// The stream opens when the handler passes, and when it replies with a status below 300.
/// Otherwise the client receives the reply, or the failure, as its response.
///
/// ```
/// use fanfare_sdk::prelude::*;
/// use fanfare_sdk::sse::StreamRequest;
///
/// #[handler]
/// fn may_listen(stream: StreamRequest, cx: Context) -> Result<Pass> {
///     if stream.key != "chat/lobby" && cx.header("x-user").is_none() {
///         return Err(Failure::new("no-user", "log in first").with_status(401));
///     }
///     Ok(Pass)
/// }
/// fanfare_sdk::module!(may_listen);
/// # fn main() {
/// let host = TestHost::builder(Module)
///     .name("chat")
///     .manifest(r#"{
///         "routes": [{ "path": "may-listen", "handler": "may_listen", "middlewares": "inner" }],
///         "streams": { "chat/*": { "path": "may-listen" } },
///     }"#)
///     .start();
/// assert!(host.stream("chat/lobby").open().is_ok());
/// assert!(host.stream("chat/1").header("x-user", "ada").open().is_ok());
/// assert_eq!(host.stream("chat/1").open().unwrap_err().status(), 401);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StreamRequest {
    /// The key that the client asks for. Empty when it names none.
    pub key: String,
    /// The id of the last event that the client received, if it resumes.
    #[serde(default)]
    pub last_event_id: Option<String>,
}

impl StreamRequest {
    pub(crate) fn of(trigger: &Trigger) -> Option<StreamRequest> {
        match trigger {
            Trigger::Other((kind, data)) if kind == "stream" => serde_json::from_str(data).ok(),
            _ => None,
        }
    }
}

impl FromCall for StreamRequest {
    fn from_call(call: &mut Incoming, _: &'static str) -> Result<Self> {
        StreamRequest::of(&call.call().trigger).ok_or_else(|| {
            let message = format!(
                "the handler `{}` admits readers of streams: name its route in `streams` of module.json, and give it the middleware `inner`",
                call.call().handler
            );
            Failure::bad_request("no-stream", message)
        })
    }
}
