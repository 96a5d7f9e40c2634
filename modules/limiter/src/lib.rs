//! Limits how often a route is called: a token bucket for each caller, in the memory of each
//! worker.
//!
//! A route names `limiter/check` among its `middlewares`. The query sets other values than the
//! module's `config`: `limiter/check?rate=1&burst=5&by=header:x-api-key`.
//!
//! - `rate`: the calls per second that a caller may make, in each worker. Default 10.
//! - `burst`: the calls that a caller may make at once. Default 20.
//! - `by`: what tells callers apart. `peer` is the address of the client, `session` the connected
//!   client, `header:<name>` a field of the request, and `all` counts all callers together. Default
//!   `peer`.
//!
//! A call beyond the limit ends with the failure `limited` and status 429. The answer to a request
//! has the field `retry-after`.

mod buckets;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::time::Instant;

use fanfare_sdk::http;
use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Outcome;

use buckets::{Buckets, Limit};

/// `config` of the module.
#[derive(Deserialize)]
struct Config {
    rate: f64,
    burst: f64,
    by: String,
}

thread_local! {
    static BUCKETS: RefCell<Buckets> = RefCell::new(Buckets::new(Instant::now()));
}

/// `POST check`: passes a call that is within the limit.
#[handler]
fn check(cx: Context, session: Option<Session>) -> Result<Outcome> {
    let Config { mut rate, mut burst, mut by } = config::get("")?.ok_or_else(|| invalid("config is empty"))?;
    for (name, value) in cx.query_pairs() {
        match name.as_str() {
            "rate" => rate = number("rate", &value)?,
            "burst" => burst = number("burst", &value)?,
            "by" => by = value,
            _ => return Err(invalid(format!("rate, burst and by are the settings, found {name:?}"))),
        }
    }
    let limit = Limit::new(rate, burst).ok_or_else(|| invalid("rate and burst must be above 0"))?;
    let key = format!("{} {}", cx.extra("for").unwrap_or_default(), caller(&by, &cx, session)?);
    match BUCKETS.with_borrow_mut(|buckets| buckets.take(&key, limit, Instant::now())) {
        Ok(()) => Ok(Outcome::pass()),
        Err(wait) => limited(wait.as_secs_f64().ceil().max(1.0) as u64, &cx),
    }
}

/// `GET demo`: three calls at once, then one each second.
#[handler]
fn demo() -> &'static str {
    "within the limit\n"
}

fn number(name: &str, value: &str) -> Result<f64> {
    value.parse().map_err(|_| invalid(format!("{name} must be a number, found {value:?}")))
}

fn invalid(why: impl Into<String>) -> Failure {
    Failure::new("invalid-limit", why)
}

/// What tells this caller from others.
fn caller(by: &str, cx: &Context, session: Option<Session>) -> Result<String> {
    Ok(match by.split_once(':') {
        Some(("header", name)) => cx.header(name).unwrap_or_default(),
        None if by == "all" => String::new(),
        None if by == "session" => session.map(|session| session.id().to_owned()).unwrap_or_default(),
        None if by == "peer" => peer(cx).unwrap_or_default(),
        _ => return Err(invalid(format!("by must be peer, session, all or header:<name>, found {by:?}"))),
    })
}

/// The address of the client without its port.
fn peer(cx: &Context) -> Option<String> {
    let peer = http::head(cx.id())?.peer;
    Some(peer.rsplit_once(':').map_or(peer.clone(), |(address, _)| address.to_owned()))
}

/// The end of a call beyond the limit. Only a request has a place for `retry-after`.
fn limited(seconds: u64, cx: &Context) -> Result<Outcome> {
    let detail = format!("too many calls: try again in {seconds} s");
    if cx.method().is_none() {
        return Err(Failure::new("limited", detail).with_status(429));
    }
    let problem = json!({ "title": "Too Many Requests", "status": 429, "code": "limited", "detail": detail });
    let reply = Reply::new(Json(problem))?.with_status(429);
    let reply = reply.with_header("content-type", "application/problem+json");
    Ok(Outcome::Reply(reply.with_header("retry-after", seconds.to_string())))
}

fanfare_sdk::module!(check, demo);
