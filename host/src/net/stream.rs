//! A connection of any transport: a [`Socket`] before a worker opens it, a [`Stream`] afterwards.
//!
//! A `Socket` can move between threads, a `Stream` belongs to the runtime of one thread. Code
//! outside `net` does not know the transport.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(any(test, fuzzing))]
use tokio::net::UnixStream;

/// A nonblocking connection that is not registered with a runtime, so that it can move to another
/// thread.
#[derive(Debug)]
pub enum Socket {
    Tcp(std::net::TcpStream),
    /// Represents encrypted connections in tests, and any in fuzz targets.
    #[cfg(any(test, fuzzing))]
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    /// Registers the connection with the runtime of this thread.
    pub fn open(self) -> io::Result<Stream> {
        match self {
            Socket::Tcp(socket) => {
                // This fails only when the client has disconnected, which the first read reports.
                _ = socket.set_nodelay(true);
                Ok(Stream::Tcp(TcpStream::from_std(socket)?))
            }
            #[cfg(any(test, fuzzing))]
            Socket::Unix(socket) => Ok(Stream::Unix(UnixStream::from_std(socket)?)),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Socket::Tcp(socket) => socket.as_raw_fd(),
            #[cfg(any(test, fuzzing))]
            Socket::Unix(socket) => socket.as_raw_fd(),
        }
    }
}

/// A connection of any transport, registered with the runtime of its thread.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    #[cfg(any(test, fuzzing))]
    Unix(UnixStream),
}

impl Stream {
    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        match self {
            Stream::Tcp(_) => false,
            #[cfg(any(test, fuzzing))]
            Stream::Unix(_) => true,
        }
    }
}

/// Calls a method of the inner stream, whatever its transport is.
macro_rules! inner {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($inner) => $call,
            #[cfg(any(test, fuzzing))]
            Stream::Unix($inner) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        inner!(self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        inner!(self.get_mut(), inner => Pin::new(inner).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inner!(self.get_mut(), inner => Pin::new(inner).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        inner!(self, inner => inner.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self.get_mut(), inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }
}
