//! Replaces the answers that hyper writes by itself with problem documents.
//!
//! A request over HTTP/1.1 whose head hyper rejects never reaches the trigger: hyper writes a
//! status and an empty body, and ends the connection. [`super::observed`] knows when the bytes that
//! hyper writes belong to no request, and sends a [`Refusal`] instead of them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::problem::{Problem, TYPE};
use super::settings::Settings;
use crate::call::Trace;
use crate::net::Stream;

/// Bytes that are read of a refused client that keeps sending, so that it can read the refusal.
const MOST_DISCARDED: usize = 1024 * 1024;

/// The field that hyper writes when there is no body.
const NO_BODY: &str = "content-length: 0\r\n";

/// Builds the complete answer, if these bytes are an answer of hyper.
pub(super) fn instead(bare: &[u8], settings: &Settings) -> Option<Refusal> {
    let bare =
        std::str::from_utf8(bare).ok().filter(|bare| bare.starts_with("HTTP/1.") && bare.ends_with("\r\n\r\n"))?;
    let (line, _) = bare.split_once("\r\n")?;
    let status: StatusCode = line.split(' ').nth(1)?.parse().ok()?;
    let (before, after) = bare.split_once(NO_BODY)?;
    let trace = Trace::fresh();
    let document = Problem::of_head(status, settings)?.traced(trace).document();
    tracing::debug!(%trace, status = status.as_u16(), "the head of a request was refused");
    let length = document.len();
    let text = format!("{before}content-type: {TYPE}\r\ncontent-length: {length}\r\n{after}{document}");
    Some(Refusal { text: text.into_bytes(), sent: 0, closed: false, discarded: 0 })
}

/// The last answer of a connection.
pub(super) struct Refusal {
    text: Vec<u8>,
    sent: usize,
    closed: bool,
    discarded: usize,
}

impl Refusal {
    /// Sends the unsent rest. Calls `moved` after each write.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        moved: impl Fn(),
    ) -> Poll<io::Result<()>> {
        while let Some(left) = self.text.get(self.sent..).filter(|left| !left.is_empty()) {
            match ready!(Pin::new(&mut *stream).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent = self.sent.saturating_add(count),
            }
            moved();
        }
        Poll::Ready(Ok(()))
    }

    /// Closes the sending side and reads until the client closes its own, because a socket closed
    /// with unread bytes is reset and the client might not see the answer. The header timeout of
    /// the connection ends this wait.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        if !self.closed {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            self.closed = true;
        }
        let mut room = [0; 4096];
        while self.discarded < MOST_DISCARDED {
            let mut buf = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
            match buf.filled().len() {
                0 => break,
                count => self.discarded = self.discarded.saturating_add(count),
            }
        }
        Poll::Ready(Ok(()))
    }
}
