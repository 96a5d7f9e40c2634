//! Accepting the operator's connections: a bounded number at once, and none that is held without
//! being used.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::header::{HeaderValue, RETRY_AFTER};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{Answer, problem};
use super::patient::Patient;
use super::places::{Place, Places};
use super::routes::respond;
use super::state::Admin;
use crate::call::Problem;
use crate::net::{AcceptBackoff, Listener, ListenerId, Stream, affects_one_connection};

/// How long a client may take for the head of a request, and how long it may take nothing of an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes requests until `end`, and returns when those are answered.
pub async fn serve(listener: Listener, admin: Arc<Admin>, end: CancellationToken) {
    let mut incoming = match listener.open() {
        Ok(incoming) => incoming,
        Err(error) => {
            tracing::error!(%error, "the admin listener does not start");
            return;
        }
    };
    let connections = TaskTracker::new();
    // Connections that are served at once, and as many beyond them that are refused in words; any
    // more are closed.
    let most = admin.sockets.descriptors.max_admin_connections();
    let (served, refused) = (Places::new(most), Places::new(most));
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
        let place = served.enter();
        let is_served = place.is_some();
        if !is_served {
            admin.refused.inc();
            if logged.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)) {
                tracing::warn!("the admin listener has {most} connections, and serves no more");
                logged = Some(Instant::now());
            }
        }
        let Some(place) = place.or_else(|| refused.enter()) else { continue };
        if place.evicts {
            admin.evicted.inc();
        }
        connections.spawn(connection(stream, admin.clone(), is_served, place, end.clone()));
        // The new connection reads what its client has sent before another one can take its place.
        tokio::task::yield_now().await;
    }
    drop(incoming);
    connections.close();
    connections.wait().await;
}

async fn connection(stream: Stream, admin: Arc<Admin>, is_served: bool, place: Place, end: CancellationToken) {
    let _counted = admin.sockets.enter_admin();
    let asked = place.asked.clone();
    let service = service_fn(move |request| {
        asked.store(true, Relaxed);
        let admin = admin.clone();
        async move {
            Ok::<_, Infallible>(if is_served { respond(&admin, request).await } else { refusal(&admin, request).await })
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(is_served)
        .serve_connection(TokioIo::new(Patient::new(stream, PATIENCE)), service);
    let mut connection = std::pin::pin!(connection);
    // A client that disconnects is not an error.
    tokio::select! {
        _ = &mut connection => {}
        () = place.evicted.cancelled() => {}
        () = end.cancelled() => {
            connection.as_mut().graceful_shutdown();
            _ = connection.await;
        }
    }
}

/// Whether the host lives is told nevertheless.
async fn refusal(admin: &Admin, request: Request<Incoming>) -> Answer {
    if request.uri().path() == "/livez" {
        return respond(admin, request).await;
    }
    let most = admin.sockets.descriptors.max_admin_connections();
    let detail = format!("the admin listener serves {most} connections at once, and has them");
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut answer = problem(Problem::new(status, "overloaded", "Overloaded", detail));
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}
