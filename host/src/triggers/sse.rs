//! The trigger of live streams: answers requests for a stream, lets a module decide who may listen,
//! and hands the connection to the hub. [`Publisher`] sends events to streams.
//!
//! Like `triggers/http`, it knows no isolates: it asks modules through [`StreamBackend`].

pub use publish::Publisher;
pub use route::{StreamBackend, Streams};

mod accept;
mod event;
mod frames;
mod notice;
mod publish;
mod request;
mod response;
mod route;
mod socket;
