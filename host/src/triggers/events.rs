//! The event service: processes outside emit events and subscribe to them, over HTTP.
//!
//! - `GET /`: the name, the limits and the counts of the service, as JSON
//! - `POST /events`: emits an event, or a list of events
//! - `GET /events[?type=<type>]..`: subscribes to types, as server-sent events
//!
//! It serves the [`ServiceLog`](crate::hub::ServiceLog) of the node on a listener of its own, with
//! the HTTP server of `triggers/http`. [docs/events.md] is the reference of its wire format.
//!
//! A route reads its body itself, so that a request without permission costs no memory. Each
//! subscriber is a stream that reads the log in the task of its connection. An event is encoded
//! once for all subscribers.
//!
//! [docs/events.md]: https://github.com/fanfare-host/fanfare/blob/main/docs/events.md

mod access;
mod answers;
mod counters;
mod emitter;
mod link;
mod listener;
mod post;
mod rate;
mod repeats;
mod routes;
mod service;
mod subscribe;

pub use access::Token;
pub use emitter::Emitter;
pub use link::ServiceLink;
pub use listener::EventListener;
pub use service::EventService;
#[cfg(any(test, fuzzing))]
pub(crate) use subscribe::start_of;
