//! A connection over HTTP/1.1 or HTTP/2, as the client chooses.
//!
//! hyper-util also detects the protocol, but its connection does not give the socket back.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::observed_stream::ObservedStream;
use super::response_body::ResponseBody;
use super::settings::Settings;
use crate::net::Stream;

/// The number of headers that hyper parses without allocating.
const HYPER_MAX_HEADERS: usize = 100;

/// The smallest limit that hyper accepts for a head.
const HYPER_MIN_HEAD: usize = 8_192;

/// The service that answers the requests of one connection. hyper never pins it.
pub(super) trait RequestService:
    Service<Request<Incoming>, Response = Response<ResponseBody>, Error = h2::Error, Future: Send + 'static> + Unpin
{
}

impl<T> RequestService for T where
    T: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = h2::Error, Future: Send + 'static> + Unpin
{
}

/// A connection of either protocol.
#[expect(clippy::large_enum_variant, reason = "most connections are HTTP/1.1, which needs no box")]
pub(super) enum Protocol<T: RequestService> {
    /// The first bytes have not arrived yet.
    Unknown(ObservedStream, T),
    Http1(http1::Connection<TokioIo<ObservedStream>, T>),
    /// Boxed, so that HTTP/1.1 connections are smaller.
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

    /// Closes the connection when its requests have ended, or at once if none has begun.
    pub(super) fn graceful_shutdown(&mut self) {
        match self {
            Protocol::Http1(connection) => Pin::new(connection).graceful_shutdown(),
            Protocol::Http2(connection) => connection.as_mut().graceful_shutdown(),
            Protocol::Unknown(..) | Protocol::Closed => *self = Protocol::Closed,
        }
    }

    /// Returns the stream of an HTTP/1.1 connection, and the bytes after its last request that were
    /// already read.
    pub(super) fn into_stream(self) -> Option<(Stream, Bytes)> {
        let Protocol::Http1(connection) = self else { return None };
        let parts = connection.into_parts();
        let (stream, ahead) = parts.io.into_inner().into_stream();
        // Copying the bytes frees hyper's buffer, which is large even when it is almost empty.
        let mut read = parts.read_buf.to_vec();
        read.extend_from_slice(&ahead);
        Some((stream, read.into()))
    }
}

fn http1(settings: &Settings) -> http1::Builder {
    let mut builder = http1::Builder::new();
    let head = usize::try_from(settings.max_header_bytes).unwrap_or(usize::MAX).max(HYPER_MIN_HEAD);
    // `IdleWatch` replaces hyper's header timeout. A client that disconnects does not cancel its
    // request, so `half_close` saves hyper the read that would notice the disconnect.
    // `ObservedStream` notices it during a streaming response.
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
