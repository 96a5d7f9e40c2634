//! The trigger of WebSockets: answers the request that opens one, lets the module of the socket
//! decide who may connect, and hands the connection to the hub. Each message of a client is a call
//! of a route.
//!
//! Like `triggers/http`, it knows no isolates: it reaches modules through [`ClientBackend`].

pub use auth::{Auth, KeyText};
pub use backend::{ClientBackend, SocketTarget};
pub use channel_frames::ChannelFrames;
#[cfg(any(test, fuzzing))]
pub(crate) use decoder::decode;
pub use history::ChannelHistories;
pub use port::SessionPort;
pub use route::WebSockets;
#[cfg(any(test, fuzzing))]
pub(crate) use socketcluster::channels::read_channels;
pub use socketcluster::kicked_out;
#[cfg(any(test, fuzzing))]
pub(crate) use socketcluster::packet::read_packets;

mod auth;
mod backend;
mod channel_frames;
mod channel_page;
mod client;
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
