//! How the connection of a client ends, and what its session and its module learn about it.

use std::task::Context;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::super::close_codes::{ABNORMAL, NO_CODE, NORMAL};
use super::super::decoder::Violation;
use super::super::farewell::say_farewell;
use super::super::frames;
use super::super::link::Protocol;
use super::{Own, Phase, Socket, SocketClient};
use crate::hub::{Outbox, Reach};

impl<P: Protocol> SocketClient<P> {
    /// Ends the connection after the replies to the messages that the client has sent before. They
    /// are in the topic of the session already when no message is in flight.
    pub(super) fn close_when_idle(&self, cx: &Context<'_>) {
        if !self.link().flow.wakes_later(cx) {
            self.link().hub.sessions.topics.close(&self.link().session.id, Reach::Node);
        }
    }

    pub(super) fn closed_by_client(&mut self, close: Option<(u16, String)>, outbox: &mut Outbox) {
        let answer = match &close {
            Some((code, reason)) => frames::close(*code, reason),
            None => frames::frame(frames::CLOSE, b""),
        };
        // The code of a frame without one (RFC 6455, 7.1.5).
        let (code, reason) = close.unwrap_or((NO_CODE, String::new()));
        self.link().session.set_ending(code, &reason);
        outbox.push_notice(answer);
        self.phase = Phase::ClosedByClient;
    }

    pub(super) fn violated(&mut self, Violation { code, reason }: Violation) {
        tracing::debug!(session = %self.link().session.id, code, reason, "closing a WebSocket");
        self.end(code, reason);
    }

    pub(super) fn end(&mut self, code: u16, reason: &str) {
        self.link().session.set_ending(code, reason);
        self.phase = Phase::Closing;
    }

    /// Hands the socket over for its last bytes.
    pub(super) fn leave(&mut self, last: Vec<u8>) {
        if let Socket::Own(Own { stream, .. }) = std::mem::replace(&mut self.socket, Socket::Lost)
            && let Some(guard) = self.guard.clone()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(say_farewell(stream, guard, last));
        }
    }

    /// The Close frame that the client has not got.
    pub(super) fn close_frame(&self) -> Bytes {
        let counters = &self.link().counters;
        match (self.phase, self.link().session.ending()) {
            (Phase::ClosedByClient, _) => Bytes::new(),
            (_, Some(ending)) => {
                counters.count_closed(ending.code);
                frames::close(ending.code, &ending.reason)
            }
            (_, None) => {
                counters.count_closed(NORMAL);
                frames::close(NORMAL, "")
            }
        }
    }
}

/// The end of the connection, whatever has caused it, ends the session. The module is told if its
/// hook `connect` has let the client in, also if that was only afterwards.
impl<P: Protocol> Drop for SocketClient<P> {
    fn drop(&mut self) {
        let (link, opening) = (self.protocol.link().clone(), self.protocol.opening());
        link.session.set_ending(ABNORMAL, "");
        let Some(ended) = link.hub.sessions.end(&link.session) else { return };
        let is_open = link.session.is_open();
        if !is_open && opening.is_none() {
            return;
        }
        let guard = self.guard.take();
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            let is_open = match opening {
                Some(opening) if !is_open => opening.await == Ok(true),
                _ => is_open,
            };
            if let Some(called) = is_open.then(|| link.ended()).flatten() {
                // The host has logged a failure.
                _ = called.await;
            }
            drop((ended, guard));
        });
    }
}
