//! Broadcasts, calls, reloads and rollbacks for the operator.

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::answer::{Answer, document, problem};
use super::state::AdminState;
use crate::api::{self, Queued, Receipt, Refusal, RefusedReload, ReloadEntry, Reply};
use crate::call::text::{NAME, line};
use crate::call::{
    CallError, CallOptions, Emission, GatherEntry, Group, IsolateId, Payload, Problem, ProblemCode, RouteName, Target,
};
use crate::dispatch::{Actor, Message};
use crate::swap::{ReloadOptions, SwapError};

pub async fn emit(admin: &AdminState, module: &str, name: &str, request: Request<Incoming>) -> Answer {
    let query = Query::of(request.uri().query().unwrap_or_default());
    let payload = match body(admin, request).await {
        Ok(payload) => payload,
        Err(answer) => return answer,
    };
    let (module, subdomain) = (Some(decoded(module)), query.get("subdomain"));
    let emission = Emission { module, name: decoded(name), subdomain, ..Emission::default() };
    let timeout = admin.config.limits.max.timeout;
    if query.get("gather").as_deref() == Some("true") {
        return match admin.dispatch.gather(&Actor::Operator, emission, payload, Some(timeout)).await {
            Ok(entries) => document(StatusCode::OK, &listed(entries)),
            Err(error) => problem(error.into()),
        };
    }
    // The operator learns whether the stream has a durable broadcast.
    let emitted = match admin.dispatch.emits_durably(&emission) {
        true => admin.dispatch.emit_durable(&Actor::Operator, emission, payload, Some(timeout)).await,
        false => admin.dispatch.emit(&Actor::Operator, emission, payload),
    };
    match emitted {
        Ok(receipt) => document(StatusCode::ACCEPTED, &Receipt::from(receipt)),
        Err(error) => problem(error.into()),
    }
}

/// Responds with [`Reloaded`] or a problem. `force=true` reloads even when a rollback has pinned
/// another generation, or the state cannot be handed over.
pub async fn reload(admin: &AdminState, module: &str, query: &str) -> Answer {
    match admin.swapper.reload_as_operator(&decoded(module), options(query)).await {
        Ok(reloaded) => document(StatusCode::OK, &reloaded),
        Err(error) => swap_error(&error),
    }
}

/// Responds with [`Reloaded`] or a problem. `to` is the beginning of a generation's digest; without
/// it the host rolls back to the previous generation.
pub async fn rollback(admin: &AdminState, module: &str, query: &str) -> Answer {
    let to = Query::of(query).get("to");
    // Every digest starts with an empty text.
    if to.as_deref() == Some("") {
        return invalid(
            "to: is empty; send the first characters of a generation's digest, or omit `to` for the previous one",
        );
    }
    match admin.swapper.rollback(&decoded(module), to.as_deref()).await {
        Ok(reloaded) => document(StatusCode::OK, &reloaded),
        Err(error) => swap_error(&error),
    }
}

/// Responds with a [`ReloadEntry`] for each module.
pub async fn reload_all(admin: &AdminState, query: &str) -> Answer {
    let results = match admin.swapper.reload_all_as_operator(options(query)).await {
        Ok(results) => results,
        Err(error) => return swap_error(&error),
    };
    let entries = results.into_iter().map(|(module, result)| match result {
        Ok(reloaded) => ReloadEntry::Reloaded(reloaded),
        Err(error) => {
            ReloadEntry::Refused(RefusedReload { module, outcome: Refusal::Refused, reason: error.to_string() })
        }
    });
    document(StatusCode::OK, &entries.collect::<Vec<_>>())
}

fn options(query: &str) -> ReloadOptions {
    ReloadOptions { force: Query::of(query).get("force").as_deref() == Some("true"), ..ReloadOptions::RENEW }
}

fn swap_error(error: &SwapError) -> Answer {
    problem(Problem::new(error.problem_code(), error.to_string()))
}

pub async fn call(admin: &AdminState, module: &str, request: Request<Incoming>) -> Answer {
    let query = Query::of(request.uri().query().unwrap_or_default());
    let payload = match body(admin, request).await {
        Ok(payload) => payload,
        Err(answer) => return answer,
    };
    let method = match query.get("method").map(|method| method.to_ascii_uppercase().parse::<Method>()) {
        None => None,
        Some(Ok(method)) => Some(method),
        Some(Err(_)) => return invalid("method: not an HTTP method"),
    };
    let path = query.get("path").unwrap_or_default();
    let (path, search) = path.split_once('?').unwrap_or((&path, ""));
    let path = path.trim_start_matches('/').to_owned();
    let name = RouteName { method, module: Some(decoded(module)), path, query: search.to_owned() };
    let options = CallOptions { subdomain: query.get("subdomain"), ..CallOptions::default() };
    match target(query.get("target").as_deref()) {
        Ok(Callee::One(target)) => match admin.dispatch.call(&Actor::Operator, target, &name, payload, options).await {
            Ok(reply) => document(StatusCode::OK, &Reply::from(reply)),
            Err(error) => problem(error.into()),
        },
        Ok(Callee::Every(group)) => {
            match admin.dispatch.call_every(&Actor::Operator, group, &name, payload, options).await {
                Ok(entries) => document(StatusCode::OK, &listed(entries)),
                Err(error) => problem(error.into()),
            }
        }
        Err(error) => problem(error.into()),
    }
}

/// Sends the body to the hook `masterMessage` of a module in an isolate. Responds with the
/// [`Reply`] of the module, or, with `wait=false`, with [`Queued`].
pub async fn message(
    admin: &AdminState,
    isolate: fn(u32) -> IsolateId,
    id: &str,
    request: Request<Incoming>,
) -> Answer {
    let Ok(id) = id.parse::<u32>() else {
        return invalid(format!("`{}` is no index of an isolate: use 0, 1, ..", line(&decoded(id), NAME)));
    };
    let query = Query::of(request.uri().query().unwrap_or_default());
    let payload = match body(admin, request).await {
        Ok(payload) => payload,
        Err(answer) => return answer,
    };
    let (to, module) = (isolate(id), query.get("module"));
    let message = Message::of_master(to, module.as_deref(), payload, admin.config.master.ipc_ack_timeout);
    if query.get("wait").as_deref() == Some("false") {
        return match admin.dispatch.post(&Actor::Operator, message) {
            Ok(module) => {
                document(StatusCode::ACCEPTED, &Queued { isolate: to.to_string(), module: module.to_string() })
            }
            Err(error) => problem(error.into()),
        };
    }
    let sent = async { admin.dispatch.send(&Actor::Operator, message)?.await };
    match sent.await {
        Ok(reply) => document(StatusCode::OK, &Reply::from(reply)),
        Err(error) => problem(error.into()),
    }
}

enum Callee {
    One(Target),
    Every(Group),
}

fn target(text: Option<&str>) -> Result<Callee, CallError> {
    let Some(text) = text else { return Ok(Callee::One(Target::Any)) };
    let numbered = |prefix: &str| text.strip_prefix(prefix).and_then(|index| index.parse::<u32>().ok());
    match text {
        "any" => Ok(Callee::One(Target::Any)),
        "master" => Ok(Callee::One(Target::Isolate(IsolateId::Master))),
        "workers" => Ok(Callee::Every(Group::Workers)),
        "brokers" => Ok(Callee::Every(Group::Brokers)),
        _ => match (numbered("worker-"), numbered("broker-")) {
            (Some(index), _) => Ok(Callee::One(Target::Isolate(IsolateId::Worker(index)))),
            (_, Some(index)) => Ok(Callee::One(Target::Isolate(IsolateId::Broker(index)))),
            _ => match text.split_once(':') {
                Some(("node", node)) => Ok(Callee::One(Target::Node(node.to_owned()))),
                Some(("server", server)) => Ok(Callee::One(Target::Server(server.to_owned()))),
                _ => Err(CallError::Invalid(format!(
                    "target: `{text}` is unknown; use any, worker-<n>, broker-<n>, master, workers, brokers, node:<id> \
                     or server:<type>"
                ))),
            },
        },
    }
}

/// The decoded pairs of a query.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(query: &str) -> Query {
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Query(pairs.collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }
}

pub(super) fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

pub(super) async fn body(admin: &AdminState, request: Request<Incoming>) -> Result<Payload, Answer> {
    let limit = usize::try_from(admin.config.http.max_body).unwrap_or(usize::MAX);
    let read = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(admin.config.http.body_timeout, read).await {
        Ok(Ok(body)) => Ok(Payload::guess(body.to_bytes().into())),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            let detail = format!("the body has more than {limit} bytes (http.maxBody)");
            Err(problem(Problem::new(ProblemCode::PayloadTooLarge, detail)))
        }
        Ok(Err(error)) => Err(invalid(format!("the body could not be read: {error}"))),
        Err(_) => {
            let detail = "the body did not arrive within http.bodyTimeout";
            Err(problem(Problem::new(ProblemCode::BodyTimeout, detail)))
        }
    }
}

pub(super) fn invalid(why: impl Into<String>) -> Answer {
    problem(CallError::Invalid(why.into()).into())
}

pub(super) fn listed(entries: Vec<GatherEntry>) -> Vec<api::GatherEntry> {
    entries.into_iter().map(api::GatherEntry::from).collect()
}
