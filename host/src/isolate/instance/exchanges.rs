//! Requests for the `wasi:http` export of a guest.
//!
//! A call with an exchange ends when the guest sends the head of its response. Its place stays
//! occupied until the client has the body, or has left. The instance lives as long, also when
//! another one has replaced it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::poll_fn;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio::task::unconstrained;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::{Error, WasiBody};

use super::InstanceTask;
use super::control::Control;
use crate::call::{BodyError, CallError, Exchange, Failure, Outcome, Reply, StreamedBody, text};
use crate::isolate::guest_http::{GuestHttp, Respond};
use crate::isolate::logs::Log;
use crate::isolate::program::GuestExports;
use crate::isolate::running_calls::{RunningCalls, Streaming};
use crate::isolate::slot_core::SlotCore;
use crate::isolate::state::State;

/// The next frame of a body, or `None` at its end.
type GuestFrame = Option<Result<Frame<Bytes>, Error>>;

/// Whether a guest of version 0.2 has returned, after which it writes no body.
#[derive(Default)]
struct Returned {
    has: AtomicBool,
    waker: AtomicWaker,
}

impl Returned {
    fn set(&self) {
        self.has.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Wakes the task when the guest returns.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.has.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A body of a guest, on its way to a client.
struct GuestBody {
    body: WasiBody,
    returned: Arc<Returned>,
    /// Set whenever the client takes a part of the body, or sends one.
    progress: Arc<AtomicBool>,
    has_ended: bool,
    /// Dropped before the driver is woken.
    streaming: Option<Streaming>,
    control: Arc<Control>,
    slot: Arc<SlotCore>,
    log: Log,
}

impl GuestBody {
    /// wasmtime ends a body when its store is dropped as if the guest had ended it.
    fn was_cut(&self) -> bool {
        self.streaming.as_ref().is_some_and(Streaming::was_cut)
    }

    /// Like `poll_frame` of the body. `Err` if the guest has returned without finishing it.
    fn poll_guest(&mut self, cx: &mut Context<'_>) -> Poll<Result<GuestFrame, BodyError>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(Ok(frame));
        }
        ready!(self.returned.poll(cx));
        // What the guest wrote at last may have arrived in the meantime, and the body may have been
        // pending only because the budget of this task was used up.
        let last = pin!(unconstrained(poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)))).poll(cx);
        let Poll::Ready(frame) = last else {
            if let Some(streaming) = &self.streaming {
                streaming.fail();
            }
            if self.log.admits() {
                let (module, isolate) = (&self.slot.module, self.slot.isolate);
                tracing::warn!(%module, %isolate, "`handle` of wasi:http returned without finishing the body of its response");
            }
            return Poll::Ready(Err(BodyError::Incomplete("the guest returned without finishing it".to_owned())));
        };
        Poll::Ready(Ok(frame))
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(self.poll_guest(cx));
        self.has_ended |= !matches!(frame, Ok(Some(Ok(_))));
        self.progress.store(true, Ordering::Relaxed);
        Poll::Ready(match frame {
            Ok(Some(Ok(frame))) => Some(Ok(frame)),
            Ok(Some(Err(error))) => Some(Err(BodyError::Incomplete(shown(&error)))),
            Ok(None) if self.was_cut() => Some(Err(BodyError::InstanceEnded)),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && !self.was_cut()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        if !self.has_ended && !self.body.is_end_stream() {
            self.control.abandoned.store(true, Ordering::Release);
        }
        self.streaming = None;
        if self.control.awaits_room() || self.slot.mailbox.waiting() != (0, 0) {
            self.control.wake();
        }
    }
}

/// Sets `progress` whenever a part of the body arrives.
fn noted(body: StreamedBody, progress: Arc<AtomicBool>) -> StreamedBody {
    if body.is_end_stream() {
        return body;
    }
    let note = move |frame| {
        progress.store(true, Ordering::Relaxed);
        frame
    };
    body.map_frame(note).boxed_unsync()
}

/// An error in one bounded line, because the guest may have written it.
fn shown(error: &Error) -> String {
    text::line(&error.to_string(), text::MESSAGE)
}

impl InstanceTask {
    /// Lets the guest handle a request. Resolves when it has returned. An error means that the
    /// store failed.
    pub(super) async fn run_exchange(
        &self,
        accessor: &Accessor<State>,
        exports: &GuestExports,
        id: u64,
        exchange: Exchange,
    ) -> wasmtime::Result<()> {
        let (http, progress) = (exports.http()?, Arc::new(AtomicBool::new(false)));
        let returned = Arc::new(Returned::default());
        let respond = self.respond(id, exchange.response, progress.clone(), returned.clone());
        let request = exchange.request.map(|body| noted(body, progress.clone()));
        let started = accessor.with(|access| http.start(access, request, respond))?;
        let task = started.task();
        accessor.with(|mut access| access.get().cpu.watch(task, progress));
        http.finish(accessor, started).await?;
        if matches!(http, GuestHttp::V2(_)) {
            returned.set();
        }
        Ok(())
    }

    /// Returns the function that ends call `id` with the head of its response.
    fn respond(
        &self,
        id: u64,
        response: oneshot::Sender<http::Response<StreamedBody>>,
        progress: Arc<AtomicBool>,
        returned: Arc<Returned>,
    ) -> Respond {
        let (running, control, slot) = (self.running_calls.clone(), self.control.clone(), self.slot.clone());
        let log = self.deployment.log.clone();
        Box::new(move |result| {
            let (head, body) = match result {
                Ok(guest) => guest.into_parts(),
                Err(error) => {
                    let message = format!("wasi:http reported an error instead of a response: {}", shown(&error));
                    let name = "no-response".to_owned();
                    return running.end(id, Err(CallError::Failure(Failure { name, message, ..Failure::default() })));
                }
            };
            let streaming = (!body.is_end_stream()).then(|| RunningCalls::stream(&running));
            let status = head.status.as_u16();
            let body = GuestBody { body, returned, progress, has_ended: false, streaming, control, slot, log };
            // The client may no longer wait, which is not an error.
            let _ = response.send(http::Response::from_parts(head, body.boxed_unsync()));
            running.end(id, Ok(Outcome::Reply(Reply { status, ..Reply::default() })));
        })
    }
}
