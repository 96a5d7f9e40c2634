//! Runs schedules for the operator.

use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::answer::{Answer, document, problem};
use super::api::{Query, body, invalid, listed};
use super::state::AdminState;
use crate::api::Reply;
use crate::registry::ScheduleKind;
use crate::triggers::schedules::ByHand;

/// Runs the schedule `name` of `module`, with the body as its payload. Responds with the [`Reply`],
/// or with a list of entries if the schedule has the type `all`.
pub async fn run(admin: &AdminState, request: Request<Incoming>) -> Answer {
    let query = Query::of(request.uri().query().unwrap_or_default());
    let payload = match body(admin, request).await {
        Ok(payload) => payload,
        Err(answer) => return answer,
    };
    let (Some(module), Some(name)) = (query.get("module"), query.get("name")) else {
        return invalid("the query must have `module` and `name`");
    };
    let subdomain = query.get("subdomain");
    let timeout = admin.config.limits.max.timeout;
    let by_hand = ByHand { module: &module, name: &name, subdomain: subdomain.as_deref(), payload, timeout };
    match admin.schedules.run_by_hand(by_hand).await {
        Ok((ScheduleKind::All, entries)) => document(StatusCode::OK, &listed(entries)),
        Ok((ScheduleKind::Worker, entries)) => match entries.into_iter().next().map(|entry| entry.outcome) {
            Some(Ok(reply)) => document(StatusCode::OK, &Reply::from(reply)),
            Some(Err(error)) => problem(error.into()),
            None => invalid("no worker has run the schedule"),
        },
        Err(error) => problem(error.into()),
    }
}
