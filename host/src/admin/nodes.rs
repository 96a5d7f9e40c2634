//! Requests of the operator to a node of the cluster.

use http::StatusCode;

use super::answer::{Answer, document, problem};
use super::api::decoded;
use super::state::AdminState;
use crate::api::StopRequested;
use crate::call::CallError;

/// Asks a node to stop in order: this one, or another one through the cluster. Responds when it has
/// begun.
pub async fn stop(admin: &AdminState, node: &str) -> Answer {
    let node = decoded(node);
    let asked = match &admin.cluster {
        _ if node == admin.config.node.id => {
            admin.asked_to_stop.cancel();
            Ok(())
        }
        Some(cluster) => cluster.ask_to_stop(&node).await,
        None => Err(CallError::NotFound(format!("there is no node {node}, because cluster.nats is not set"))),
    };
    match asked {
        Ok(()) => document(StatusCode::ACCEPTED, &StopRequested { node }),
        Err(error) => problem(error.into()),
    }
}
