//! A stream over HTTP/1.x. The fan-out of the worker gets the client before hyper sends the head of
//! the response, so that the client misses nothing that is published after the head. The socket
//! follows when hyper has sent the head. Until then events wait, as for a client that is slow.
//!
//! The alternative is a body that hyper reads in a task for each stream, as over HTTP/2. The host
//! ran with both in turns (`bench/results/profile-streams.txt`). With the body, an idle stream
//! needs 16.7 KiB of resident memory instead of 0.8. An event takes 8.9 us of processor time for
//! each of 1,000 streams instead of 6.6, and 10.9 us for each of 10,000 instead of 6.9, because it
//! wakes a task for each. The last of 1,000 streams has it after 14 ms with both, at a noise of 9
//! to 23 ms. Bursts are as fast (2.0 and 2.4 million events a second to 1,000 streams, 2.6 and 2.2
//! million to 10,000), because one wake then sends many events.

use std::io::IoSlice;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::notice;
use crate::hub::{Client, Encoding, Form, Gone, LAST_CHUNK, Notice, Outbox, Received};
use crate::net::{ConnectionGuard, Stream};
use crate::triggers::http::{DetachedSocket, SocketHandler};

/// The most messages in one write. The kernel accepts up to 1,024.
const SLICES: usize = 64;

/// The bytes that one read discards.
const DISCARDED: usize = 1_024;

/// The most reads in a row, so that a client that keeps sending does not occupy the worker.
const READS: u32 = 16;

/// Returns the two ends of a stream: the client, and the handler that gives it its socket. `form`
/// is what the head of the response promises.
pub(super) fn pair(peer: IpAddr, form: Form) -> (SocketClient, SocketHandler) {
    let (sender, receiver) = oneshot::channel();
    let handler = SocketHandler::new(async move |socket| drop(sender.send(socket)));
    (SocketClient { socket: Socket::Awaited(receiver), peer, form, ended: 0 }, handler)
}

/// The end that the fan-out writes to.
pub(super) struct SocketClient {
    socket: Socket,
    peer: IpAddr,
    form: Form,
    /// The bytes of the last chunk that were sent.
    ended: u8,
}

enum Socket {
    /// hyper has not sent the whole head of the response.
    Awaited(oneshot::Receiver<DetachedSocket>),
    /// The guard counts the connection.
    Own(Stream, #[allow(dead_code, reason = "it counts until it is dropped")] ConnectionGuard),
    /// The connection ended before the head was sent.
    Lost,
}

impl SocketClient {
    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<Result<Pin<&mut Stream>, Gone>> {
        if let Socket::Awaited(receiver) = &mut self.socket {
            self.socket = match ready!(Pin::new(receiver).poll(cx)) {
                // What the client has sent after its request has no meaning. The hub counts the
                // bytes that wait, and ends the stream when the host stops.
                Ok(DetachedSocket { stream, read: _, guard, account: _, stopping: _ }) => Socket::Own(stream, guard),
                Err(_) => Socket::Lost,
            };
        }
        Poll::Ready(match &mut self.socket {
            Socket::Own(stream, _) => Ok(Pin::new(stream)),
            Socket::Awaited(_) | Socket::Lost => Err(Gone),
        })
    }
}

impl Client for SocketClient {
    fn peer(&self) -> IpAddr {
        self.peer
    }

    fn notice(&mut self, notice: Notice) -> Bytes {
        notice::encode(notice, self.form)
    }

    fn poll_write(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = outbox.slices(Encoding::Sse, self.form, &mut slices);
            let filled = slices.get(..count).unwrap_or_default();
            let socket = ready!(self.poll_socket(cx))?;
            // For one slice, the kernel does a little less than for a list of slices.
            let written = match filled {
                [one] => socket.poll_write(cx, one),
                _ => socket.poll_write_vectored(cx, filled),
            };
            match ready!(written) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Gone)),
                Ok(sent) => outbox.advance(sent, Encoding::Sse, self.form),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, _: &mut Outbox, cx: &mut Context<'_>) -> Result<Received, Gone> {
        let Poll::Ready(stream) = self.poll_socket(cx) else { return Ok(Received::Nothing) };
        let (mut stream, mut bytes) = (stream?, [0; DISCARDED]);
        for _ in 0..READS {
            let mut buffer = ReadBuf::new(&mut bytes);
            match stream.as_mut().poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Err(Gone),
                Poll::Pending => return Ok(Received::Nothing),
            }
        }
        cx.waker().wake_by_ref();
        Ok(Received::Something)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let last = match self.form {
            Form::Whole => LAST_CHUNK,
            Form::Text => b"",
        };
        while let Some(rest) = last.get(usize::from(self.ended)..).filter(|rest| !rest.is_empty()) {
            let Ok(stream) = ready!(self.poll_socket(cx)) else { return Poll::Ready(()) };
            match ready!(stream.poll_write(cx, rest)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(sent) => self.ended = self.ended.saturating_add(u8::try_from(sent).unwrap_or(u8::MAX)),
            }
        }
        match ready!(self.poll_socket(cx)) {
            Ok(stream) => stream.poll_shutdown(cx).map(drop),
            Err(Gone) => Poll::Ready(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_client_waits_for_its_socket_and_is_gone_if_the_connection_ends_before() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut client, handler) = pair(Ipv4Addr::LOCALHOST.into(), Form::Whole);
        let mut outbox = Outbox::default();
        outbox.push_notice(Bytes::from_static(b"x"));
        assert!(client.poll_write(&mut outbox, &mut cx).is_pending());
        assert_eq!(client.poll_read(&mut outbox, &mut cx), Ok(Received::Nothing));
        assert!(client.poll_end(&mut cx).is_pending());
        drop(handler);
        for _ in 0..2 {
            assert_eq!(client.poll_read(&mut outbox, &mut cx), Err(Gone));
            assert_eq!(client.poll_write(&mut outbox, &mut cx), Poll::Ready(Err(Gone)));
            assert_eq!(client.poll_end(&mut cx), Poll::Ready(()));
        }
    }
}
