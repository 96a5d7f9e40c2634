//! What an instance of Python loses with every call does not end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use super::sdk::{calls_of, python};
use crate::harness::{Connection, Started, eventually};

/// The calls that are in flight at once.
const AT_ONCE: usize = 64;

/// The calls after which an instance has loaded what it keeps.
const FIRST: f64 = 256.0;

/// The memory that an instance may lose, in KiB. It is replaced when a half of that is lost.
const LEFT: u64 = 512;

/// Calls the module until `stop`. The number of answers is the result of each client.
fn clients(host: &Started, stop: &Arc<AtomicBool>) -> JoinSet<u64> {
    let mut clients = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (http, stop) = (host.http, stop.clone());
        clients.spawn(async move {
            let (mut client, mut answered) = (Connection::open(http).await, 0);
            while !stop.load(Ordering::Acquire) {
                let answer = client.send("POST", "/api/conformance/state", &[], "").await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                answered += 1;
            }
            answered
        });
    }
    clients
}

/// Returns the memory that an instance has after its first calls, in KiB.
async fn needed() -> Option<u64> {
    let host = python::SDK.start(|host| host).await?;
    let clients = clients(&host, &Arc::default());
    let warm = || async { host.ended("conformance", 0, "http", "ok").await > FIRST };
    eventually("the instance has run its first calls", warm).await;
    drop(clients);
    let labels = ["module=\"conformance\"", "isolate=\"worker-0\""];
    Some(host.metric("fanfare_instance_memory_bytes", &labels).await as u64 / 1024)
}

#[tokio::test]
async fn an_instance_of_python_is_replaced_with_its_state_before_its_memory_is_full() {
    let Some(needed) = needed().await else { return };
    let limit = format!("{}KiB", needed + LEFT);
    let Some(host) = python::SDK.start(|host| host.limit("conformance", "memory", limit)).await else { return };
    let stop = Arc::default();
    let mut clients = clients(&host, &stop);
    let labels = ["module=\"conformance\"", "isolate=\"worker-0\"", "reason=\"memory\""];
    while host.metric("fanfare_replacements_total", &labels).await == 0.0 {
        assert!(clients.try_join_next().is_none(), "a client ends only when a call fails");
    }
    stop.store(true, Ordering::Release);
    let answered: u64 = clients.join_all().await.into_iter().sum();
    assert_eq!(calls_of(&host).await, answered + 1, "the state was handed over");
    let slot = host.slot("conformance", 0).await;
    assert_eq!((&slot["restarts"], &slot["replaced"]), (&json!(0), &json!(1)), "{slot}");
}
