//! The content of a response. Routes of the host itself may also respond with a stream or take over
//! the socket.
//!
//! The handler of a `Content::Socket` detects slow and disconnected clients itself. If it moves its
//! socket elsewhere and returns, its task ends too. In an unoptimised build, an idle client costs
//! 22 KB of heap with `Content::Frames`, where hyper keeps the connection, 1.4 KB with a handler,
//! and 0.5 KB when the handler has returned.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream as FrameStream;
use futures_util::future::BoxFuture;
use http::Response;

use super::stopping::Stopping;
use crate::call::StreamedBody;
use crate::net::{BufferAccount, ConnectionGuard, Stream};

/// A response. Its head is complete, except for the fields that the connection adds.
pub type HttpResponse = Response<Content>;

/// The body of a response, or what takes its place.
pub enum Content {
    Whole(Bytes),
    /// A body that is produced while the client reads it. The connection drops the stream when the
    /// client disconnects, when the client reads nothing for `http.idleTimeout`, when a frame does
    /// not fit into `http.maxBuffered`, and when the stream has not ended `shutdown.linger` after
    /// the host began to stop.
    Frames(Frames),
    /// The same with a body that may have trailers and may fail.
    Streamed(StreamedBody),
    /// hyper sends the head of the response, and then the handler gets the socket. Only for
    /// HTTP/1.1 requests without a body. With the status 101 this is an upgrade. With any other
    /// status the handler writes the body: in chunks (RFC 9112, 7.1), or as it is if the request
    /// was HTTP/1.0. The response says `Connection: close`, unless the route has set that field.
    Socket(SocketHandler),
}

/// A stream of frames. The host sends each as soon as the stream yields it.
pub type Frames = Pin<Box<dyn FrameStream<Item = Bytes> + Send>>;

/// Runs with a detached socket, in a task of its own. The host aborts it if it has not returned
/// `shutdown.linger` after the host began to stop.
pub struct SocketHandler(Box<dyn FnOnce(DetachedSocket) -> BoxFuture<'static, ()> + Send>);

/// The socket of a connection that hyper no longer uses.
#[derive(Debug)]
pub struct DetachedSocket {
    pub stream: Stream,
    /// Bytes after the request that hyper has already read.
    pub read: Bytes,
    /// Counts the connection until it is dropped.
    pub guard: ConnectionGuard,
    /// Counts the bytes that the handler buffers for the client, within `http.maxBuffered`.
    pub account: BufferAccount,
    pub stopping: Stopping,
}

/// An extension of a response that says that `http.cors` does not apply to it: its
/// `Access-Control-Allow-Origin`, if any, stays as it is.
#[derive(Debug, Clone, Copy)]
pub struct OwnOrigin;

impl SocketHandler {
    pub fn new<F>(handler: impl FnOnce(DetachedSocket) -> F + Send + 'static) -> SocketHandler
    where
        F: Future<Output = ()> + Send + 'static,
    {
        SocketHandler(Box::new(|socket| Box::pin(handler(socket))))
    }

    pub(super) fn run(self, socket: DetachedSocket) -> BoxFuture<'static, ()> {
        (self.0)(socket)
    }
}

impl fmt::Debug for SocketHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SocketHandler")
    }
}

impl Content {
    /// Returns the number of bytes, if it is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Content::Whole(bytes) => Some(bytes.len() as u64),
            Content::Frames(_) | Content::Streamed(_) | Content::Socket(_) => None,
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
