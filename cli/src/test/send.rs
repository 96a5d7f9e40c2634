//! Sends the calls of test cases to the temporary host, as a client or as the operator.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::uri::{Authority, InvalidUri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use super::case::{Broadcast, Call, From, Receive, Schedule, body};
use super::expect::Answer;
use super::websocket::ConnectError;
use crate::client::{ExchangeError, encoded, exchange};
use fanfare::RunningHost;
use fanfare::api::{GatherEntry, Problem, Reply};
use fanfare::tooling::Problem as HostProblem;
use fanfare::tooling::{Access, CallError, Manifest, Payload, Route, RouteLookup, RouteSpec, Router};

/// Longer than `limits.timeout`, whose default ceiling is one minute.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Characters that the target of a request cannot contain unencoded.
pub(super) const TARGET: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'#').add(b'\\').add(b'^');

/// Why a case got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("{0:?} is not a valid header name")]
    HeaderName(String),
    #[error("{0:?} is not a valid header value")]
    HeaderValue(String),
    #[error("{0:?} is not a valid request target")]
    Target(String),
    #[error("no stream {0:?} is open: open it in an earlier case, with `stream`")]
    NoStream(String),
    #[error("no client {0:?} is connected: connect it in an earlier case, with `client`")]
    NoClient(String),
    #[error("the connection of the client {0:?} is closed")]
    ClientClosed(String),
    #[error(
        "the client {0:?} is a plain WebSocket, whose messages have no names: remove `event`, or connect it with `protocol`"
    )]
    NoEvents(String),
    #[error("the host has not answered the event of the client {0:?}")]
    NoAnswer(String),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("the host returned an unexpected document: {0}; this is a defect of fanfare, please report it")]
    Document(#[from] serde_json::Error),
}

pub async fn call(host: &RunningHost, manifest: &Manifest, call: &Call) -> Result<Answer, SendError> {
    let path = call.path.strip_prefix('/').unwrap_or(&call.path);
    match call.from {
        From::Http => {
            let method = call.method().unwrap_or_else(|| default_method(manifest, path));
            let target = format!("/api/{}/{}", manifest.name, utf8_percent_encode(path, TARGET));
            let mut headers = HeaderMap::new();
            match call.body.get() {
                None => {}
                Some(Value::String(_)) => _ = headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain")),
                Some(_) => _ = headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json")),
            }
            headers.extend(headers_of(&call.headers)?);
            send(host.addr(), method, &target, headers, call.body.get()).await
        }
        From::Inside => {
            let method = call.method().map(|method| format!("method={method}&")).unwrap_or_default();
            let target = format!("/v1/modules/{}/call?{method}path={}", manifest.name, encoded(path));
            let answer = send(host.admin_addr(), Method::POST, &target, HeaderMap::new(), call.body.get()).await?;
            if answer.code.is_some() {
                return Ok(answer);
            }
            Ok(of_reply(serde_json::from_str(&answer.body)?))
        }
    }
}

pub async fn broadcast(host: &RunningHost, module: &str, broadcast: &Broadcast) -> Result<Vec<Answer>, SendError> {
    let target = format!("/v1/modules/{module}/broadcasts/{}?gather=true", encoded(&broadcast.name));
    let answer = send(host.admin_addr(), Method::POST, &target, HeaderMap::new(), broadcast.body.get()).await?;
    if answer.code.is_some() {
        return Ok(vec![answer]);
    }
    let entries: Vec<GatherEntry> = serde_json::from_str(&answer.body)?;
    Ok(entries.into_iter().map(of_entry).collect())
}

/// Runs a schedule. Returns an answer for each worker that has run it.
pub async fn schedule(host: &RunningHost, module: &str, schedule: &Schedule) -> Result<Vec<Answer>, SendError> {
    let target = format!("/v1/schedules/run?module={module}&name={}", encoded(&schedule.name));
    let answer = send(host.admin_addr(), Method::POST, &target, HeaderMap::new(), schedule.body.get()).await?;
    if answer.code.is_some() {
        return Ok(vec![answer]);
    }
    // The host returns a list for the type `all`.
    if !answer.body.trim_start().starts_with('[') {
        return Ok(vec![of_reply(serde_json::from_str(&answer.body)?)]);
    }
    let entries: Vec<GatherEntry> = serde_json::from_str(&answer.body)?;
    Ok(entries.into_iter().map(of_entry).collect())
}

/// Delivers a message to a subscription, and waits until its handler has ended.
pub async fn receive(host: &RunningHost, module: &str, receive: &Receive) -> Answer {
    let payload = receive.body.get().map_or(Payload::None, |value| Payload::Text(body(value)));
    of_result(host.deliver(module, &receive.name, &receive.topic, receive.id.as_deref(), payload).await)
}

/// The answer to a step that returns no body.
pub fn of_result(result: Result<(), CallError>) -> Answer {
    match result {
        Ok(()) => Answer { status: 204, ..Answer::default() },
        Err(error) => {
            let problem = HostProblem::from(error).into_document();
            Answer { status: problem.status, body: problem.to_string(), code: Some(problem.code), ..Answer::default() }
        }
    }
}

/// The method of a call that names none: the method that all routes of the path share, else POST.
fn default_method(manifest: &Manifest, path: &str) -> Method {
    let path = path.split('?').next().unwrap_or_default();
    let specs = manifest.routes.iter().map(|route| RouteSpec {
        method: route.method.clone(),
        path: route.path.clone(),
        route: Arc::new(Route {
            deployment: 0,
            handler: Arc::from(""),
            text: Arc::from(route.method.as_str()),
            chain: Vec::new(),
        }),
        access: Access::default(),
    });
    match Router::new(specs).find_inside(None, path) {
        RouteLookup::Route(matched) => matched.route.text.parse().unwrap_or(Method::POST),
        _ => Method::POST,
    }
}

/// The answer in a reply from the admin listener.
fn of_reply(reply: Reply) -> Answer {
    let Reply { status, headers, payload } = reply;
    Answer { isolate: None, status, headers, body: payload.unwrap_or_default(), code: None }
}

fn of_entry(entry: GatherEntry) -> Answer {
    let answer = match (entry.reply, entry.error) {
        (Some(reply), _) => of_reply(reply),
        (None, Some(problem)) => {
            Answer { status: problem.status, body: problem.to_string(), code: Some(problem.code), ..Answer::default() }
        }
        (None, None) => Answer { status: 500, ..Answer::default() },
    };
    Answer { isolate: Some(entry.isolate), ..answer }
}

/// Sends a request on a new connection.
async fn send(
    address: SocketAddr,
    method: Method,
    target: &str,
    headers: HeaderMap,
    payload: Option<&Value>,
) -> Result<Answer, SendError> {
    let target: Uri = target.parse().map_err(|_| SendError::Target(target.to_owned()))?;
    let mut request = Request::new(Full::<Bytes>::from(payload.map(body).unwrap_or_default()));
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, target, headers);
    let (head, body) = exchange(&authority(address)?, request, TIMEOUT).await?.into_parts();
    Ok(answer_of(&head, &body))
}

pub fn authority(address: SocketAddr) -> Result<Authority, SendError> {
    address.to_string().parse().map_err(|_: InvalidUri| SendError::Target(address.to_string()))
}

/// The headers of a request, as a file writes them.
pub fn headers_of(written: &BTreeMap<String, String>) -> Result<HeaderMap, SendError> {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        let name: HeaderName = name.parse().map_err(|_| SendError::HeaderName(name.clone()))?;
        let value = value.parse().map_err(|_| SendError::HeaderValue(value.clone()))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The answer in a response.
pub fn answer_of(head: &Parts, body: &[u8]) -> Answer {
    let body = String::from_utf8_lossy(body).into_owned();
    let is_problem = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    let problem: Option<Problem> = is_problem.then(|| serde_json::from_str(&body).ok()).flatten();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    Answer { isolate: None, status: head.status.as_u16(), headers, code: problem.map(|problem| problem.code), body }
}
