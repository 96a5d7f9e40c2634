//! The operator's side: readiness, metrics, status and calls, on a listener of its own that answers under load.
//!
//! | path | answer |
//! |---|---|
//! | `GET /livez` | 200 as long as the process answers |
//! | `GET /readyz` | 200 once every module has had its first try; 503 `starting` before and `draining` while it stops |
//! | `GET /metrics` | OpenMetrics text |
//! | `GET /v1/status` | the node and its modules, as JSON |
//! | `POST /v1/modules/<module>/broadcasts/<name>[?gather=true]` | emits the body; a receipt, or one entry per worker |
//! | `POST /v1/modules/<module>/call?path=..[&method=..][&target=..]` | calls a route with the body |
//!
//! It is open to whoever reaches it, so a browser must not be made to: a foreign `Host`, `Origin` or
//! `Sec-Fetch-Site` is refused.

mod api;
mod guard;
mod metrics;
mod status;

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::call::Problem;
use crate::config::Config;
use crate::dispatch::Dispatch;
use crate::registry::Roster;

/// Connections that the admin listener has at once.
const CONNECTIONS: usize = 64;

/// What the admin listener answers from.
pub struct Admin {
    config: Arc<Config>,
    dispatch: Arc<Dispatch>,
    roster: Arc<Roster>,
    closing: CancellationToken,
}

type Answer = Response<Full<Bytes>>;

impl Admin {
    pub fn new(config: Arc<Config>, dispatch: Arc<Dispatch>, roster: Arc<Roster>, closing: CancellationToken) -> Admin {
        Admin { config, dispatch, roster, closing }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if let Err(why) = guard::check(request.headers(), request.uri()) {
            return problem(Problem::new(StatusCode::FORBIDDEN, "forbidden", "not open to you", why));
        }
        let path = request.uri().path().to_owned();
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        match segments.as_slice() {
            ["livez"] if get => text(StatusCode::OK, "ok\n"),
            ["readyz"] if get => self.readiness(),
            ["metrics"] if get => metrics::answer(&self.dispatch),
            ["v1", "status"] if get => {
                json_answer(StatusCode::OK, &status::status(&self.config, &self.dispatch, &self.roster))
            }
            ["v1", "modules", module, "broadcasts", name] if *request.method() == Method::POST => {
                api::emit(self, module, name, request).await
            }
            ["v1", "modules", module, "call"] if *request.method() == Method::POST => {
                api::call(self, module, request).await
            }
            ["livez" | "readyz" | "metrics"] | ["v1", "status"] => not_allowed("GET, HEAD"),
            ["v1", "modules", _, "broadcasts", _] | ["v1", "modules", _, "call"] => not_allowed("POST"),
            _ => {
                let detail = format!("the admin listener has nothing at {path}");
                problem(Problem::new(StatusCode::NOT_FOUND, "not-found", "nothing is served here", detail))
            }
        }
    }

    fn readiness(&self) -> Answer {
        match (self.closing.is_cancelled(), self.roster.is_ready()) {
            (true, _) => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            (false, false) => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            (false, true) => text(StatusCode::OK, "ready\n"),
        }
    }
}

/// Takes requests until `end`, and returns when those are answered.
pub async fn serve(listener: TcpListener, admin: Admin, end: CancellationToken) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the admin listener does not start");
            return;
        }
    };
    let admin = Arc::new(admin);
    let connections = TaskTracker::new();
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = end.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted.inspect_err(|error| tracing::warn!(%error, "an admin connection was lost"))
        else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let admin = admin.clone();
        let end = end.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let admin = admin.clone();
                async move { Ok::<_, Infallible>(admin.answer(request).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(std::time::Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            // A client that breaks off is no event.
            tokio::select! {
                _ = &mut connection => {}
                () = end.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    _ = connection.await;
                }
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    answer
}

fn text(status: StatusCode, body: &str) -> Answer {
    answer(status, "text/plain; charset=utf-8", body.to_owned())
}

fn json_answer(status: StatusCode, body: &serde_json::Value) -> Answer {
    json_text(status, body.to_string())
}

fn json_text(status: StatusCode, body: String) -> Answer {
    answer(status, "application/json", body + "\n")
}

fn problem(problem: Problem) -> Answer {
    answer(problem.status, "application/problem+json", format!("{}\n", problem.document()))
}

fn not_allowed(methods: &'static str) -> Answer {
    let (title, detail) = ("the path has other methods", format!("use one of {methods}"));
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut answer = problem(Problem::new(status, "method-not-allowed", title, detail));
    answer.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(methods));
    answer
}
