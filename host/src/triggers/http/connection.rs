//! Serves one connection from its first byte to its end, over HTTP/1.1 or HTTP/2.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;

use super::backend::Backend;
use super::buffer_lease::BufferLease;
use super::connection_state::ConnectionState;
use super::content::{DetachedSocket, SocketHandler};
use super::idle_watch::{ConnectionAction, IdleWatch};
use super::observed_stream::ObservedStream;
use super::poll_on_wake::PollOnWake;
use super::protocol::{Protocol, RequestService};
use super::responder::Responder;
use super::response_body::{self, ResponseBody};
use super::settings::Settings;
use super::stopping::Stopping;
use crate::net::{BufferAccount, ConnectionGuard, Stream};

/// The interval between checks of a connection that cannot close yet, because part of a head has
/// arrived or bytes of a stream are still unsent.
const RECHECK: Duration = Duration::from_millis(20);

/// The maximum number of these checks; for unsent bytes, of checks without progress.
const MAX_RECHECKS: u32 = 50;

/// Serves a connection until it ends, or until a route takes over its socket.
///
/// A stop of the host has two steps. In the first, responses announce that the connection will
/// close: a client that sends a request on an idle HTTP/1.1 connection still gets a response, with
/// `Connection: close`. In the second, idle connections close.
///
/// Runs on the thread of its worker. A panic while the host answers a request fails that request
/// only.
pub async fn serve<B: Backend>(
    stream: Stream,
    peer: SocketAddr,
    guard: ConnectionGuard,
    settings: Arc<Settings>,
    backend: B,
    stopping: Stopping,
) {
    let scheme = if stream.is_encrypted() { "https" } else { "http" };
    let state = Arc::new(ConnectionState::new(settings.buffered.clone()));
    let socket = ObservedStream::new(stream, state.clone(), settings.clone());
    let responder = Arc::new(Responder { settings, backend, peer, scheme, stopping });
    let service = service_fn(|request: Request<Incoming>| {
        let responder = responder.clone();
        let (running, mut request_guard) = state.start_request(request.version());
        let lease = BufferLease::for_request(&request, &state);
        async move {
            // Only the lease of an HTTP/2 stream can fail.
            let mut lease = lease.map_err(|_| response_body::refused_stream())?;
            let spill = running > responder.settings.local_streams;
            let response = responder.respond(request, spill, &mut lease).await;
            request_guard.end();
            Ok::<_, h2::Error>(ResponseBody::wrap(response, lease, request_guard, &responder.stopping))
        }
    });
    let mut connection = Protocol::Unknown(socket, service);
    run(&mut connection, &state, &responder).await;
    if let Some(handler) = state.take_handler()
        && state.is_detached()
        && let Some((stream, read)) = connection.into_stream()
    {
        let (account, stopping) = (BufferAccount::new(responder.settings.buffered.clone()), responder.stopping.clone());
        // The handler gets a task of its own, so that the memory of this one is freed.
        tokio::spawn(run_handler(handler, DetachedSocket { stream, read, guard, account, stopping }));
    }
}

/// Runs a handler with its socket, at most until the second step of a stop.
async fn run_handler(handler: SocketHandler, socket: DetachedSocket) {
    let closing = socket.stopping.closing.clone();
    tokio::select! {
        biased;
        () = handler.run(socket) => {}
        () = closing.cancelled() => {}
    }
}

/// Runs the connection until it ends, hyper no longer needs its socket, or it must be dropped.
async fn run<T: RequestService, B>(
    connection: &mut Protocol<T>,
    state: &Arc<ConnectionState>,
    responder: &Responder<B>,
) {
    let Responder { settings, stopping, peer, .. } = responder;
    let mut watch = IdleWatch::new(settings.header_timeout, settings.idle_timeout);
    let mut step = StopStep::Serving;
    let mut event = PollOnWake::new(next_event(step, stopping.clone(), watch.tick));
    // Whether an HTTP/2 client got GOAWAY, and the number of checks since the second step began or,
    // while bytes of a stream are being sent, since the last progress.
    let (mut sent_goaway, mut checks) = (false, 0);
    let ended = poll_fn(|cx| {
        loop {
            match connection.poll(cx, settings) {
                Poll::Pending if state.is_detached() => return Poll::Ready(Ok(())),
                Poll::Pending => {}
                ended => return ended,
            }
            // The protocol may turn out to be HTTP/2 after the host began to stop.
            if step != StopStep::Serving && state.is_http2() && !std::mem::replace(&mut sent_goaway, true) {
                connection.graceful_shutdown();
                continue;
            }
            let Poll::Ready(next) = event.poll(cx) else {
                return Poll::Pending;
            };
            let action = match next {
                ConnectionEvent::Announce => {
                    step = StopStep::Announced;
                    action_on_announce(state)
                }
                ConnectionEvent::Close => {
                    step = StopStep::Closing;
                    action_on_close(state, checks)
                }
                ConnectionEvent::Tick if step == StopStep::Closing => {
                    checks += 1;
                    action_on_close(state, checks)
                }
                ConnectionEvent::Tick if step == StopStep::ShuttingDown && state.has_streamed() => {
                    checks = if watch.has_sent(state) { 0 } else { checks + 1 };
                    if checks > MAX_RECHECKS && state.running() == 0 {
                        ConnectionAction::Drop
                    } else {
                        ConnectionAction::Keep
                    }
                }
                ConnectionEvent::Tick => watch.check(state),
            };
            match action {
                ConnectionAction::Keep => {}
                ConnectionAction::ShutDown => {
                    connection.graceful_shutdown();
                    step = if step == StopStep::Closing { StopStep::ShuttingDown } else { step };
                }
                ConnectionAction::Drop => return Poll::Ready(Ok(())),
            }
            let often = step == StopStep::Closing || (step == StopStep::ShuttingDown && state.has_streamed());
            event.set(next_event(step, stopping.clone(), if often { RECHECK } else { watch.tick }));
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(%peer, error = %error, "a connection failed");
    }
}

/// How far one connection is in a stop of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopStep {
    /// The host is not stopping.
    Serving,
    /// Responses announce that the connection closes.
    Announced,
    /// The connection begins to shut down as soon as no head is arriving, or after `MAX_RECHECKS`
    /// checks.
    Closing,
    /// hyper closes the connection when its requests have ended.
    ShuttingDown,
}

/// Returns what to do with a connection when the host begins to stop. When a response is streamed
/// over HTTP/1.1, its head has already left and cannot announce the close. So the connection shuts
/// down after the stream, which may have ended already.
fn action_on_announce(state: &ConnectionState) -> ConnectionAction {
    let already_announced = state.announces_close();
    state.announce_close();
    match (state.awaits_client_close(), (already_announced || state.streams() > 0) && !state.is_http2()) {
        (true, _) => ConnectionAction::Drop,
        (false, true) => ConnectionAction::ShutDown,
        (false, false) => ConnectionAction::Keep,
    }
}

/// Returns what to do with a connection in the second step of a stop. While a head arrives, it
/// stays open for at most `MAX_RECHECKS` checks, because hyper would discard the part that it has
/// read.
fn action_on_close(state: &ConnectionState, checks: u32) -> ConnectionAction {
    match (state.awaits_client_close(), state.is_mid_head() && checks < MAX_RECHECKS) {
        (true, _) => ConnectionAction::Drop,
        (false, true) => ConnectionAction::Keep,
        (false, false) => ConnectionAction::ShutDown,
    }
}

/// An event of a connection that does not come from its socket.
enum ConnectionEvent {
    Announce,
    Close,
    Tick,
}

async fn next_event(step: StopStep, stopping: Stopping, tick: Duration) -> ConnectionEvent {
    let stop = async {
        match step {
            StopStep::Serving => {
                stopping.announced.cancelled().await;
                ConnectionEvent::Announce
            }
            StopStep::Announced => {
                stopping.closing.cancelled().await;
                // Yielding lets the reactor run once, so that a request that has arrived is read
                // first.
                tokio::task::yield_now().await;
                ConnectionEvent::Close
            }
            StopStep::Closing | StopStep::ShuttingDown => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        event = stop => event,
        () = tokio::time::sleep(tick) => ConnectionEvent::Tick,
    }
}
