//! One connection, from its first byte to its end. HTTP/1.1 and HTTP/2, told apart by the first bytes.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio_util::sync::CancellationToken;

use super::answer::{Lease, Told};
use super::rarely::Rarely;
use super::watch::{Activity, Verdict, Watch, Watched};
use super::{Gate, Serve, Settings, answer};
use crate::net::Stream;

/// What hyper takes without keeping the headers on the heap.
const HYPER_MAX_HEADERS: usize = 100;

/// The least that hyper takes for a head.
const HYPER_MIN_HEAD: usize = 8_192;

/// The two steps in which the host ends its connections.
#[derive(Debug, Clone, Default)]
pub struct Stopping {
    /// Answers announce the end from now on: `Connection: close`, or GOAWAY.
    pub announced: CancellationToken,
    /// Connections that are still idle are closed.
    pub last: CancellationToken,
}

/// How often a connection is looked at that cannot be closed yet because part of a head has
/// arrived, and how many times.
const RECHECK: Duration = Duration::from_millis(20);
const RECHECKS: u32 = 50;

/// Serves a connection until its end.
///
/// When the host stops, the end is announced first: a client that sends a request on an idle
/// HTTP/1.1 connection at that moment gets its answer, and learns with it that the connection ends.
/// What is idle later is closed.
///
/// Runs on the thread of its worker; a panic in a request costs that request.
pub async fn serve<S: Serve>(stream: Stream, peer: SocketAddr, settings: Arc<Settings>, serve: S, stopping: Stopping) {
    let scheme = if stream.is_encrypted() { "https" } else { "http" };
    let activity = Arc::new(Activity::new(settings.buffered.clone()));
    let mut watch = Watch::new(settings.header_timeout, settings.idle_timeout);
    let builder = builder(&settings);
    let io = TokioIo::new(Watched::new(stream, activity.clone(), settings.clone()));
    let gate = Arc::new(Gate { settings, serve, peer, scheme });
    let service = service_fn(|request: Request<Incoming>| {
        let gate = gate.clone();
        let (open, mut running) = activity.start(request.version());
        let lease = Lease::of(&request, &activity);
        async move {
            // Only HTTP/2 streams need room before they begin.
            let mut lease = lease.map_err(|_| answer::refused_stream())?;
            let spill = open > gate.settings.local_streams;
            let response = gate.answer(request, spill, &mut lease).await;
            running.end();
            Ok::<_, h2::Error>(Told::wrap(response, lease, running))
        }
    });
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut step = Step::Serving;
    let mut signal = Rarely::new(signal(step, stopping.clone(), watch.tick));
    // Whether an HTTP/2 client was told, and how often a connection was looked at in the last step.
    let (mut said_goaway, mut looks) = (false, 0);
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            // It may become HTTP/2 after the host began to stop.
            if step != Step::Serving && activity.is_http2() && !std::mem::replace(&mut said_goaway, true) {
                connection.as_mut().graceful_shutdown();
                continue;
            }
            let Poll::Ready(signalled) = signal.poll(cx) else {
                return Poll::Pending;
            };
            let verdict = match signalled {
                Signal::Stop => {
                    step = Step::Announced;
                    activity.announce_end();
                    if activity.lingers() { Verdict::Drop } else { Verdict::Keep }
                }
                Signal::Last => {
                    step = Step::Last;
                    at_last(&activity, looks)
                }
                Signal::Tick if step == Step::Last => {
                    looks += 1;
                    at_last(&activity, looks)
                }
                Signal::Tick => watch.look(&activity),
            };
            match verdict {
                Verdict::Keep => {}
                Verdict::Idle => {
                    connection.as_mut().graceful_shutdown();
                    step = if step == Step::Last { Step::Closing } else { step };
                }
                Verdict::Drop => return Poll::Ready(Ok(())),
            }
            let tick = if step == Step::Last { RECHECK } else { watch.tick };
            signal.set(self::signal(step, stopping.clone(), tick));
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(%peer, error = %error, "a connection broke");
    }
}

/// How far the end of the host has come for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Serving,
    Announced,
    Last,
    /// hyper ends it when what runs has ended.
    Closing,
}

/// What to do with a connection that should end now. hyper would drop the part of a head that has
/// arrived, so that waits.
fn at_last(activity: &Activity, looks: u32) -> Verdict {
    match (activity.lingers(), activity.is_mid_head() && looks < RECHECKS) {
        (true, _) => Verdict::Drop,
        (false, true) => Verdict::Keep,
        (false, false) => Verdict::Idle,
    }
}

/// What a connection's task hears of beside its socket.
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
                // Once around the reactor, so that a request which has arrived is read first.
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

fn builder(settings: &Settings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let head = usize::try_from(settings.max_header_bytes).unwrap_or(usize::MAX).max(HYPER_MIN_HEAD);
    // Its header timeout is replaced by our watch. A client that leaves ends nothing, so nobody has to read on to see it
    // leave while its request runs: a read less for each.
    builder.http1().header_read_timeout(None).max_buf_size(head).half_close(true);
    if settings.max_headers != HYPER_MAX_HEADERS {
        builder.http1().max_headers(settings.max_headers);
    }
    builder.http2().max_concurrent_streams(settings.max_streams).max_header_list_size(settings.max_header_bytes);
    builder
}
