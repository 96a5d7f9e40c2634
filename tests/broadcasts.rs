//! Broadcasts: one order, once in every worker, nothing lost, and the host's word on who emitted.

mod context;
mod failures;
mod gather;
mod lanes;
mod order;
mod refused;

use fanfare::tooling::{Call, IsolateId, Trigger};
use serde::Deserialize;

use crate::harness::{Started, eventually, json_of};

/// What `counts` writes down of a broadcast.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Heard {
    payload: Option<String>,
    id: u64,
    seq: u64,
    same_as_caller: bool,
    subdomain: Option<String>,
}

/// The broadcasts `append` of `counts` that ran in a worker's instance, in the order in which they started.
async fn heard(host: &Started, worker: u32) -> Vec<Heard> {
    let list = json_of(&host.call(&format!("worker-{worker}"), "counts", "list", "").await);
    serde_json::from_value(list["heard"].clone()).unwrap()
}

/// The same, once there are so many.
async fn heard_all(host: &Started, worker: u32, count: usize) -> Vec<Heard> {
    eventually("the broadcasts run", || async { heard(host, worker).await.len() >= count }).await;
    heard(host, worker).await
}

/// The worker and the sequence number, of a call that is a broadcast of this name.
fn broadcast(name: &str, call: &Call) -> Option<(u32, u64)> {
    match (&call.trigger, call.context.isolate) {
        (Trigger::Broadcast(broadcast), IsolateId::Worker(index)) if &*broadcast.name == name => {
            Some((index, broadcast.seq))
        }
        _ => None,
    }
}

fn seqs(heard: &[Heard]) -> Vec<u64> {
    heard.iter().map(|heard| heard.seq).collect()
}
