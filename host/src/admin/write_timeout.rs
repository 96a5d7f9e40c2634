//! A socket whose writes time out when the client does not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A stream that fails a write with `TimedOut` when the inner stream accepts no byte for `timeout`.
/// Reads, flushes and shutdowns have no timeout.
pub struct WriteTimeout<S> {
    stream: S,
    timeout: Duration,
    /// The timer of a write that waits for the client to read. Set when a write has to wait, and
    /// cleared when the stream accepts bytes or fails.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteTimeout<S> {
    pub fn new(stream: S, timeout: Duration) -> WriteTimeout<S> {
        WriteTimeout { stream, timeout, timer: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, buf) {
            self.timer = None;
            return Poll::Ready(written);
        }
        let timeout = self.timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn a_write_fails_when_the_client_does_not_read() {
        let (_client, stream) = duplex(8);
        let mut stream = WriteTimeout::new(stream, Duration::from_millis(20));
        let error = stream.write_all(&[0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_write_that_makes_progress_clears_the_timer() {
        let (mut client, stream) = duplex(8);
        let mut stream = WriteTimeout::new(stream, Duration::from_secs(3600));
        {
            let mut write = std::pin::pin!(stream.write_all(&[0; 9]));
            assert!(futures_util::poll!(&mut write).is_pending());
            client.read_exact(&mut [0; 8]).await.unwrap();
            write.await.unwrap();
        }
        assert!(stream.timer.is_none());
    }
}
