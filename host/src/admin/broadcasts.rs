//! Parked broadcasts, for the operator.

use http::StatusCode;

use super::answer::{Answer, document, problem};
use super::api::{Query, invalid};
use super::state::AdminState;
use crate::call::CallError;

/// Responds with the parked broadcasts, with `module` those of one module.
pub async fn parked(admin: &AdminState, query: &str) -> Answer {
    let Some(cluster) = &admin.cluster else { return alone() };
    match cluster.parked_broadcasts(Query::of(query).get("module").as_deref()).await {
        Ok(parked) => document(StatusCode::OK, &parked),
        Err(error) => problem(error.into()),
    }
}

/// Replays the parked broadcast `id`, or with `all=true` all of them, with `module` those of one
/// module. With `everywhere=true` all workers of all nodes run them.
pub async fn replay(admin: &AdminState, query: &str) -> Answer {
    let Some(cluster) = &admin.cluster else { return alone() };
    let query = Query::of(query);
    let is_true = |name: &str| query.get(name).as_deref() == Some("true");
    let everywhere = is_true("everywhere");
    let replayed = match (query.get("id").map(|id| id.parse::<u64>()), is_true("all")) {
        (Some(Ok(id)), false) => cluster.replay(id, everywhere).await,
        (None, true) => cluster.replay_all(query.get("module").as_deref(), everywhere).await,
        (Some(Err(_)), _) => return invalid("id: must be the number of a parked broadcast"),
        _ => return invalid("the query must have either `id` or `all=true`"),
    };
    match replayed {
        Ok(replayed) => document(StatusCode::OK, &replayed),
        Err(error) => problem(error.into()),
    }
}

fn alone() -> Answer {
    problem(CallError::Unavailable("nothing is parked, because cluster.nats is not set".to_owned()).into())
}
