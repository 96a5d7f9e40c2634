//! Replaces the error responses that hyper writes by itself with problem documents.
//!
//! An HTTP/1.1 request whose head hyper rejects never reaches the trigger: hyper writes a status
//! and an empty body, and closes the connection. [`super::observed_stream`] detects that the bytes
//! belong to no request, and sends a [`HeadErrorResponse`] instead.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::problem_response::{ProblemResponse, TYPE};
use super::settings::Settings;
use crate::call::Trace;
use crate::net::Stream;

/// The maximum number of bytes that the host reads and discards from a rejected client that keeps
/// sending, so that the client can read the response.
const MAX_DISCARDED: usize = 1024 * 1024;

/// The header field that hyper writes for an empty body.
const EMPTY_BODY: &str = "content-length: 0\r\n";

/// Builds the response with a problem document, if `bare` is an error response of hyper.
pub(super) fn replacement(bare: &[u8], settings: &Settings) -> Option<HeadErrorResponse> {
    let bare =
        std::str::from_utf8(bare).ok().filter(|bare| bare.starts_with("HTTP/1.") && bare.ends_with("\r\n\r\n"))?;
    let (line, _) = bare.split_once("\r\n")?;
    let status: StatusCode = line.split(' ').nth(1)?.parse().ok()?;
    let (before, after) = bare.split_once(EMPTY_BODY)?;
    let trace = Trace::fresh();
    let document = ProblemResponse::of_head(status, settings)?.with_trace(trace).document();
    tracing::debug!(%trace, status = status.as_u16(), "rejected a request because of its head");
    let length = document.len();
    let text = format!("{before}content-type: {TYPE}\r\ncontent-length: {length}\r\n{after}{document}");
    Some(HeadErrorResponse { text: text.into_bytes(), sent: 0, closed: false, discarded: 0 })
}

/// The response to a head that hyper rejected, which is the last one of its connection.
pub(super) struct HeadErrorResponse {
    text: Vec<u8>,
    sent: usize,
    closed: bool,
    discarded: usize,
}

impl HeadErrorResponse {
    /// Sends the rest. Calls `on_write` after each write.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        on_write: impl Fn(),
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.text.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent = self.sent.saturating_add(count),
            }
            on_write();
        }
        Poll::Ready(Ok(()))
    }

    /// Closes the sending side and reads until the client closes its side. Closing a socket with
    /// unread bytes would reset it, and the client might not see the response. The header timeout
    /// of the connection limits this wait.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        if !self.closed {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            self.closed = true;
        }
        let mut room = [0; 4096];
        while self.discarded < MAX_DISCARDED {
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
