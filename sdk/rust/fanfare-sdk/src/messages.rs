//! Messages to brokers outside, such as Redis.
//!
//! The module needs the grant `publish` for the topic, such as `redis:news`. It receives messages
//! through `subscriptions` of `module.json`; the handler takes a
//! [`Subscription`](crate::types::Subscription) for the topic.
//!
//! ```
//! use fanfare_sdk::prelude::*;
//!
//! #[handler]
//! fn announce(word: Text) -> Result<()> {
//!     messages::publish("redis", "news", word)?;
//!     Ok(())
//! }
//! fanfare_sdk::module!(announce);
//! # fn main() {
//! let host = TestHost::new(Module);
//! host.call("announce", "hello").unwrap();
//! let sent = &host.messages()[0];
//! assert_eq!((&*sent.topic, sent.payload.as_text()), ("news", Some("hello")));
//! # }
//! ```

use crate::backend;
use crate::current::caller;
use crate::failure::CallError;
use crate::payload::IntoPayload;

/// Queues a message for a topic of a connection, and returns at once. The connection is `redis` for
/// the one named `default` in `redis` of `fanfare.json`, `redis.<name>` for any other, and `nats`
/// for NATS.
///
/// Fails with `Forbidden` without the grant, with `NotFound` when there is no such connection, with
/// `Invalid` when the topic has not 1 to 512 bytes or is no subject that NATS lets modules publish
/// to, or when the message is larger than `limits.payload` or what NATS accepts, with
/// `Overloaded` when the queue of the connection is full, and with `Unavailable` when the broker is
/// away.
pub fn publish(connection: &str, topic: &str, payload: impl IntoPayload) -> Result<(), CallError> {
    let payload = payload.into_payload()?;
    Ok(backend::publish_message(caller(), connection, topic, &payload)?)
}
