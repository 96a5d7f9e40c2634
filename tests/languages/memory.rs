//! What an instance of Python loses with every call does not end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use super::sdk::{calls_of, python};
use crate::harness::{Connection, TestHost};

/// The calls that are in flight at once.
const AT_ONCE: usize = 64;

/// A little more than an instance needs.
const LIMIT: &str = "15MiB";

#[tokio::test]
async fn an_instance_of_python_is_replaced_with_its_state_before_its_memory_is_full() {
    let change = |host: TestHost| host.limit("conformance", "memory", LIMIT);
    let Some(host) = python::SDK.start(change).await else { return };
    let stop = Arc::new(AtomicBool::new(false));
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
    let labels = ["module=\"conformance\"", "isolate=\"worker-0\"", "reason=\"memory\""];
    let mut asked = 0;
    while host.metric("fanfare_replacements_total", &labels).await == 0.0 {
        calls_of(&host).await;
        asked += 1;
    }
    stop.store(true, Ordering::Release);
    let answered: u64 = clients.join_all().await.into_iter().sum();
    assert_eq!(calls_of(&host).await, answered + asked + 1, "the state was handed over");
    let slot = host.slot("conformance", 0).await;
    assert_eq!((&slot["restarts"], &slot["replaced"]), (&json!(0), &json!(1)), "{slot}");
}
