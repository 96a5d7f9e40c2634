//! The protocol of SocketCluster, versions 1 and 2. It speaks to clients through the same transport
//! as plain WebSockets.

pub(super) use connection::Connection;
pub(super) use identity::is_client;
pub(super) use questions::{Question, Questions};
pub(super) use shared::Shared;
pub use written::kicked_out;
pub(super) use written::{question, remove_token, set_token};

pub mod fields;
pub mod packet;

mod channels;
mod connection;
mod errors;
mod handshake;
mod identity;
mod questions;
mod shared;
mod written;
