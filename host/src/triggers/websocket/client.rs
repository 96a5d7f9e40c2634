//! A WebSocket, as the hub sees it. The fan-out of the worker reads it and writes to it, so that an
//! idle client costs no task.
//!
//! The fan-out gets the client before hyper sends the head of the response, as for a stream of
//! server-sent events. The socket follows when hyper has sent the head.

mod ending;

use std::io::IoSlice;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::close_codes::{GOING_AWAY, TRY_LATER};
use super::decoder::{Decoder, Incoming};
use super::frames;
use super::link::{self, Link, Protocol};
use super::scratch::with_scratch;
use crate::hub::{Client, Form, Gone, Lost, Notice, Outbox, Received};
use crate::net::{BufferAccount, ConnectionGuard, Stream};
use crate::triggers::http::{DetachedSocket, SocketHandler};

/// The most frames in one write. The kernel accepts up to 1,024.
const SLICES: usize = 64;

/// The reads of one turn, of 16 KiB each.
const READS: u32 = 4;

/// The messages of one turn.
const MESSAGES: usize = 64;

/// While this number of pings, or of answers to pings, waits for a client, the host reads nothing.
const MAX_NOTICES: u32 = 64;

/// Returns the two ends of a WebSocket: the client, and the handler that gives it its socket.
pub(super) fn pair<P: Protocol>(protocol: P, max_message: u64) -> (SocketClient<P>, SocketHandler) {
    let (sender, receiver) = oneshot::channel();
    let handler = SocketHandler::new(async move |socket| drop(sender.send(socket)));
    let client = SocketClient {
        socket: Socket::Awaited(receiver),
        protocol,
        decoder: Decoder::new(max_message),
        unread: Vec::new(),
        awaits_outbox: false,
        phase: Phase::Open,
        guard: None,
    };
    (client, handler)
}

/// The end that the fan-out uses.
pub(super) struct SocketClient<P: Protocol> {
    socket: Socket,
    protocol: P,
    decoder: Decoder,
    /// Bytes that were read and wait, because too many messages are in flight.
    unread: Vec<u8>,
    /// Whether reading waits until the outbox is empty.
    awaits_outbox: bool,
    phase: Phase,
    /// Counts the connection, until the module knows that the session has ended.
    guard: Option<Arc<ConnectionGuard>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The connection will end, and the host reads no further messages.
    Stopping,
    /// The connection ends. The host still has to send a Close frame.
    Closing,
    /// The client has closed, and the answer is in the outbox.
    ClosedByClient,
}

enum Socket {
    /// hyper has not sent the whole head of the response.
    Awaited(oneshot::Receiver<DetachedSocket>),
    Own(Own),
    /// The connection ended before the head was sent, or after the last frame.
    Lost,
}

struct Own {
    stream: Stream,
    /// Counts the bytes of messages that are incomplete or wait.
    account: BufferAccount,
    /// What is counted.
    buffered: u64,
}

impl<P: Protocol> SocketClient<P> {
    fn link(&self) -> &Link<P::Backend> {
        self.protocol.link()
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<Result<&mut Own, Gone>> {
        if let Socket::Awaited(receiver) = &mut self.socket {
            self.socket = match ready!(Pin::new(receiver).poll(cx)) {
                Ok(DetachedSocket { stream, read, guard, account, stopping: _ }) => {
                    self.unread = read.to_vec();
                    self.guard = Some(Arc::new(guard));
                    self.protocol.connected();
                    Socket::Own(Own { stream, account, buffered: 0 })
                }
                Err(_) => Socket::Lost,
            };
        }
        Poll::Ready(match &mut self.socket {
            Socket::Own(own) => Ok(own),
            Socket::Awaited(_) | Socket::Lost => Err(Gone),
        })
    }

    /// Whether the next message must wait. Then the task is woken when it need not.
    fn is_paused(&mut self, outbox: &Outbox, cx: &Context<'_>) -> bool {
        self.awaits_outbox = outbox.notices() >= MAX_NOTICES;
        self.link().flow.is_full(cx) || self.awaits_outbox
    }

    /// Decodes bytes, and acts on what they say, until the limits of the turn. Returns how many
    /// bytes it has used.
    fn take(&mut self, bytes: &[u8], messages: &mut usize, outbox: &mut Outbox, cx: &Context<'_>) -> usize {
        let mut input = bytes;
        while *messages < MESSAGES && self.phase == Phase::Open && !self.is_paused(outbox, cx) {
            match self.protocol.advance() {
                Ok(false) => {}
                Ok(true) => {
                    *messages += 1;
                    continue;
                }
                Err(violation) => {
                    self.violated(violation);
                    break;
                }
            }
            match self.decoder.next(&mut input) {
                Ok(Some(Incoming::Message(payload))) => {
                    *messages += 1;
                    if let Err(violation) = self.protocol.receive(payload) {
                        self.violated(violation);
                    }
                }
                Ok(Some(Incoming::Ping(payload))) => {
                    *messages += 1;
                    outbox.push_notice(frames::frame(frames::PONG, &payload));
                }
                Ok(Some(Incoming::Pong)) => *messages += 1,
                Ok(Some(Incoming::Close(close))) => self.closed_by_client(close, outbox),
                Ok(None) => break,
                Err(violation) => self.violated(violation),
            }
        }
        bytes.len() - input.len()
    }

    /// Counts the bytes of messages that are incomplete or wait.
    fn account(&mut self) {
        let buffered = self.decoder.buffered() + self.unread.len() as u64 + self.protocol.waiting();
        let Socket::Own(own) = &mut self.socket else { return };
        let before = std::mem::replace(&mut own.buffered, buffered);
        if buffered <= before {
            own.account.remove(before - buffered);
        } else if own.account.add(buffered - before).is_err() {
            own.buffered = before;
            self.end(TRY_LATER, "the host has no memory for the message: try again later");
        }
    }
}

impl<P: Protocol> Client for SocketClient<P> {
    fn peer(&self) -> IpAddr {
        self.link().session.peer
    }

    fn notice(&mut self, notice: Notice) -> Bytes {
        match notice {
            Notice::Ping => self.protocol.ping(),
            Notice::Stop => {
                self.link().session.set_ending(GOING_AWAY, "the host stops: connect again");
                if self.phase == Phase::Open {
                    self.phase = Phase::Stopping;
                }
                Bytes::new()
            }
            Notice::Open(_) | Notice::Reset(_) => Bytes::new(),
        }
    }

    fn poll_write(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = outbox.slices(P::ENCODING, Form::Whole, &mut slices);
            let filled = slices.get(..count).unwrap_or_default();
            let own = ready!(self.poll_socket(cx))?;
            match ready!(Pin::new(&mut own.stream).poll_write_vectored(cx, filled)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Gone)),
                Ok(sent) => outbox.advance(sent, P::ENCODING, Form::Whole),
            }
        }
        if std::mem::take(&mut self.awaits_outbox) {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Result<Received, Gone> {
        let Poll::Ready(socket) = self.poll_socket(cx) else { return Ok(Received::Nothing) };
        socket?;
        if self.phase == Phase::Open && self.link().session.ending().is_some() {
            self.phase = Phase::Stopping;
        }
        let (mut messages, mut received) = (0, Received::Nothing);
        for _ in 0..READS {
            if (!self.unread.is_empty() || self.protocol.is_behind()) && self.phase == Phase::Open {
                let unread = std::mem::take(&mut self.unread);
                let used = self.take(&unread, &mut messages, outbox, cx);
                self.unread = unread.get(used..).unwrap_or_default().to_vec();
                self.account();
                if messages > 0 {
                    received = Received::Something;
                }
            }
            match self.phase {
                Phase::ClosedByClient => return Ok(Received::End),
                Phase::Closing => {
                    self.close_when_idle(cx);
                    return Ok(received);
                }
                Phase::Open | Phase::Stopping => {}
            }
            if messages >= MESSAGES {
                break;
            }
            // A client whose messages wait must not be read, and one that the host leaves neither.
            let waits = !self.unread.is_empty() || self.protocol.is_behind();
            // While one message is alone, the host reads ahead once to notice a client that leaves.
            let is_paused = self.is_paused(outbox, cx) && !self.link().flow.is_alone();
            if waits || self.phase == Phase::Stopping || is_paused {
                return Ok(received);
            }
            match self.read(&mut messages, outbox, cx)? {
                Poll::Ready(()) => received = Received::Something,
                Poll::Pending => return Ok(received),
            }
        }
        cx.waker().wake_by_ref();
        Ok(received)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The head of the response comes first.
        _ = ready!(self.poll_socket(cx));
        let last = self.close_frame();
        self.leave(last.into());
        Poll::Ready(())
    }

    fn is_busy(&self) -> bool {
        !self.link().flow.is_idle()
    }

    fn partial(&self) -> Option<u32> {
        self.decoder.partial().filter(|_| self.phase == Phase::Open)
    }

    fn is_lost(&mut self, why: Lost, cx: &Context<'_>) -> bool {
        // A client that the host does not read has no way to send.
        if self.link().flow.is_paused() || self.awaits_outbox || matches!(self.socket, Socket::Awaited(_)) {
            return false;
        }
        match why {
            Lost::Silent => self.violated(P::SILENT),
            // It is there, and gets the replies to its other messages.
            Lost::Partial => {
                self.violated(link::LATE);
                self.close_when_idle(cx);
            }
        }
        why == Lost::Silent
    }

    fn cut(&mut self, outbox: &Outbox) {
        self.link().session.set_ending(TRY_LATER, "the client reads too slowly");
        let mut last = outbox.rest_of_started(P::ENCODING, Form::Whole).to_vec();
        last.extend_from_slice(&self.close_frame());
        self.leave(last);
    }
}

impl<P: Protocol> SocketClient<P> {
    /// Reads once from the socket.
    fn read(&mut self, messages: &mut usize, outbox: &mut Outbox, cx: &mut Context<'_>) -> Result<Poll<()>, Gone> {
        with_scratch(|scratch| {
            let Poll::Ready(own) = self.poll_socket(cx) else { return Ok(Poll::Pending) };
            let mut buffer = ReadBuf::new(scratch);
            match Pin::new(&mut own?.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Err(Gone),
            }
            let bytes = buffer.filled();
            let used = self.take(bytes, messages, outbox, cx);
            self.unread = bytes.get(used..).unwrap_or_default().to_vec();
            self.account();
            Ok(Poll::Ready(()))
        })
    }
}
