//! Waits for what each node answers to a broadcast.

use async_nats::StatusCode;
use futures_util::future::select_all;
use tokio_util::sync::CancellationToken;

use super::presence::Reachable;
use super::waiting::Answers;
use super::wire::{Answer, Entries};
use crate::call::{CallError, GatherEntry, IsolateId, Peer};

/// The same error for each worker of a node.
pub(super) fn entries_of(peer: &Peer, error: &CallError) -> Vec<GatherEntry> {
    let entry = |worker| GatherEntry {
        isolate: IsolateId::Worker(worker),
        node: Some(peer.id.to_string()),
        outcome: Err(error.clone()),
    };
    (0..peer.workers).map(entry).collect()
}

/// Waits for the entries of each node. A node that is lost, or that has not answered in time, gets
/// an error for each of its workers.
pub(super) async fn collect(
    mut answers: Answers,
    holders: Vec<Reachable>,
    lost: CancellationToken,
    until: tokio::time::Instant,
) -> Vec<GatherEntry> {
    let mut entries = Vec::new();
    let mut open = holders;
    while !open.is_empty() {
        let gone = select_all(open.iter().map(|node| Box::pin(node.gone.clone().cancelled_owned())));
        tokio::select! {
            biased;
            answer = answers.next() => {
                let Some(message) = answer else { break };
                if message.status == Some(StatusCode::NO_RESPONDERS) {
                    let lost = |node: &Reachable| {
                        let why = format!("node {} was lost", node.peer.id);
                        entries_of(&node.peer, &CallError::Unavailable(why))
                    };
                    entries.extend(open.iter().flat_map(lost));
                    break;
                }
                let Ok(answer) = Answer::read(&message.payload) else { continue };
                let Some(at) = open.iter().position(|node| *node.peer.id == answer.node) else { continue };
                let node = open.swap_remove(at);
                match answer.result {
                    Entries::All(found) => {
                        let named = |entry| GatherEntry { node: Some(answer.node.clone()), ..entry };
                        entries.extend(found.into_iter().map(named));
                    }
                    Entries::Error(error) => entries.extend(entries_of(&node.peer, &error)),
                    Entries::Act(_) => {}
                }
            }
            _ = gone => {
                let (ended, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(|node| node.gone.is_cancelled());
                for node in ended {
                    let why = format!("node {} was lost; the broadcast may have run there", node.peer.id);
                    entries.extend(entries_of(&node.peer, &CallError::Crashed(why)));
                }
                open = rest;
            }
            () = lost.cancelled() => {
                let error = CallError::Crashed("the connection to NATS was lost; the broadcast may have run".to_owned());
                entries.extend(open.iter().flat_map(|node| entries_of(&node.peer, &error)));
                break;
            }
            () = tokio::time::sleep_until(until) => {
                let late = |node: &Reachable| {
                    entries_of(&node.peer, &CallError::Timeout(Some(format!("node {} has not answered", node.peer.id))))
                };
                entries.extend(open.iter().flat_map(late));
                break;
            }
        }
    }
    entries.sort_by(|one, other| (&one.node, one.isolate).cmp(&(&other.node, other.isolate)));
    entries
}
