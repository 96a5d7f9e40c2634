//! The trigger of WebSockets: answers the request that opens one, lets the module of the socket
//! decide who may connect, and hands the connection to the hub. Each message of a client is a call
//! of a route.
//!
//! Like `triggers/http`, it knows no isolates: it reaches modules through [`ClientBackend`].
//!
//! - `route` and `upgrade` answer the request that opens a WebSocket, with the hooks `upgrade` and
//!   `connect`
//! - `client` is the connection as a `Client` of the hub. `flow` bounds its messages in flight,
//!   `farewell` sends its last bytes
//! - `decoder` and `frames` read and write frames, without input or output
//! - `link` has what the messages of a client need, and the trait of its protocol: `plain` or
//!   `socketcluster`
//! - `auth` verifies and issues tokens; `port` is how guests reach sessions
//!
//! A read of a client is bounded, because the fan-out runs without tokio's budget. While
//! `websocket.inFlight` messages have no outcome, or too many answers to pings wait, the connection
//! is not read; an outcome or a write wakes it again.
//!
//! A connection joins the hub before the hook `connect` runs, so that the hook may send to the
//! client. What it sends waits in the outbox until the head of the response is sent. If the hook
//! refuses, the client loses its handler, and the fan-out removes it.
//!
//! A session ends when its connection is dropped, whatever the cause, and therefore once. Its user
//! is free and its groups are left at once; the session itself is found until the hook `disconnect`
//! has ended. The guard that counts the connection lives as long, so that a stop waits for these
//! hooks.

pub use auth::{Auth, KeyText};
pub use backend::{ClientBackend, SocketTarget};
pub use channel_frames::ChannelFrames;
#[cfg(any(test, fuzzing))]
pub(crate) use decoder::decode;
pub use history::ChannelHistories;
#[cfg(any(test, fuzzing))]
pub(crate) use history::history_after;
pub use port::SessionPort;
pub use route::WebSockets;
#[cfg(any(test, fuzzing))]
pub(crate) use socketcluster::fields::read_channels;
pub use socketcluster::kicked_out;
#[cfg(any(test, fuzzing))]
pub(crate) use socketcluster::packet::read_packets;

mod auth;
mod backend;
mod channel_frames;
mod channel_page;
mod client;
mod close_codes;
mod counters;
mod decoder;
mod farewell;
mod flow;
mod frames;
mod history;
mod link;
mod message;
mod plain;
mod port;
mod route;
mod scratch;
mod socketcluster;
mod upgrade;
mod utf8;
