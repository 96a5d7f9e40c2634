//! A connection to a server that reads no more than the limits allow.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::filter::Filter;
use super::gate::Gate;

/// The bytes that are read at once.
const CHUNK: usize = 16 * 1_024;

/// A connection to a server.
pub struct Bounded<S> {
    inner: S,
    filter: Filter,
    gate: Option<Arc<Gate>>,
    chunk: Box<[u8]>,
}

impl<S> Bounded<S> {
    /// `most` is the largest bulk string in bytes; a larger one becomes nil. The connection reads
    /// only while the gate is open.
    pub fn new(inner: S, most: u64, gate: Option<Arc<Gate>>) -> Bounded<S> {
        Bounded { inner, filter: Filter::new(most), gate, chunk: vec![0; CHUNK].into_boxed_slice() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(gate) = &this.gate {
            ready!(gate.poll_open(cx));
        }
        loop {
            let out = &mut this.filter.out;
            if !out.is_empty() {
                let length = out.len().min(buf.remaining());
                buf.put_slice(out.get(..length).unwrap_or_default());
                out.advance(length);
                if let Some(gate) = &this.gate {
                    gate.pass(length);
                }
                return Poll::Ready(Ok(()));
            }
            let mut chunk = ReadBuf::new(&mut this.chunk);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.filter.feed(chunk.filled())?;
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
