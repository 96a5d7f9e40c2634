//! The bodies of a request and of its response, each with its largest size.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::error::RequestError;
use super::stats::Stats;

/// The body of a request, which fails beyond the largest size.
pub struct RequestBody<B> {
    body: B,
    left: u64,
    most: u64,
}

impl<B> RequestBody<B> {
    pub fn new(body: B, most: u64) -> RequestBody<B> {
        RequestBody { body, left: most, most }
    }
}

impl<B: Body<Data = Bytes, Error = RequestError> + Unpin> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = RequestError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let most = self.most;
        Poll::Ready(match frame {
            Some(Ok(frame)) if !take(&mut self.left, &frame) => Some(Err(RequestError::RequestTooLarge(most))),
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Takes the bytes of a frame from what is left. Returns false if they are more.
fn take(left: &mut u64, frame: &Frame<Bytes>) -> bool {
    let size = frame.data_ref().map_or(0, Buf::remaining) as u64;
    let after = left.checked_sub(size);
    *left = after.unwrap_or(0);
    after.is_some()
}

/// A response that is not read to its end, with its place among the requests of its module.
pub struct OpenResponse {
    body: Incoming,
    stats: Arc<Stats>,
    _place: OwnedSemaphorePermit,
}

impl OpenResponse {
    pub fn new(body: Incoming, place: OwnedSemaphorePermit, stats: Arc<Stats>) -> OpenResponse {
        stats.open.fetch_add(1, Relaxed);
        OpenResponse { body, stats, _place: place }
    }
}

impl Drop for OpenResponse {
    fn drop(&mut self) {
        self.stats.open.fetch_sub(1, Relaxed);
    }
}

/// The body of a response. It ends at the deadline, also when the guest never reads it.
pub struct ResponseBody {
    open: Arc<Mutex<Option<OpenResponse>>>,
    left: u64,
    most: u64,
    timer: Pin<Box<Sleep>>,
    deadline: Instant,
    between: Option<Duration>,
    ended: bool,
    _read: DropGuard,
}

impl ResponseBody {
    pub fn new(open: OpenResponse, most: u64, deadline: Instant, between: Option<Duration>) -> ResponseBody {
        let open = Arc::new(Mutex::new(Some(open)));
        let read = CancellationToken::new();
        let (kept, ended) = (open.clone(), read.clone());
        tokio::spawn(async move {
            drop(tokio::time::timeout_at(deadline, ended.cancelled()).await);
            drop(kept.lock().take());
        });
        let timer = Box::pin(sleep_until(next(deadline, between)));
        ResponseBody { open, left: most, most, timer, deadline, between, ended: false, _read: read.drop_guard() }
    }
}

fn next(deadline: Instant, between: Option<Duration>) -> Instant {
    between.map_or(deadline, |time| (Instant::now() + time).min(deadline))
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = RequestError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, RequestError>>> {
        let me = &mut *self;
        if me.ended {
            return Poll::Ready(None);
        }
        let mut open = me.open.lock();
        let Some(response) = &mut *open else { return Poll::Ready(Some(Err(RequestError::BodyTimeout))) };
        let frame = match Pin::new(&mut response.body).poll_frame(cx) {
            Poll::Ready(frame) => frame.map(|frame| frame.map_err(|error| RequestError::of(&error))),
            Poll::Pending if me.timer.as_mut().poll(cx).is_ready() => Some(Err(RequestError::BodyTimeout)),
            Poll::Pending => return Poll::Pending,
        };
        let frame = match frame {
            Some(Ok(frame)) if take(&mut me.left, &frame) => {
                if me.between.is_some() {
                    me.timer.as_mut().reset(next(me.deadline, me.between));
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Some(Ok(_)) => Some(Err(RequestError::ResponseTooLarge(me.most))),
            ended => ended,
        };
        // After an error, this closes the connection instead of reading the rest.
        drop(open.take());
        me.ended = true;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.open.lock().as_ref().is_some_and(|open| open.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.open.lock().as_ref().map_or_else(SizeHint::new, |open| open.body.size_hint())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_response_that_is_too_large_closes_its_connection_before_the_guest_drops_it() {
        let (client, mut server) = tokio::io::duplex(1_024);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        let served = tokio::spawn(async move {
            server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
            while server.write_all(&[b'x'; 100]).await.is_ok() {}
            // The end of the connection.
            while server.read(&mut [0; 1_024]).await.is_ok_and(|size| size > 0) {}
        });
        let request = http::Request::get("http://server/").body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let (stats, place) = (Arc::<Stats>::default(), Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap());
        let open = OpenResponse::new(response.into_body(), place, stats.clone());
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut body = ResponseBody::new(open, 1_000, deadline, None);
        let error = loop {
            if let Err(error) = body.frame().await.unwrap() {
                break error;
            }
        };
        assert!(matches!(error, RequestError::ResponseTooLarge(1_000)), "{error:?}");
        served.await.unwrap();
        assert_eq!(stats.open.load(Relaxed), 0);
        assert!(body.frame().await.is_none());
    }
}
