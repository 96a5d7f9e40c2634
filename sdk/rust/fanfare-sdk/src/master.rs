//! The host as one object: its options, and messages to it.
//!
//! The embedding program receives the messages, or, when it does not listen, the hook
//! `workerMessage` or `brokerMessage` of a module in the master isolate.
//!
//! ```
//! use fanfare_sdk::prelude::*;
//! use fanfare_sdk::master;
//!
//! #[handler]
//! async fn report(word: Text) -> Result<String> {
//!     let workers: u32 = master::options("/workers")?.unwrap_or(1);
//!     let reply = master::send(word).await?;
//!     Ok(format!("{workers} workers, {}", reply.as_text().unwrap_or_default()))
//! }
//! fanfare_sdk::module!(report);
//! # fn main() {
//! let host = TestHost::builder(Module)
//!     .options(json!({"workers": 4}))
//!     .on_message(|message| Ok(Payload::Text(format!("got {}", message.as_text().unwrap_or_default()))))
//!     .start();
//! assert_eq!(host.call("report", "hi").unwrap().text(), "4 workers, got hi");
//! # }
//! ```

use std::fmt;
use std::future::Future;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::backend;
use crate::current::caller;
use crate::failure::CallError;
use crate::payload::IntoPayload;
use crate::types::Payload;

/// Returns the host's option at a JSON Pointer such as `/ipcAckTimeout`, or `None` when there is no
/// such option. An empty pointer returns all options.
///
/// The options are those in `options` of `fanfare.json`, and besides them `environment`, `workers`,
/// `brokers`, `host`, `port`, `instanceId` and the keys of the section `master`. Durations are in
/// milliseconds, sizes in bytes.
pub fn options<T: DeserializeOwned>(pointer: &str) -> Result<Option<T>, OptionError> {
    let Some(text) = backend::option(pointer) else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| OptionError { pointer: pointer.to_owned(), error })
}

/// Sends a message to the master and returns the reply.
///
/// The wait ends at the deadline of the call, and at the latest after `master.ipcAckTimeout` of
/// `fanfare.json`. Fails with `CallError::Unavailable` when nobody listens.
pub fn send<P: IntoPayload>(payload: P) -> impl Future<Output = Result<Payload, CallError>> + use<P> {
    message(payload).send()
}

/// Sends a message to the master and returns without waiting for the reply.
pub fn post(payload: impl IntoPayload) -> Result<(), CallError> {
    let payload = payload.into_payload()?;
    Ok(backend::post(caller(), &payload)?)
}

/// Starts a message with options.
#[must_use = "call `send` to send the message"]
pub fn message<P: IntoPayload>(payload: P) -> Message<P> {
    Message { payload, timeout: None }
}

/// A message with options. Create one with [`message`].
#[derive(Clone, Debug)]
#[must_use = "call `send` to send the message"]
pub struct Message<P> {
    payload: P,
    timeout: Option<Duration>,
}

impl<P: IntoPayload> Message<P> {
    /// Limits the wait for the reply.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends the message and returns the reply. See [`send`](fn@send).
    pub fn send(self) -> impl Future<Output = Result<Payload, CallError>> + use<P> {
        let (caller, payload) = (caller(), self.payload.into_payload());
        let timeout = self.timeout.map(crate::rpc::millis);
        async move { Ok(backend::send(caller, &payload?, timeout).await?) }
    }
}

/// An option of the host does not have the type that the module expects.
#[derive(Debug)]
pub struct OptionError {
    pointer: String,
    error: serde_json::Error,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OptionError { pointer, error } = self;
        write!(f, "the option of the host at `{pointer}` has the wrong type: {error}. Correct it in fanfare.json")
    }
}

impl std::error::Error for OptionError {}
