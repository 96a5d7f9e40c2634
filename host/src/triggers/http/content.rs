//! The content of an answer, and the routes of the host itself, which may also answer with a stream
//! or take the socket.

#![allow(dead_code, reason = "the host has no route of its own yet that streams or takes sockets")]

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream as FrameStream;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Response, Uri, Version};
use tokio_util::sync::CancellationToken;

use super::stopping::Stopping;
use crate::call::Trace;
use crate::net::{Account, Open, Stream};

/// An answer. Its head is complete, except for the fields that the connection adds.
pub type Answer = Response<Content>;

/// The body of an answer, or the way to send it.
pub enum Content {
    Whole(Bytes),
    /// Bytes that arrive while the client reads. The connection drops the stream when the client
    /// has left, when the client takes nothing for `http.idleTimeout`, when `http.maxBuffered` has
    /// no room for a frame, and when the stream has not ended `shutdown.linger` after a stop began.
    Frames(Frames),
    /// Over HTTP/1.1, and without a body of the request: the head leaves, and then the handler gets
    /// the socket. The status 101 makes it an upgrade. With any other one the handler writes the
    /// body, in chunks (RFC 9112, 7.1) unless the request was of HTTP/1.0.
    Socket(SocketHandler),
}

/// A stream of frames. Each is sent as soon as it arrives.
pub type Frames = Pin<Box<dyn FrameStream<Item = Bytes> + Send>>;

/// Runs with a socket, as a task of its own, until it returns or `shutdown.linger` after a stop
/// began.
pub struct SocketHandler(Box<dyn FnOnce(Handover) -> BoxFuture<'static, ()> + Send>);

/// A socket without HTTP, with all that belongs to it.
#[derive(Debug)]
pub struct Handover {
    pub stream: Stream,
    /// Bytes that the client sent behind its request.
    pub read: Bytes,
    pub peer: SocketAddr,
    /// Counts the connection until it is dropped.
    pub open: Open,
    /// Holds the bytes that wait for the client, within `http.maxBuffered`.
    pub account: Account,
    pub stopping: Stopping,
}

/// A route of the host: takes the request and answers it.
pub type HostRoute = Box<dyn FnOnce(HostRequest) -> BoxFuture<'static, Answer> + Send>;

/// A request for a route of the host. Its body is not read.
#[derive(Debug)]
pub struct HostRequest {
    pub method: Method,
    pub uri: Uri,
    /// Over HTTP/2 a route cannot take the socket: it answers with [`Content::Frames`] there.
    pub version: Version,
    /// The fields as the client sent them, hop-by-hop fields too.
    pub headers: HeaderMap,
    pub authority: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    pub peer: SocketAddr,
    pub trace: Trace,
    /// Cancelled when the host begins to stop, so that a stream can end in time.
    pub ending: CancellationToken,
}

impl SocketHandler {
    pub fn new<F>(handler: impl FnOnce(Handover) -> F + Send + 'static) -> SocketHandler
    where
        F: Future<Output = ()> + Send + 'static,
    {
        SocketHandler(Box::new(|handover| Box::pin(handler(handover))))
    }

    pub(super) fn run(self, handover: Handover) -> BoxFuture<'static, ()> {
        (self.0)(handover)
    }
}

impl fmt::Debug for SocketHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SocketHandler")
    }
}

impl Content {
    /// Returns the number of bytes, when it is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Content::Whole(bytes) => Some(bytes.len() as u64),
            Content::Frames(_) | Content::Socket(_) => None,
        }
    }
}

impl Default for Content {
    fn default() -> Content {
        Content::Whole(Bytes::new())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Content {
        Content::Whole(text.into())
    }
}
