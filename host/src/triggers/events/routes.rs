//! The paths of the service.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::{Method, StatusCode};

use super::service::EventService;
use super::{access, answers, post, subscribe};
use crate::triggers::http::{HostRequest, HttpResponse, ProblemResponse, allow, options};

/// Responds to a request. `is_served` is whether its connection is within the limit.
pub(super) async fn respond(service: Arc<EventService>, request: HostRequest, is_served: bool) -> HttpResponse {
    let trace = request.trace;
    if let Err(why) = access::check(service.token.as_ref(), &request.headers, &request.uri) {
        service.counters.denied.fetch_add(1, Relaxed);
        let (problem, challenge) = answers::denied(&why);
        return answers::with_challenge(problem.with_trace(trace).into_response(), challenge);
    }
    let answered = match is_served {
        true => route(&service, request).await,
        false => {
            service.counters.refused_connections.fetch_add(1, Relaxed);
            let most = service.max_connections();
            let detail = format!("{most} connections are already open (`events.maxConnections`): close one first");
            Err(answers::overloaded(detail).with_close())
        }
    };
    answered.unwrap_or_else(|problem| {
        if problem.status() == StatusCode::BAD_REQUEST {
            service.counters.invalid.fetch_add(1, Relaxed);
        }
        problem.with_trace(trace).into_response()
    })
}

async fn route(service: &Arc<EventService>, request: HostRequest) -> Result<HttpResponse, ProblemResponse> {
    const ROOT: [Method; 1] = [Method::GET];
    const EVENTS: [Method; 2] = [Method::GET, Method::POST];
    match (request.uri.path(), &request.method) {
        ("/", &Method::GET | &Method::HEAD) => Ok(answers::document(&service.status())),
        ("/", &Method::OPTIONS) => Ok(options(allow(&ROOT))),
        ("/", other) => Err(ProblemResponse::method_not_allowed(other, &ROOT)),
        ("/events", &Method::GET | &Method::HEAD) => subscribe::answer(service, &request).await,
        ("/events", &Method::POST) => post::answer(service, request).await,
        ("/events" | "*", &Method::OPTIONS) => Ok(options(allow(&EVENTS))),
        ("/events", other) => Err(ProblemResponse::method_not_allowed(other, &EVENTS)),
        (path, _) => Err(ProblemResponse::not_found(format!(
            "the event service has no path `{path}`: use `/events`, or `/` for its description"
        ))),
    }
}
