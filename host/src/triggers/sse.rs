//! The trigger of live streams: answers requests for a stream, lets a module decide who may listen,
//! and hands the connection to the hub. [`Publisher`] sends events to streams.
//!
//! Like `triggers/http`, it knows no isolates: it asks modules through [`StreamBackend`].
//!
//! The route reserves a place in the hub before it asks the module, so that clients beyond
//! `sse.maxClients` cost no call. It rejects a malformed request, or one with a body, before that.
//! A full host answers `EventSource` with 200, because `EventSource` never connects again after any
//! other status; so it does after an error of the module that is probably temporary.
//!
//! If `sse.maxClients` is not set, streams get four fifths of the connections that the host really
//! accepts, which a low limit of file descriptors makes fewer than `http.maxConnections`.

pub use event::EventMessage;
pub use notice::{PING, retry};
pub use parser::{EventParser, ServerEvent};
pub use publish::Publisher;
pub use route::{StreamBackend, Streams};

pub(in crate::triggers) use accept::Accepts;
pub(in crate::triggers) use notice::encode as encode_notice;
#[cfg(any(test, fuzzing))]
pub(crate) use request::last_event_id;
pub(in crate::triggers) use request::{decode, parameters};
pub(in crate::triggers) use response::not_acceptable;

mod accept;
mod event;
mod frames;
mod notice;
mod parser;
mod publish;
mod request;
mod response;
mod route;
mod socket;
