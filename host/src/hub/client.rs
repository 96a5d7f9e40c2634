//! The interface to one connected client.

use std::net::IpAddr;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::message::Notice;
use super::outbox::Outbox;

/// The sending half of a connection. The fan-out of its worker owns it and calls it on the worker's
/// thread only. Dropping it closes the connection.
pub trait Client: Send {
    /// The address of the client, for the host event `clientSlow`.
    fn peer(&self) -> IpAddr;

    /// Encodes a notice in the form that the client sends. No bytes for a notice that it does not
    /// send.
    fn notice(&self, notice: Notice) -> Bytes;

    /// Sends from the front of the outbox. Ready when the outbox is empty. Otherwise wakes the task
    /// when the client accepts more.
    fn poll_write(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<Result<(), Gone>>;

    /// Ready once the client has disconnected. Wakes the task then.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone>;

    /// Ends the connection in order, after the outbox was sent. Ready when it may be dropped.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The client has disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;
