//! The body of a request that a module reads while it arrives.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::body;
use crate::call::BodyError;

/// A body with a largest size, and a time limit for each of its parts. Dropping it discards the
/// rest.
pub(super) struct RequestStream {
    /// `None` when it has ended or failed.
    body: Option<Incoming>,
    max: u64,
    received: u64,
    timeout: Duration,
    /// Runs while the module waits for a part.
    timer: Option<Pin<Box<Sleep>>>,
    waits: bool,
    /// Passed to [`body::discard`].
    drain: bool,
    /// Set when the body has more bytes than `max`.
    exceeded: Arc<AtomicBool>,
}

impl RequestStream {
    pub(super) fn new(
        body: Incoming,
        max: u64,
        timeout: Duration,
        drain: bool,
        exceeded: Arc<AtomicBool>,
    ) -> RequestStream {
        RequestStream { body: Some(body), max, received: 0, timeout, timer: None, waits: false, drain, exceeded }
    }

    fn part(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.received = self.received.saturating_add(length);
        match self.received > self.max {
            false => Ok(frame),
            true => {
                self.exceeded.store(true, Relaxed);
                Err(BodyError::TooLarge(self.max))
            }
        }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.timeout)));
        if !std::mem::replace(&mut self.waits, true) {
            timer.as_mut().reset(Instant::now() + self.timeout);
        }
        timer.as_mut().poll(cx).is_ready()
    }

    fn discard(&mut self) {
        if let Some(body) = self.body.take() {
            body::discard(body, self.drain);
        }
    }
}

impl Body for RequestStream {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let ended = match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.waits = false;
                self.part(frame).map(Some)
            }
            Poll::Ready(Some(Err(error))) => Err(BodyError::Incomplete(error.to_string())),
            Poll::Ready(None) => Ok(None),
            Poll::Pending if self.is_late(cx) => Err(BodyError::Slow(self.timeout)),
            Poll::Pending => return Poll::Pending,
        };
        match ended {
            Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
            Ok(None) => self.body = None,
            Err(_) => self.discard(),
        }
        Poll::Ready(ended.err().map(Err))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for RequestStream {
    fn drop(&mut self) {
        self.discard();
    }
}
