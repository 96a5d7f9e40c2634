//! hyper's connection of the protocol that the client speaks.
//!
//! hyper-util can tell the protocols apart too, but its connection does not return the socket.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::answer::AnswerBody;
use super::observed::ObservedStream;
use super::settings::Settings;
use crate::net::Stream;

/// The number of headers that hyper keeps without the heap.
const HYPER_MAX_HEADERS: usize = 100;

/// The smallest limit that hyper accepts for a head.
const HYPER_MIN_HEAD: usize = 8_192;

/// A service of one connection. hyper never pins it.
pub(super) trait RequestService:
    Service<Request<Incoming>, Response = Response<AnswerBody>, Error = h2::Error, Future: Send + 'static> + Unpin
{
}

impl<T> RequestService for T where
    T: Service<Request<Incoming>, Response = Response<AnswerBody>, Error = h2::Error, Future: Send + 'static> + Unpin
{
}

/// A connection, from its first byte on.
#[expect(clippy::large_enum_variant, reason = "most connections are of HTTP/1.1, and need no box")]
pub(super) enum Protocol<T: RequestService> {
    Unknown(ObservedStream, T),
    Http1(http1::Connection<TokioIo<ObservedStream>, T>),
    /// Boxed, so that connections over HTTP/1.1 stay smaller.
    Http2(Pin<Box<http2::Connection<TokioIo<ObservedStream>, T, TokioExecutor>>>),
    Closed,
}

impl<T: RequestService> Protocol<T> {
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        settings: &Settings,
    ) -> Poll<Result<(), Box<dyn Error + Send + Sync>>> {
        loop {
            match self {
                Protocol::Http1(connection) => return Pin::new(connection).poll(cx).map_err(Into::into),
                Protocol::Http2(connection) => return connection.as_mut().poll(cx).map_err(Into::into),
                Protocol::Closed => return Poll::Ready(Ok(())),
                Protocol::Unknown(socket, _) => {
                    let is_http2 = ready!(socket.poll_is_http2(cx))?;
                    if let Protocol::Unknown(socket, service) = std::mem::replace(self, Protocol::Closed) {
                        let io = TokioIo::new(socket);
                        *self = match is_http2 {
                            false => Protocol::Http1(http1(settings).serve_connection(io, service)),
                            true => Protocol::Http2(Box::pin(http2(settings).serve_connection(io, service))),
                        };
                    }
                }
            }
        }
    }

    /// Ends the connection when its requests have ended, or at once before the first one.
    pub(super) fn graceful_shutdown(&mut self) {
        match self {
            Protocol::Http1(connection) => Pin::new(connection).graceful_shutdown(),
            Protocol::Http2(connection) => connection.as_mut().graceful_shutdown(),
            Protocol::Unknown(..) | Protocol::Closed => *self = Protocol::Closed,
        }
    }

    /// Returns the stream of an HTTP/1.1 connection, and the bytes read behind its last request.
    pub(super) fn into_stream(self) -> Option<(Stream, Bytes)> {
        let Protocol::Http1(connection) = self else { return None };
        let parts = connection.into_parts();
        let (stream, ahead) = parts.io.into_inner().into_stream();
        // The bytes are copied, because hyper's buffer is large even when it is almost empty.
        let mut read = parts.read_buf.to_vec();
        read.extend_from_slice(&ahead);
        Some((stream, read.into()))
    }
}

fn http1(settings: &Settings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let head = usize::try_from(settings.max_header_bytes).unwrap_or(usize::MAX).max(HYPER_MIN_HEAD);
    // `IdleWatch` replaces hyper's header timeout. A client that leaves does not end its request,
    // so `half_close` saves hyper the read that would notice it. `ObservedStream` notices it while
    // an answer streams.
    builder.header_read_timeout(None).max_buf_size(head).half_close(true);
    if settings.max_headers != HYPER_MAX_HEADERS {
        builder.max_headers(settings.max_headers);
    }
    builder
}

fn http2(settings: &Settings) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(settings.max_streams).max_header_list_size(settings.max_header_bytes);
    builder
}
