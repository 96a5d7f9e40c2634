//! Broadcasts run once in every worker, in one order, and none is lost. The host vouches for the
//! emitter.

mod context;
mod failures;
mod gather;
mod lanes;
mod order;
mod refused;

use fanfare::tooling::{Call, IsolateId, Trigger};
use serde::Deserialize;

use crate::harness::{Started, eventually, json_of};

/// A broadcast as `counts` records it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Heard {
    payload: Option<String>,
    id: u64,
    seq: u64,
    same_as_caller: bool,
    subdomain: Option<String>,
}

/// The broadcasts `append` of `counts` that ran in a worker's instance, in the order in which they
/// started.
async fn heard(host: &Started, worker: u32) -> Vec<Heard> {
    let list = json_of(&host.call(&format!("worker-{worker}"), "counts", "list", "").await);
    serde_json::from_value(list["heard"].clone()).unwrap()
}

/// The same, once there are at least `count`.
async fn heard_all(host: &Started, worker: u32, count: usize) -> Vec<Heard> {
    eventually("the broadcasts have run", || async { heard(host, worker).await.len() >= count }).await;
    heard(host, worker).await
}

/// The worker and the sequence number, if the call is a broadcast of this name.
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
