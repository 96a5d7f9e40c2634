//! The stream between hyper and the socket. It records reads and writes, tells HTTP/1.1 from
//! HTTP/2, sends refusals instead of hyper's own, and notices clients that leave while their
//! answer streams.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::{ANSWER, Activity, NOTHING};
use super::refusal::{self, Refusal};
use super::settings::Settings;
use crate::net::Stream;

/// The first bytes of every HTTP/2 client.
const PREFACE: &[u8; AHEAD] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that are read before hyper asks for them.
const AHEAD: usize = 24;

/// A stream that records in [`Activity`] what happens on it.
pub(super) struct ObservedStream {
    stream: Stream,
    activity: Arc<Activity>,
    settings: Arc<Settings>,
    refusal: Option<Refusal>,
    ahead: Ahead,
}

/// Bytes that were read before hyper asked for them.
#[derive(Default)]
struct Ahead {
    bytes: [u8; AHEAD],
    from: usize,
    to: usize,
}

impl Ahead {
    fn left(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }

    /// Reads once, if there is room, and returns the number of bytes: 0 at the end of the stream.
    fn poll_more(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<usize>> {
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
        self.to == AHEAD && self.from < self.to
    }

    /// Moves as many bytes into `buf` as it has room for.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.left().len().min(buf.remaining());
        buf.put_slice(self.left().get(..count).unwrap_or_default());
        self.from = self.from.saturating_add(count);
    }
}

impl ObservedStream {
    pub(super) fn new(stream: Stream, activity: Arc<Activity>, settings: Arc<Settings>) -> ObservedStream {
        ObservedStream { stream, activity, settings, refusal: None, ahead: Ahead::default() }
    }

    /// Reads until the first bytes tell the protocol. hyper reads these bytes again later.
    pub(super) fn poll_is_http2(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            let begun = self.ahead.left();
            if !PREFACE.starts_with(begun) {
                return Poll::Ready(Ok(false));
            }
            if begun.len() == AHEAD {
                self.activity.set_http2();
                return Poll::Ready(Ok(true));
            }
            if ready!(self.ahead.poll_more(cx, &mut self.stream))? == 0 {
                return Poll::Ready(Ok(false));
            }
            self.activity.read();
        }
    }

    /// Returns the stream, and the bytes that hyper has not read.
    pub(super) fn into_stream(self) -> (Stream, Vec<u8>) {
        let left = self.ahead.left().to_vec();
        (self.stream, left)
    }

    fn note(&self, polled: &Poll<io::Result<usize>>) {
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.activity.wrote();
        }
    }

    /// Fails when the client has left an HTTP/1.1 answer that streams. hyper reads nothing until
    /// the answer ends, so it would notice at its second write only. Bytes that the client sends
    /// meanwhile are kept for hyper. When they fill the buffer, this notices nothing any more.
    fn look_out(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.activity.streams() == 0 || self.activity.is_http2() {
            return Ok(());
        }
        while !self.ahead.is_full() {
            match self.ahead.poll_more(cx, &mut self.stream) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // They may be of a body that hyper still reads.
                Poll::Ready(Ok(_)) => cx.waker().wake_by_ref(),
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Replaces an answer that hyper wrote by itself with a complete one. hyper writes such an
    /// answer in one piece, as the last of a connection, and flushes earlier bytes before it reads
    /// the next head. When it reads the next head without a flush (after a body that ends later
    /// than its answer), its own answer goes out as it is.
    fn refuse(&mut self, bytes: &[u8]) -> Option<usize> {
        let is_ours = self.activity.owed() != NOTHING || self.activity.is_http2();
        if is_ours {
            return None;
        }
        self.refusal = Some(refusal::instead(bytes, &self.settings)?);
        // From now on the header timeout bounds the connection.
        self.activity.read();
        self.activity.owe(ANSWER);
        Some(bytes.len())
    }

    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.refusal {
            None => Poll::Ready(Ok(())),
            Some(refusal) => refusal.poll_send(cx, &mut self.stream, || self.activity.wrote()),
        }
    }

    /// Records the result of a write.
    fn written(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.note(&polled);
        match polled {
            Poll::Pending => self.look_out(cx).map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending),
            ready => ready,
        }
    }
}

impl AsyncRead for ObservedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        self.ahead.give(buf);
        // The socket is read into the same buffer, so that hyper need not grow it for a second read.
        let polled = match buf.remaining() {
            0 => Poll::Ready(Ok(())),
            _ => Pin::new(&mut self.stream).poll_read(cx, buf),
        };
        if buf.filled().len() == before {
            return polled;
        }
        self.activity.read();
        match polled {
            Poll::Pending => Poll::Ready(Ok(())),
            ready => ready,
        }
    }
}

impl AsyncWrite for ObservedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(taken) = self.refuse(buf) {
            return Poll::Ready(Ok(taken));
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs
            && let Some(taken) = self.refuse(only)
        {
            return Poll::Ready(Ok(taken));
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has written everything.
        self.activity.flushed();
        ready!(self.poll_refusal(cx))?;
        self.look_out(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The socket belongs to its handler.
        if self.activity.is_socket_free() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_refusal(cx))?;
        let ObservedStream { stream, activity, refusal, .. } = &mut *self;
        match refusal {
            None => Pin::new(stream).poll_shutdown(cx),
            Some(refusal) => {
                activity.linger();
                refusal.poll_close(cx, stream)
            }
        }
    }
}
