//! Accepts the operator's connections, up to a limit.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::Request;
use http::header::{HeaderValue, RETRY_AFTER};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{Answer, problem};
use super::permits::{Permit, Permits};
use super::routes::respond;
use super::state::AdminState;
use super::write_timeout::WriteTimeout;
use crate::call::{Problem, ProblemCode};
use crate::net::{AcceptBackoff, Listener, ListenerId, Stream, affects_one_connection};

/// How long a client may take to send the head of a request, and how long it may read nothing of a
/// response.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves requests until `end` is cancelled. Returns when the requests in flight have been
/// answered.
pub async fn serve(listener: Listener, admin: Arc<AdminState>, end: CancellationToken) {
    let mut incoming = match listener.open() {
        Ok(incoming) => incoming,
        Err(error) => {
            tracing::error!(%error, "could not start the admin listener");
            return;
        }
    };
    let connections = TaskTracker::new();
    // As many connections again get a 503. Any further ones are closed at once.
    let max = admin.sockets.descriptors.max_admin_connections();
    let (served, rejected) = (Permits::new(max), Permits::new(max));
    let mut backoff = AcceptBackoff::new(ListenerId::Admin.key(), admin.sockets.accept_failures.clone());
    let mut logged: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = end.cancelled() => break,
            accepted = incoming.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if affects_one_connection(&error) => continue,
            Err(error) => {
                backoff.wait(&error).await;
                continue;
            }
        };
        backoff.reset();
        let permit = served.acquire();
        let is_served = permit.is_some();
        if !is_served {
            admin.refused.inc();
            if logged.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
                tracing::warn!("the admin listener has {max} connections and rejects further ones");
                logged = Some(Instant::now());
            }
        }
        let Some(permit) = permit.or_else(|| rejected.acquire()) else { continue };
        if permit.evicts {
            admin.evicted.inc();
        }
        connections.spawn(connection(stream, admin.clone(), is_served, permit, end.clone()));
        // Lets the new connection read its first request before another connection can evict it.
        tokio::task::yield_now().await;
    }
    drop(incoming);
    connections.close();
    connections.wait().await;
}

async fn connection(stream: Stream, admin: Arc<AdminState>, is_served: bool, permit: Permit, end: CancellationToken) {
    let _counted = admin.sockets.enter_admin();
    let active = permit.active.clone();
    let service = service_fn(move |request| {
        active.store(true, Relaxed);
        let admin = admin.clone();
        async move {
            Ok::<_, Infallible>(if is_served {
                respond(&admin, request).await
            } else {
                overloaded(&admin, request).await
            })
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_TIMEOUT)
        .keep_alive(is_served)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream, CLIENT_TIMEOUT)), service);
    let mut connection = std::pin::pin!(connection);
    // A client that disconnects is not an error.
    tokio::select! {
        _ = &mut connection => {}
        () = permit.evicted.cancelled() => {}
        () = end.cancelled() => {
            connection.as_mut().graceful_shutdown();
            _ = connection.await;
        }
    }
}

/// Answers 503, except to `/livez`, so that an overloaded host still counts as alive.
async fn overloaded(admin: &AdminState, request: Request<Incoming>) -> Answer {
    if request.uri().path() == "/livez" {
        return respond(admin, request).await;
    }
    let max = admin.sockets.descriptors.max_admin_connections();
    let detail = format!("the admin listener already serves {max} connections, its limit; try again later");
    let mut answer = problem(Problem::new(ProblemCode::Overloaded, detail));
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}
