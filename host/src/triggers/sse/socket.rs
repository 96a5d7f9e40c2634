//! A stream over HTTP/1.x, whose socket hyper has left to the fan-out of the worker.

use std::io::IoSlice;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::notice;
use crate::hub::{Client, Encoding, Form, Gone, LAST_CHUNK, Notice, Outbox};
use crate::net::{ConnectionGuard, Stream};
use crate::triggers::http::DetachedSocket;

/// The most messages in one write. The kernel accepts up to 1,024.
const SLICES: usize = 64;

/// The bytes that one read discards.
const DISCARDED: usize = 1_024;

/// The most reads in a row, so that a client that keeps sending does not occupy the worker.
const READS: u32 = 16;

/// A client that has its socket to itself.
pub(super) struct SocketClient {
    stream: Stream,
    peer: IpAddr,
    form: Form,
    /// The bytes of the last chunk that were sent.
    ended: u8,
    /// Counts the connection.
    _guard: ConnectionGuard,
}

impl SocketClient {
    /// `form` is what the head of the response promises.
    pub(super) fn new(socket: DetachedSocket, form: Form) -> SocketClient {
        // What the client has sent after its request has no meaning. The hub counts the bytes that
        // wait, and ends the stream when the host stops.
        let DetachedSocket { stream, read: _, peer, guard, account: _, stopping: _ } = socket;
        SocketClient { stream, peer: peer.ip(), form, ended: 0, _guard: guard }
    }
}

impl Client for SocketClient {
    fn peer(&self) -> IpAddr {
        self.peer
    }

    fn notice(&self, notice: Notice) -> Bytes {
        notice::encode(notice, self.form)
    }

    fn poll_write(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = outbox.slices(Encoding::Sse, self.form, &mut slices);
            let filled = slices.get(..count).unwrap_or_default();
            match ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, filled)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Gone)),
                Ok(sent) => outbox.advance(sent, Encoding::Sse, self.form),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        let mut bytes = [0; DISCARDED];
        for _ in 0..READS {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(Gone),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let last = match self.form {
            Form::Chunk => LAST_CHUNK,
            Form::Text => b"",
        };
        while let Some(rest) = last.get(usize::from(self.ended)..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(sent) => self.ended = self.ended.saturating_add(u8::try_from(sent).unwrap_or(u8::MAX)),
            }
        }
        Pin::new(&mut self.stream).poll_shutdown(cx).map(drop)
    }
}
