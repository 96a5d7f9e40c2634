//! Kills of workers and brokers for the operator.

use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::answer::{Answer, document, problem};
use super::api::{body, invalid};
use super::state::AdminState;
use crate::api::KillRequest;
use crate::call::{Payload, Problem};
use crate::swap::{KillError, KillTarget};

/// Responds with a list of [`KilledIsolate`](crate::api::KilledIsolate) or a problem. The body is a
/// [`KillRequest`] or empty.
pub async fn kill(
    admin: &AdminState,
    target: impl FnOnce(Option<u32>) -> KillTarget,
    request: Request<Incoming>,
) -> Answer {
    let wanted = match body(admin, request).await {
        Ok(Payload::None) => KillRequest::default(),
        Ok(Payload::Text(text)) => match serde_json::from_str(&text) {
            Ok(wanted) => wanted,
            Err(error) => return not_a_request(&error.to_string()),
        },
        Ok(Payload::Bytes(_)) => return not_a_request("it is not UTF-8"),
        Err(answer) => return answer,
    };
    match admin.swapper.kill(target(wanted.id), wanted.mode()).await {
        Ok(killed) => document(StatusCode::OK, &killed),
        Err(error) => kill_error(&error),
    }
}

fn not_a_request(why: &str) -> Answer {
    invalid(format!(
        "the body must be empty or JSON such as {{\"id\": 0, \"immediate\": true}}, both keys optional: {why}"
    ))
}

fn kill_error(error: &KillError) -> Answer {
    problem(Problem::new(error.problem_code(), error.to_string()))
}
