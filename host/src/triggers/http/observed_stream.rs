//! The stream between hyper and the socket. It records reads and writes, distinguishes HTTP/1.1
//! from HTTP/2, replaces hyper's own error responses, and notices clients that disconnect during a
//! streaming response.
//!
//! It reads ahead up to the length of the HTTP/2 preface. Over HTTP/1.1 hyper reads nothing until
//! the response ends, because a client may close its sending side and still get its response; h2
//! always reads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection_state::{ConnectionState, NO_RESPONSE, RESPONDING};
use super::head_error::{self, HeadErrorResponse};
use super::settings::Settings;
use crate::net::Stream;

/// The first bytes that every HTTP/2 client sends.
const PREFACE: &[u8; READ_AHEAD] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The maximum number of bytes that this stream reads before hyper asks for them.
const READ_AHEAD: usize = 24;

/// A stream that records its reads and writes in [`ConnectionState`].
pub(super) struct ObservedStream {
    stream: Stream,
    state: Arc<ConnectionState>,
    settings: Arc<Settings>,
    head_error: Option<HeadErrorResponse>,
    read_ahead: ReadAhead,
}

/// Bytes that this stream has read and hyper has not.
#[derive(Default)]
struct ReadAhead {
    bytes: [u8; READ_AHEAD],
    from: usize,
    to: usize,
}

impl ReadAhead {
    fn unread(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    /// Reads once from the stream, if the buffer has room. Returns the number of bytes, which is 0
    /// at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<usize>> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
        let mut buf = ReadBuf::new(self.bytes.get_mut(self.to..).unwrap_or_default());
        ready!(Pin::new(stream).poll_read(cx, &mut buf))?;
        let count = buf.filled().len();
        self.to = self.to.saturating_add(count);
        Poll::Ready(Ok(count))
    }

    fn is_full(&self) -> bool {
        self.to == READ_AHEAD && self.from < self.to
    }

    /// Moves as many bytes as fit into `buf`.
    fn move_into(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.unread().len().min(buf.remaining());
        buf.put_slice(self.unread().get(..count).unwrap_or_default());
        self.from = self.from.saturating_add(count);
    }
}

impl ObservedStream {
    pub(super) fn new(stream: Stream, state: Arc<ConnectionState>, settings: Arc<Settings>) -> ObservedStream {
        ObservedStream { stream, state, settings, head_error: None, read_ahead: ReadAhead::default() }
    }

    /// Reads until the first bytes decide whether the client speaks HTTP/2. hyper gets these bytes
    /// with its first read.
    pub(super) fn poll_is_http2(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            let first_bytes = self.read_ahead.unread();
            if !PREFACE.starts_with(first_bytes) {
                return Poll::Ready(Ok(false));
            }
            if first_bytes.len() == READ_AHEAD {
                self.state.set_http2();
                return Poll::Ready(Ok(true));
            }
            if ready!(self.read_ahead.poll_fill(cx, &mut self.stream))? == 0 {
                return Poll::Ready(Ok(false));
            }
            self.state.record_read();
        }
    }

    /// Returns the stream, and the bytes that hyper has not read.
    pub(super) fn into_stream(self) -> (Stream, Vec<u8>) {
        let unread = self.read_ahead.unread().to_vec();
        (self.stream, unread)
    }

    /// Fails when the client has disconnected during a streaming HTTP/1.1 response. hyper reads
    /// nothing until the response ends, and would notice only at its second write.
    ///
    /// Bytes that the client sends meanwhile are kept for hyper. Once they fill the buffer, a
    /// disconnect is no longer noticed.
    fn check_disconnect(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.state.streams() == 0 || self.state.is_http2() {
            return Ok(());
        }
        while !self.read_ahead.is_full() {
            match self.read_ahead.poll_fill(cx, &mut self.stream) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // hyper may wait for these bytes, because they belong to a body that it still
                // reads.
                Poll::Ready(Ok(_)) => cx.waker().wake_by_ref(),
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Replaces an error response that hyper wrote by itself with a problem document. Returns the
    /// number of bytes that it replaces, or `None` if the bytes are no such response.
    ///
    /// hyper writes such a response in one piece, as the last of a connection, and flushes earlier
    /// bytes before it reads the next head. If hyper reads the next head without a flush, after a
    /// body that ends later than its response, its own response is sent unchanged.
    fn replace_error(&mut self, bytes: &[u8]) -> Option<usize> {
        let is_ours = self.state.phase() != NO_RESPONSE || self.state.is_http2();
        if is_ours {
            return None;
        }
        self.head_error = Some(head_error::replacement(bytes, &self.settings)?);
        // From now on the header timeout limits how long the connection stays open.
        self.state.record_read();
        self.state.set_phase(RESPONDING);
        Some(bytes.len())
    }

    fn poll_send_error(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.head_error {
            None => Poll::Ready(Ok(())),
            Some(head_error) => head_error.poll_send(cx, &mut self.stream, || self.state.record_write()),
        }
    }

    /// Records the result of a write, and fails if the client has disconnected while it waits.
    fn after_write(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.state.record_write();
        }
        match polled {
            Poll::Pending => self.check_disconnect(cx).map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending),
            ready => ready,
        }
    }
}

impl AsyncRead for ObservedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        self.read_ahead.move_into(buf);
        // Reading the socket into the same buffer saves hyper from growing it for a second read.
        let polled = match buf.remaining() {
            0 => Poll::Ready(Ok(())),
            _ => Pin::new(&mut self.stream).poll_read(cx, buf),
        };
        if buf.filled().len() == before {
            return polled;
        }
        self.state.record_read();
        match polled {
            Poll::Pending => Poll::Ready(Ok(())),
            ready => ready,
        }
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(replaced) = self.replace_error(buf) {
            return Poll::Ready(Ok(replaced));
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.after_write(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs
            && let Some(replaced) = self.replace_error(only)
        {
            return Poll::Ready(Ok(replaced));
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.after_write(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has written everything.
        self.state.record_flush();
        ready!(self.poll_send_error(cx))?;
        self.check_disconnect(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A detached socket belongs to its handler.
        if self.state.is_detached() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send_error(cx))?;
        let ObservedStream { stream, state, head_error, .. } = &mut *self;
        match head_error {
            None => Pin::new(stream).poll_shutdown(cx),
            Some(head_error) => {
                state.await_client_close();
                head_error.poll_close(cx, stream)
            }
        }
    }
}
