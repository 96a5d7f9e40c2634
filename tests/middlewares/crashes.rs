//! Instances that end while calls wait in a chain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{gate, shop};
use crate::harness::{Answer, Connection, Started, TestHost, eventually};

/// The ways in which `gates` ends its instance: a trap, `limits.cpu` and `limits.memory`.
const FALLS: [&str; 3] = ["trap", "spin", "hoard"];

/// [`shop`] in one worker, with routes that wait in the module `waits`.
pub fn staying(chain: Value) -> TestHost {
    let rights = json!({ "rpc": ["gates", "waits"] });
    let routes = json!([
        { "path": "buy", "handler": "show", "middlewares": chain },
        { "path": "stay", "handler": "stay", "middlewares": gate("change") },
        { "path": "ruin", "handler": "ruin" },
    ]);
    let alone = json!({ "capabilities": { "rpc": [], "broadcast": [] } });
    let host =
        shop(json!([])).and("waits").manifest("waits", alone).workers(1).manifest("shop", json!({ "routes": routes }));
    ["shop", "gates"].into_iter().fold(host, |host, module| {
        let limits = json!({ "cpu": "100ms", "memory": "8MiB" });
        host.manifest(module, json!({ "capabilities": rights, "limits": limits })).grant(module, rights.clone())
    })
}

/// Sends requests of their own connections in the background.
pub fn posting(host: &Started, path: &str, count: usize) -> Vec<JoinHandle<Answer>> {
    let request = |_| {
        let (http, path) = (host.http, path.to_owned());
        tokio::spawn(async move { Connection::open(http).await.send("POST", &path, &[], "apples").await })
    };
    (0..count).map(request).collect()
}

/// Checks the answer to a request whose middleware has ended.
#[track_caller]
pub fn assert_unavailable(answer: &Answer, does: &str) {
    assert_eq!((answer.status, answer.code()), (503, "unavailable".to_owned()), "{}", answer.text());
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&format!("the middleware gates/gate?do={does}: ")), "{detail}");
}

#[track_caller]
fn assert_crashed(answer: &Answer) {
    assert_eq!((answer.status, answer.code()), (500, "crashed".to_owned()), "{}", answer.text());
}

#[tokio::test]
async fn the_crash_of_a_middleware_ends_the_calls_that_wait_for_it_and_no_others() {
    for fall in FALLS {
        let host = staying(json!(gate("wait"))).start().await;
        let in_chain = posting(&host, "/api/shop/buy", 2);
        let behind = posting(&host, "/api/shop/stay", 2);
        host.until_holding(0, 4).await;
        assert_crashed(&host.post("/api/gates/ruin", fall).await);
        for waiting in in_chain {
            assert_unavailable(&waiting.await.unwrap(), "wait");
        }
        let slot = host.slot("shop", 0).await;
        assert_eq!((&slot["restarts"], &slot["inFlight"]), (&json!(0), &json!(2)), "{fall}: {slot}");
        host.until_restarted("gates", 0, 1).await;
        let later = posting(&host, "/api/shop/buy", 1);
        host.until_holding(0, 5).await;
        host.run(0, "waits", "release", Value::Null).await;
        for waiting in behind {
            let answer = waiting.await.unwrap();
            assert_eq!((answer.status, answer.text()), (200, "apples!"), "{fall}");
        }
        for waiting in later {
            let answer = waiting.await.unwrap();
            assert_eq!((answer.status, &answer.json()["payload"]), (200, &json!("apples!")), "{fall}");
        }
        host.until_running("gates", 0, 0).await;
        host.until_running("shop", 0, 0).await;
    }
}

#[tokio::test]
async fn the_crash_of_a_handler_ends_its_calls_in_the_chain_and_none_of_the_middleware() {
    for fall in FALLS {
        let host = staying(json!(gate("wait"))).start().await;
        let mut waiting = posting(&host, "/api/shop/buy", 2);
        waiting.extend(posting(&host, "/api/shop/stay", 2));
        host.until_holding(0, 4).await;
        assert_crashed(&host.post("/api/shop/ruin", fall).await);
        for waiting in waiting {
            let answer = waiting.await.unwrap();
            assert_crashed(&answer);
            assert!(answer.text().contains("the instance of shop"), "{fall}: {}", answer.text());
        }
        host.until_restarted("shop", 0, 1).await;
        let slot = host.slot("gates", 0).await;
        assert_eq!((&slot["restarts"], &slot["state"]), (&json!(0), &json!("ready")), "{fall}: {slot}");
        let later = posting(&host, "/api/shop/buy", 1);
        host.until_holding(0, 5).await;
        host.run(0, "waits", "release", Value::Null).await;
        for waiting in later {
            let answer = waiting.await.unwrap();
            assert_eq!((answer.status, &answer.json()["payload"]), (200, &json!("apples!")), "{fall}");
        }
        // The middlewares of the calls that have crashed leave nothing behind.
        host.until_running("gates", 0, 0).await;
        host.until_running("shop", 0, 0).await;
    }
}

#[tokio::test]
async fn calls_that_wait_for_a_serial_middleware_continue_in_its_next_instance() {
    let host = staying(json!(gate("header"))).limit("gates", "concurrency", 1).limit("gates", "cpu", "300ms");
    let host = host.start().await;
    let http = host.http;
    let spins = tokio::spawn(async move {
        Connection::open(http).await.send("POST", "/api/shop/buy", &[("x-gate", "spin")], "apples").await
    });
    host.until_running("gates", 0, 1).await;
    let behind = posting(&host, "/api/shop/buy", 2);
    assert_unavailable(&spins.await.unwrap(), "header");
    for waiting in behind {
        let answer = waiting.await.unwrap();
        assert_eq!((answer.status, &answer.json()["payload"]), (200, &json!("apples!")), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_kill_leaves_no_call_of_a_chain_without_an_answer() {
    let host = staying(json!(gate("wait"))).limit("shop", "concurrency", 1).start().await;
    let mut waiting = posting(&host, "/api/shop/buy", 1);
    host.until_holding(0, 1).await;
    waiting.extend(posting(&host, "/api/shop/buy", 2));
    host.until_waiting("shop", 0, 2).await;
    let killed = host.kill(0, true).await;
    assert!(killed.is_array(), "{killed}");
    eventually("every request has an answer", || async {
        host.run(0, "waits", "release", Value::Null).await;
        waiting.iter().all(JoinHandle::is_finished)
    })
    .await;
    for (index, waiting) in waiting.into_iter().enumerate() {
        // The kill ends one module after another, and those that live still start calls.
        let answer = waiting.await.unwrap();
        match answer.status {
            200 if index > 0 => assert_eq!(answer.json()["payload"], "apples!"),
            503 => assert_unavailable(&answer, "wait"),
            _ => assert_crashed(&answer),
        }
    }
    let later = posting(&host, "/api/shop/buy", 1);
    host.release_waiting(0).await;
    for waiting in later {
        assert_eq!(waiting.await.unwrap().json()["payload"], "apples!");
    }
}

#[tokio::test]
async fn every_request_of_a_chain_is_answered_while_its_modules_crash() {
    let host = staying(json!([gate("change"), gate("header")])).workers(2).max_restarts(1_000).start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for number in 0..4 {
        let (http, stop) = (host.http, stop.clone());
        clients.push(tokio::spawn(async move {
            let (mut client, mut passed) = (Connection::open(http).await, 0);
            while !stop.load(Ordering::Relaxed) {
                let path = if number == 0 { "/api/waits/ok" } else { "/api/shop/buy" };
                let answer = client.send("POST", path, &[], "apples");
                let answer = tokio::time::timeout(Duration::from_secs(10), answer).await.expect("an answer");
                match (answer.status, number) {
                    (200, 0) => passed += 1,
                    (200, _) => {
                        assert_eq!(answer.json()["payload"], "apples!!");
                        passed += 1;
                    }
                    (503, 1..) => {
                        assert_eq!(answer.code(), "unavailable");
                        assert!(answer.text().contains("the middleware gates/gate"), "{}", answer.text());
                    }
                    _ => assert_crashed(&answer),
                }
                assert!(number > 0 || answer.status == 200, "no other module notices: {}", answer.text());
            }
            passed
        }));
    }
    for fall in FALLS.into_iter().cycle().take(12) {
        let fallen = host.request("POST", "/api/shop/buy", &[("x-gate", fall)], "apples").await;
        assert_eq!(fallen.status, 503, "{fall}: {}", fallen.text());
        assert_crashed(&host.post("/api/shop/ruin", fall).await);
    }
    for module in ["shop", "gates"] {
        for worker in [0, 1] {
            host.until(module, worker, "state", "ready").await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
    for _ in 0..4 {
        let answer = host.post("/api/shop/buy", "apples").await;
        assert_eq!((answer.status, &answer.json()["payload"]), (200, &json!("apples!!")));
    }
    for module in ["shop", "gates"] {
        for worker in [0, 1] {
            eventually("no call is left", || async { host.slot(module, worker).await["inFlight"] == 0 }).await;
        }
    }
}
