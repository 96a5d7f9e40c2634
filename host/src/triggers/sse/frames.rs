//! A stream over HTTP/2: a body that hyper sends, fed by the fan-out of the worker.
//!
//! A message leaves the outbox of its client only when hyper asks for a frame, because the hub
//! counts what is in outboxes, and `http.maxBuffered` what hyper has. The fan-out then passes on
//! one message, or small ones of about 16 KiB, because each frame becomes a DATA frame. If hyper
//! does not ask, the fan-out treats the client as one that does not read. hyper takes a frame that
//! it has asked for at once, also when the client has made its window smaller meanwhile.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;

use super::notice;
use crate::hub::{Client, Encoding, Form, Gone, Notice, Outbox, Received};

/// Messages that are smaller are sent together, up to about twice this number of bytes.
const GATHERED: usize = 16 * 1024;

/// Returns the two ends of a stream.
pub(super) fn pair(peer: IpAddr) -> (FramesClient, FramesBody) {
    let shared = Arc::new(Mutex::new(Shared::default()));
    (FramesClient { shared: shared.clone(), peer }, FramesBody { shared })
}

#[derive(Default)]
struct Shared {
    /// What the body sends next.
    frame: Option<Bytes>,
    /// Whether the body waits for a frame.
    is_wanted: bool,
    /// No further frame follows.
    is_ended: bool,
    /// hyper has dropped the body, because the client has left.
    is_gone: bool,
    /// Whether the client waits for the body to want a frame.
    is_blocked: bool,
    client: Option<Waker>,
    body: Option<Waker>,
}

/// The end that the fan-out writes to.
pub(super) struct FramesClient {
    shared: Arc<Mutex<Shared>>,
    peer: IpAddr,
}

/// The body of the response.
pub(super) struct FramesBody {
    shared: Arc<Mutex<Shared>>,
}

impl Client for FramesClient {
    fn peer(&self) -> IpAddr {
        self.peer
    }

    fn notice(&mut self, notice: Notice) -> Bytes {
        notice::encode(notice, Form::Text)
    }

    fn poll_write(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if outbox.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut shared = self.shared.lock();
        if shared.is_gone {
            return Poll::Ready(Err(Gone));
        }
        if std::mem::take(&mut shared.is_wanted) {
            shared.frame = gather(outbox);
            wake(&mut shared.body);
            if outbox.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        shared.is_blocked = true;
        register(&mut shared.client, cx);
        Poll::Pending
    }

    fn poll_read(&mut self, _: &mut Outbox, cx: &mut Context<'_>) -> Result<Received, Gone> {
        let mut shared = self.shared.lock();
        if shared.is_gone {
            return Err(Gone);
        }
        register(&mut shared.client, cx);
        Ok(Received::Nothing)
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let mut shared = self.shared.lock();
        shared.is_ended = true;
        wake(&mut shared.body);
        Poll::Ready(())
    }
}

/// Without [`Client::poll_end`] before, the stream was cut, and what waits is dropped.
impl Drop for FramesClient {
    fn drop(&mut self) {
        let mut shared = self.shared.lock();
        if !std::mem::replace(&mut shared.is_ended, true) {
            shared.frame = None;
            wake(&mut shared.body);
        }
    }
}

impl Stream for FramesBody {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut shared = self.shared.lock();
        if let Some(frame) = shared.frame.take() {
            return Poll::Ready(Some(frame));
        }
        if shared.is_ended {
            return Poll::Ready(None);
        }
        shared.is_wanted = true;
        if std::mem::take(&mut shared.is_blocked) {
            wake(&mut shared.client);
        }
        register(&mut shared.body, cx);
        Poll::Pending
    }
}

impl Drop for FramesBody {
    fn drop(&mut self) {
        let mut shared = self.shared.lock();
        shared.is_gone = true;
        shared.frame = None;
        wake(&mut shared.client);
    }
}

/// Takes the first message, and small ones that wait behind it. A large one is never copied,
/// because all streams share its bytes.
fn gather(outbox: &mut Outbox) -> Option<Bytes> {
    let first = outbox.take(Encoding::Sse)?;
    if outbox.is_empty() || first.len() >= GATHERED {
        return Some(first);
    }
    let mut gathered = Vec::from(first);
    while gathered.len() < GATHERED
        && outbox.front_len(Encoding::Sse) < GATHERED
        && let Some(next) = outbox.take(Encoding::Sse)
    {
        gathered.extend_from_slice(&next);
    }
    Some(gathered.into())
}

fn register(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

fn wake(place: &mut Option<Waker>) {
    if let Some(waker) = place.take() {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn outbox(texts: &[&'static str]) -> Outbox {
        let mut outbox = Outbox::default();
        texts.iter().for_each(|text| outbox.push_notice(Bytes::from_static(text.as_bytes())));
        outbox
    }

    fn ends() -> (FramesClient, Pin<Box<FramesBody>>) {
        let (client, body) = pair(Ipv4Addr::LOCALHOST.into());
        (client, Box::pin(body))
    }

    #[test]
    fn messages_that_wait_are_sent_together_and_one_frame_at_a_time() {
        let (mut client, mut body) = ends();
        let mut first = outbox(&["a", "b"]);
        assert!(client.poll_write(&mut first, &mut context()).is_pending(), "the body does not ask for a frame");
        assert_eq!(first.len(), 2);
        assert!(body.as_mut().poll_next(&mut context()).is_pending());
        assert_eq!(client.poll_write(&mut first, &mut context()), Poll::Ready(Ok(())));
        let mut second = outbox(&["c"]);
        assert!(client.poll_write(&mut second, &mut context()).is_pending(), "the body has not taken the frame");
        assert_eq!(body.as_mut().poll_next(&mut context()), Poll::Ready(Some(Bytes::from("ab"))));
        assert!(client.poll_write(&mut second, &mut context()).is_pending(), "the body does not ask for another one");
        assert_eq!(second.len(), 1);
        assert!(body.as_mut().poll_next(&mut context()).is_pending());
        assert_eq!(client.poll_write(&mut second, &mut context()), Poll::Ready(Ok(())));
        assert_eq!(client.poll_end(&mut context()), Poll::Ready(()));
        drop(client);
        assert_eq!(body.as_mut().poll_next(&mut context()), Poll::Ready(Some(Bytes::from("c"))));
        assert_eq!(body.as_mut().poll_next(&mut context()), Poll::Ready(None));
    }

    #[test]
    fn small_messages_are_gathered_and_large_ones_are_not_copied() {
        let large: &'static str = "x".repeat(GATHERED).leak();
        let mut waiting = outbox(&[large, "a", "b", large, "c"]);
        let frames: Vec<Bytes> = std::iter::from_fn(|| gather(&mut waiting)).collect();
        assert_eq!(frames.iter().map(Bytes::len).collect::<Vec<_>>(), [GATHERED, 2, GATHERED, 1]);
        assert!([0, 2].iter().all(|at| frames[*at].as_ptr() == large.as_ptr()));
    }

    #[test]
    fn a_cut_drops_what_waits_and_a_body_that_is_dropped_is_gone() {
        let (mut client, mut body) = ends();
        assert!(body.as_mut().poll_next(&mut context()).is_pending());
        assert_eq!(client.poll_write(&mut outbox(&["a"]), &mut context()), Poll::Ready(Ok(())));
        drop(client);
        assert_eq!(body.as_mut().poll_next(&mut context()), Poll::Ready(None));
        let (mut client, body) = ends();
        let mut empty = Outbox::default();
        assert_eq!(client.poll_read(&mut empty, &mut context()), Ok(Received::Nothing));
        drop(body);
        assert_eq!(client.poll_read(&mut empty, &mut context()), Err(Gone));
        assert_eq!(client.poll_write(&mut outbox(&["a"]), &mut context()), Poll::Ready(Err(Gone)));
    }
}
