//! Keeps large messages out of memory: replaces each bulk string of a server that is larger than a
//! limit by nil, without reading it into memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest line of the protocol, in bytes. Values are in bulk strings, not in lines.
const MAX_LINE: usize = 64 * 1_024;

/// The bytes that are read at once.
const CHUNK: usize = 16 * 1_024;

/// What the protocol has instead of a string that is too large.
const NIL: &[u8] = b"$-1\r\n";

/// A connection to a server.
pub struct Bounded<S> {
    inner: S,
    filter: Filter,
    chunk: Box<[u8]>,
}

impl<S> Bounded<S> {
    /// `most` is the largest bulk string in bytes.
    pub fn new(inner: S, most: u64) -> Bounded<S> {
        Bounded { inner, filter: Filter::new(most), chunk: vec![0; CHUNK].into_boxed_slice() }
    }
}

#[derive(Debug)]
struct Filter {
    most: u64,
    /// The beginning of a line that has not ended.
    line: Vec<u8>,
    /// The rest of a bulk string with its line end, and whether it is passed on.
    body: (u64, bool),
    out: BytesMut,
}

impl Filter {
    fn new(most: u64) -> Filter {
        Filter { most, line: Vec::new(), body: (0, true), out: BytesMut::new() }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (rest, passes) = &mut self.body;
            if *rest > 0 {
                let length = usize::try_from(*rest).unwrap_or(usize::MAX).min(bytes.len());
                let (now, later) = bytes.split_at(length);
                if *passes {
                    self.out.extend_from_slice(now);
                }
                *rest -= length as u64;
                bytes = later;
                continue;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            let (now, later) = bytes.split_at(end);
            self.line.extend_from_slice(now);
            bytes = later;
            if self.line.len() > MAX_LINE {
                return Err(io::Error::other("the server sent a line that is too long: is it a Redis server?"));
            }
            if self.line.ends_with(b"\n") {
                self.end_line();
            }
        }
        Ok(())
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let length = match line.split_first() {
            Some((b'$' | b'=' | b'!', length)) => {
                std::str::from_utf8(length).ok().and_then(|length| length.trim_end().parse::<u64>().ok())
            }
            _ => None,
        };
        let is_large = length.is_some_and(|length| length > self.most);
        self.out.extend_from_slice(if is_large { NIL } else { &line });
        if let Some(length) = length {
            self.body = (length.saturating_add(2), !is_large);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let out = &mut this.filter.out;
            if !out.is_empty() {
                let length = out.len().min(buf.remaining());
                buf.put_slice(out.get(..length).unwrap_or_default());
                out.advance(length);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(bytes: &[u8], chunk: usize) -> Vec<u8> {
        let mut filter = Filter::new(4);
        bytes.chunks(chunk).for_each(|part| filter.feed(part).unwrap());
        filter.out.to_vec()
    }

    #[test]
    fn a_large_string_becomes_nil_wherever_the_reads_end() {
        let sent = b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$4\r\n\r\n$9\r\n+OK\r\n>1\r\n$5\r\nlarge\r\n:1\r\n$0\r\n\r\n";
        let expected = b"*3\r\n$-1\r\n$4\r\nnews\r\n$4\r\n\r\n$9\r\n+OK\r\n>1\r\n$-1\r\n:1\r\n$0\r\n\r\n";
        for chunk in 1..=sent.len() {
            assert_eq!(filtered(sent, chunk), expected, "{chunk}");
        }
    }

    #[test]
    fn a_large_string_uses_no_memory() {
        let mut filter = Filter::new(4);
        filter.feed(b"$1000000000\r\n").unwrap();
        (0..1_000).for_each(|_| filter.feed(&[b'x'; 1_000]).unwrap());
        assert_eq!((&filter.out[..], filter.line.len()), (NIL, 0));
    }

    #[test]
    fn a_long_line_is_an_error() {
        assert!(Filter::new(4).feed(&vec![b'+'; MAX_LINE + 1]).is_err());
        assert!(Filter::new(4).feed(&vec![b'+'; MAX_LINE]).is_ok());
    }
}
