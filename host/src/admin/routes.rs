//! The paths of the admin listener.

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;

use super::answer::{Answer, document, not_allowed, problem, text};
use super::state::AdminState;
use super::status::{durable as durable_status, nodes as node_status, status};
use super::{api, broadcasts, events, kills, metrics, nodes, schedules};
use crate::call::{IsolateId, Problem, ProblemCode};
use crate::swap::KillTarget;
use crate::triggers::http::ForeignRequest;

pub async fn respond(admin: &AdminState, request: Request<Incoming>) -> Answer {
    if let Err(why) = ForeignRequest::check(request.headers(), request.uri()) {
        return problem(Problem::new(ProblemCode::Forbidden, why.to_string()));
    }
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    let post = *request.method() == Method::POST;
    match segments.as_slice() {
        ["livez"] if get => text(StatusCode::OK, "ok\n"),
        ["readyz"] if get => readiness(admin),
        ["metrics"] if get => metrics::answer(admin, request.headers()),
        ["v1", "status"] if get => document(StatusCode::OK, &status(admin)),
        ["v1", "events"] if get => events::answer(admin, request.headers(), &query),
        ["v1", "schedules"] if get => document(StatusCode::OK, &admin.schedules.status()),
        ["v1", "subscriptions"] if get => document(StatusCode::OK, &admin.subscriptions.status()),
        ["v1", "broadcasts"] if get => document(StatusCode::OK, &durable_status(admin)),
        ["v1", "broadcasts", "parked"] if get => broadcasts::parked(admin, &query).await,
        ["v1", "broadcasts", "replay"] if post => broadcasts::replay(admin, &query).await,
        ["v1", "nodes"] if get => document(StatusCode::OK, &node_status(admin)),
        ["v1", "nodes", node, "stop"] if post => nodes::stop(admin, node).await,
        ["v1", "schedules", "run"] if post => schedules::run(admin, request).await,
        ["v1", "modules", module, "broadcasts", name] if post => api::emit(admin, module, name, request).await,
        ["v1", "modules", module, "call"] if post => api::call(admin, module, request).await,
        ["v1", "modules", module, "reload"] if post => api::reload(admin, module, &query).await,
        ["v1", "modules", module, "rollback"] if post => api::rollback(admin, module, &query).await,
        ["v1", "workers", id, "message"] if post => api::message(admin, IsolateId::Worker, id, request).await,
        ["v1", "brokers", id, "message"] if post => api::message(admin, IsolateId::Broker, id, request).await,
        ["v1", "reload"] if post => api::reload_all(admin, &query).await,
        ["v1", "workers", "kill"] if post => kills::kill(admin, KillTarget::Workers, request).await,
        ["v1", "brokers", "kill"] if post => kills::kill(admin, KillTarget::Brokers, request).await,
        ["livez" | "readyz" | "metrics"]
        | ["v1", "status" | "events" | "schedules" | "subscriptions" | "nodes" | "broadcasts"] => {
            not_allowed("GET, HEAD")
        }
        ["v1", "broadcasts", "parked"] => not_allowed("GET, HEAD"),
        ["v1", "modules", _, "broadcasts", _]
        | ["v1", "modules", _, "call" | "reload" | "rollback"]
        | ["v1", "workers" | "brokers", _, "message"]
        | ["v1", "reload"]
        | ["v1", "broadcasts", "replay"]
        | ["v1", "schedules", "run"]
        | ["v1", "nodes", _, "stop"]
        | ["v1", "workers" | "brokers", "kill"] => not_allowed("POST"),
        _ => {
            let detail = format!("the admin listener has no path {path}");
            problem(Problem::new(ProblemCode::NotFound, detail))
        }
    }
}

fn readiness(admin: &AdminState) -> Answer {
    match (admin.stopping.is_cancelled(), admin.roster.is_ready()) {
        (true, _) => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        (false, false) => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        (false, true) => text(StatusCode::OK, "ready\n"),
    }
}
