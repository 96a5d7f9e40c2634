//! The trigger of live streams: answers requests for a stream, lets a module decide who may listen,
//! and hands the connection to the hub. [`Publisher`] sends events to streams.
//!
//! Like `triggers/http`, it knows no isolates: it asks modules through [`StreamBackend`].

pub use event::EventMessage;
pub use notice::{PING, retry};
pub use parser::{EventParser, ServerEvent};
pub use publish::Publisher;
pub use route::{StreamBackend, Streams};

pub(in crate::triggers) use accept::Accepts;
pub(in crate::triggers) use notice::encode as encode_notice;
pub(in crate::triggers) use request::{decode, parameters};
pub(in crate::triggers) use response::{RETRY_SECONDS, not_acceptable};

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
