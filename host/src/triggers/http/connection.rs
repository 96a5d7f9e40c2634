//! Runs one connection from its first byte to its end, over HTTP/1.1 or HTTP/2.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;

use super::activity::Activity;
use super::answer::{self, AnswerBody};
use super::backend::Backend;
use super::content::{Handover, SocketHandler};
use super::idle::{IdleWatch, Verdict};
use super::lease::Lease;
use super::observed::ObservedStream;
use super::protocol::{Protocol, RequestService};
use super::responder::Responder;
use super::settings::Settings;
use super::stopping::Stopping;
use super::when_woken::WhenWoken;
use crate::net::{Account, Open, Stream};

/// The interval and number of checks of a connection that cannot close yet, because part of a head
/// has arrived or a stream left unsent bytes.
const RECHECK: Duration = Duration::from_millis(20);
const RECHECKS: u32 = 50;

/// Serves a connection until its end, or until a route has taken its socket.
///
/// When the host stops, the end is announced first: a client that sends a request on an idle
/// HTTP/1.1 connection at that moment gets its answer, and learns with it that the connection ends.
/// Connections that are idle later are closed.
///
/// Runs on the thread of its worker; a panic in a request costs that request.
pub async fn serve<B: Backend>(
    stream: Stream,
    peer: SocketAddr,
    open: Open,
    settings: Arc<Settings>,
    backend: B,
    stopping: Stopping,
) {
    let scheme = if stream.is_encrypted() { "https" } else { "http" };
    let activity = Arc::new(Activity::new(settings.buffered.clone()));
    let socket = ObservedStream::new(stream, activity.clone(), settings.clone());
    let responder = Arc::new(Responder { settings, backend, peer, scheme, stopping });
    let service = service_fn(|request: Request<Incoming>| {
        let responder = responder.clone();
        let (open, mut running) = activity.start(request.version());
        let lease = Lease::of(&request, &activity);
        async move {
            // Only HTTP/2 streams need room before they begin.
            let mut lease = lease.map_err(|_| answer::refused_stream())?;
            let spill = open > responder.settings.local_streams;
            let response = responder.answer(request, spill, &mut lease).await;
            running.end();
            Ok::<_, h2::Error>(AnswerBody::wrap(response, lease, running, &responder.stopping))
        }
    });
    let mut connection = Protocol::Unknown(socket, service);
    run(&mut connection, &activity, &responder).await;
    if let Some(handler) = activity.take_handler()
        && activity.is_socket_free()
        && let Some((stream, read)) = connection.into_stream()
    {
        let (account, stopping) = (Account::new(responder.settings.buffered.clone()), responder.stopping.clone());
        // The handler gets a task of its own, so that the memory of this one is freed.
        tokio::spawn(hand_over(handler, Handover { stream, read, peer, open, account, stopping }));
    }
}

/// Runs a handler with its socket, at most until the last step of a stop.
async fn hand_over(handler: SocketHandler, handover: Handover) {
    let last = handover.stopping.last.clone();
    tokio::select! {
        biased;
        () = handler.run(handover) => {}
        () = last.cancelled() => {}
    }
}

/// Runs the connection until it ends, hyper is done with its socket, or there is a reason to drop
/// it.
async fn run<T: RequestService, B>(connection: &mut Protocol<T>, activity: &Arc<Activity>, responder: &Responder<B>) {
    let Responder { settings, stopping, peer, .. } = responder;
    let mut watch = IdleWatch::new(settings.header_timeout, settings.idle_timeout);
    let mut step = Step::Serving;
    let mut signal = WhenWoken::new(signal(step, stopping.clone(), watch.tick));
    // Whether an HTTP/2 client got GOAWAY, and the number of checks in the last step.
    let (mut said_goaway, mut looks) = (false, 0);
    let ended = poll_fn(|cx| {
        loop {
            match connection.poll(cx, settings) {
                Poll::Pending if activity.is_socket_free() => return Poll::Ready(Ok(())),
                Poll::Pending => {}
                ended => return ended,
            }
            // The protocol may turn out to be HTTP/2 after the host began to stop.
            if step != Step::Serving && activity.is_http2() && !std::mem::replace(&mut said_goaway, true) {
                connection.graceful_shutdown();
                continue;
            }
            let Poll::Ready(signalled) = signal.poll(cx) else {
                return Poll::Pending;
            };
            let verdict = match signalled {
                Signal::Stop => {
                    step = Step::Announced;
                    announce(activity)
                }
                Signal::Last => {
                    step = Step::Last;
                    at_last(activity, looks)
                }
                Signal::Tick if step == Step::Last => {
                    looks += 1;
                    at_last(activity, looks)
                }
                Signal::Tick if step == Step::Closing && activity.has_streamed() => {
                    looks = if watch.has_moved(activity) { 0 } else { looks + 1 };
                    if looks > RECHECKS && activity.running() == 0 { Verdict::Drop } else { Verdict::Keep }
                }
                Signal::Tick => watch.look(activity),
            };
            match verdict {
                Verdict::Keep => {}
                Verdict::Finish => {
                    connection.graceful_shutdown();
                    step = if step == Step::Last { Step::Closing } else { step };
                }
                Verdict::Drop => return Poll::Ready(Ok(())),
            }
            let often = step == Step::Last || (step == Step::Closing && activity.has_streamed());
            signal.set(self::signal(step, stopping.clone(), if often { RECHECK } else { watch.tick }));
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(%peer, error = %error, "a connection broke");
    }
}

/// The progress of a stop for one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Serving,
    Announced,
    Last,
    /// hyper ends the connection when its requests have ended.
    Closing,
}

/// Decides about a connection when the host begins to stop. An HTTP/1.1 connection whose answer
/// streams cannot announce the end any more, so it ends with the stream. The stream may have ended
/// already.
fn announce(activity: &Activity) -> Verdict {
    let ended = activity.ends();
    activity.announce_end();
    match (activity.lingers(), (ended || activity.streams() > 0) && !activity.is_http2()) {
        (true, _) => Verdict::Drop,
        (false, true) => Verdict::Finish,
        (false, false) => Verdict::Keep,
    }
}

/// Decides about a connection that should end now. It is kept while a head arrives, because hyper
/// would drop the part that it has.
fn at_last(activity: &Activity, looks: u32) -> Verdict {
    match (activity.lingers(), activity.is_mid_head() && looks < RECHECKS) {
        (true, _) => Verdict::Drop,
        (false, true) => Verdict::Keep,
        (false, false) => Verdict::Finish,
    }
}

/// The events of a connection's task besides those of its socket.
enum Signal {
    Stop,
    Last,
    Tick,
}

async fn signal(step: Step, stopping: Stopping, tick: Duration) -> Signal {
    let stop = async {
        match step {
            Step::Serving => {
                stopping.announced.cancelled().await;
                Signal::Stop
            }
            Step::Announced => {
                stopping.last.cancelled().await;
                // The reactor runs once, so that a request that has arrived is read first.
                tokio::task::yield_now().await;
                Signal::Last
            }
            Step::Last | Step::Closing => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        signal = stop => signal,
        () = tokio::time::sleep(tick) => Signal::Tick,
    }
}
