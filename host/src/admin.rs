//! The operator's side: readiness, metrics, status and calls, on a listener of its own that answers under load.
//!
//! | path | answer |
//! |---|---|
//! | `GET /livez` | 200 as long as the process answers |
//! | `GET /readyz` | 200 once every module has had its first try; 503 `starting` before and `draining` while it stops |
//! | `GET /metrics` | OpenMetrics text |
//! | `GET /v1/status` | the node and its modules, as JSON |
//! | `POST /v1/modules/<module>/broadcasts/<name>[?gather=true]` | emits the body; a receipt, or one entry per worker |
//! | `POST /v1/modules/<module>/reload[?force=true]` | reads `fanfare.json` and the folder again and swaps; what it came to |
//! | `POST /v1/modules/<module>/rollback[?to=<generation>]` | goes back to a generation that served before, and pins it |
//! | `POST /v1/reload[?force=true]` | the same for every module: one entry each |
//! | `POST /v1/modules/<module>/call?path=..[&method=..][&target=..]` | calls a route with the body |
//!
//! Beyond 64 connections (fewer under a very low limit of file descriptors) the oldest one that has
//! sent no request is closed; when all have sent something, `/livez` is answered, and everything
//! else gets 503.
//!
//! It is open to whoever reaches it, so a browser must not be made to: a foreign `Host`, `Origin` or
//! `Sec-Fetch-Site` is refused.

mod accept;
mod api;
mod guard;
mod metrics;
mod patient;
mod places;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

pub use accept::serve;
pub use status::status;

use crate::call::Problem;
use crate::config::Config;
use crate::dispatch::Dispatch;
use crate::net::Sockets;
use crate::registry::Roster;
use crate::swap::Swapper;

/// What the admin listener answers from.
pub struct Admin {
    config: Arc<Config>,
    dispatch: Arc<Dispatch>,
    roster: Arc<Roster>,
    swapper: Arc<Swapper>,
    closing: CancellationToken,
    /// Connections beyond those that are served.
    refused: Counter,
    /// Silent connections that were closed for others.
    evicted: Counter,
    lost_lines: LostLines,
    sockets: Arc<Sockets>,
    /// Open HTTP connections, by worker.
    open: Vec<Arc<AtomicUsize>>,
}

/// How many lines of the log had no room.
pub type LostLines = Arc<dyn Fn() -> usize + Send + Sync>;

type Answer = Response<Full<Bytes>>;

impl Admin {
    pub fn new(
        swapper: Arc<Swapper>,
        closing: CancellationToken,
        lost_lines: LostLines,
        sockets: Arc<Sockets>,
        open: Vec<Arc<AtomicUsize>>,
    ) -> Admin {
        Admin {
            config: swapper.config.clone(),
            dispatch: swapper.dispatch.clone(),
            roster: swapper.roster.clone(),
            swapper,
            closing,
            refused: Counter::default(),
            evicted: Counter::default(),
            lost_lines,
            sockets,
            open,
        }
    }

    /// How many HTTP connections are open.
    fn connections(&self) -> usize {
        self.open.iter().map(|open| open.load(Relaxed)).sum()
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if let Err(why) = guard::check(request.headers(), request.uri()) {
            return problem(Problem::new(StatusCode::FORBIDDEN, "forbidden", "not open to you", why));
        }
        let path = request.uri().path().to_owned();
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        let post = *request.method() == Method::POST;
        match segments.as_slice() {
            ["livez"] if get => text(StatusCode::OK, "ok\n"),
            ["readyz"] if get => self.readiness(),
            ["metrics"] if get => metrics::answer(self, request.headers()),
            ["v1", "status"] if get => document(StatusCode::OK, &status(self)),
            ["v1", "modules", module, "broadcasts", name] if post => api::emit(self, module, name, request).await,
            ["v1", "modules", module, "call"] if post => api::call(self, module, request).await,
            ["v1", "modules", module, "reload"] if post => api::reload(self, module, &query).await,
            ["v1", "modules", module, "rollback"] if post => api::rollback(self, module, &query).await,
            ["v1", "reload"] if post => api::reload_all(self, &query).await,
            ["livez" | "readyz" | "metrics"] | ["v1", "status"] => not_allowed("GET, HEAD"),
            ["v1", "modules", _, "broadcasts", _]
            | ["v1", "modules", _, "call" | "reload" | "rollback"]
            | ["v1", "reload"] => not_allowed("POST"),
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

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    answer
}

fn text(status: StatusCode, body: &str) -> Answer {
    answer(status, "text/plain; charset=utf-8", body.to_owned())
}

/// A document of [`api`](crate::api).
fn document(status: StatusCode, document: &impl Serialize) -> Answer {
    // Strings, numbers and JSON: nothing of it can fail.
    answer(status, "application/json", serde_json::to_string(document).unwrap_or_default() + "\n")
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
