//! The interface to one connected client.

use std::net::IpAddr;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::message::Notice;
use super::outbox::Outbox;

/// A connection. The fan-out of its worker owns it and calls it on the worker's thread only.
/// Dropping it closes the connection.
pub trait Client: Send {
    /// The address of the client, for the host event `clientSlow`.
    fn peer(&self) -> IpAddr;

    /// Encodes a notice in the form that the client sends. No bytes for a notice that it does not
    /// send.
    fn notice(&mut self, notice: Notice) -> Bytes;

    /// Sends from the front of the outbox. Ready when the outbox is empty. Otherwise wakes the task
    /// when the client accepts more.
    fn poll_write(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<Result<(), Gone>>;

    /// Reads what the client has sent, a bounded amount, and wakes the task when there is more. May
    /// add notices of its own to the outbox. Fails once the client has disconnected.
    fn poll_read(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Result<Received, Gone>;

    /// Ends the connection in order, after the outbox was sent. Ready when it may be dropped.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Whether the client waits for an answer that is still being made. Then a stop of the host
    /// does not end the connection yet. After [`Notice::Stop`], the client reads nothing.
    fn is_busy(&self) -> bool {
        false
    }

    /// The message of which only a part has arrived, as a number that differs from that of the
    /// message before. `None` between messages.
    fn partial(&self) -> Option<u32> {
        None
    }

    /// Is told that the time of the client has passed. Returns whether the connection ends at once,
    /// after its outbox.
    fn is_lost(&mut self, _why: Lost, _cx: &Context<'_>) -> bool {
        false
    }

    /// Is told that the hub is about to drop the connection, because the client is too slow. May
    /// try once to tell it.
    fn cut(&mut self, _outbox: &Outbox) {}
}

/// Why a client is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It has sent nothing for [`TopicSettings::silence`](super::message::TopicSettings::silence).
    Silent,
    /// It has not sent the rest of a message within
    /// [`TopicSettings::message`](super::message::TopicSettings::message).
    Partial,
}

/// What a read has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    Nothing,
    /// The client has sent something, so it is not silent.
    Something,
    /// The connection ends once its outbox was sent.
    End,
}

/// The client has disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;
