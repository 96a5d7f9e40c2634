//! Modules of a chain that are removed or swapped while requests are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::crashes::{assert_unavailable, posting, staying};
use super::{copy_gates, gate, shop};
use crate::harness::{Answer, Connection, Started};

/// What the host has at a moment. The test counts on before and after each change, so that a
/// request that sees the same count twice ran in one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Present,
    Changing,
    Absent,
}

#[derive(Clone, Default)]
struct Phases(Arc<AtomicUsize>);

impl Phases {
    fn next(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// The phase of a request that began and ended at these counts.
    fn of(began: usize, ended: usize) -> Phase {
        match (began == ended, began % 4) {
            (true, 0) => Phase::Present,
            (true, 2) => Phase::Absent,
            _ => Phase::Changing,
        }
    }
}

async fn sent(client: &mut Connection, path: &str) -> Answer {
    let answer = client.send("POST", path, &[], "apples");
    tokio::time::timeout(Duration::from_secs(10), answer).await.expect("an answer")
}

#[tokio::test]
async fn every_request_is_answered_while_a_middleware_is_removed_and_returns() {
    const ROUNDS: usize = 8;
    let chain = json!([gate("change"), gate("change")]);
    let host = shop(chain.clone()).manifest(
        "shop",
        json!({
            "routes": [{ "path": "buy", "handler": "show", "middlewares": chain }, { "path": "open", "handler": "show" }],
            "broadcasts": { "sale": { "path": "buy" } },
        }),
    );
    let host = host.start().await;
    let phases = Phases::default();
    let buyers = (0..3).map(|_| {
        let (http, phases) = (host.http, phases.clone());
        tokio::spawn(async move {
            let (mut client, mut seen) = (Connection::open(http).await, [0, 0]);
            while phases.count() < ROUNDS * 4 {
                let began = phases.count();
                let answer = sent(&mut client, "/api/shop/buy").await;
                let phase = Phases::of(began, phases.count());
                match answer.status {
                    200 => assert_eq!(answer.json()["payload"], "apples!!"),
                    _ => assert_unavailable(&answer, "change"),
                }
                match phase {
                    Phase::Present => assert_eq!(answer.status, 200, "{}", answer.text()),
                    Phase::Absent => assert_eq!(answer.status, 503, "{}", answer.text()),
                    Phase::Changing => {}
                }
                seen[usize::from(answer.status == 503)] += 1;
                assert_eq!(sent(&mut client, "/api/shop/open").await.status, 200);
            }
            seen
        })
    });
    let buyers: Vec<_> = buyers.collect();
    let changing = async {
        for _ in 0..ROUNDS {
            phases.next();
            std::fs::remove_dir_all(host.folder("gates")).unwrap();
            assert_eq!(host.operate("modules/gates/reload").await["outcome"], "removed");
            phases.next();
            assert_unavailable(&host.post("/api/shop/buy", "apples").await, "change");
            phases.next();
            copy_gates(&host.folder("gates"));
            assert_eq!(host.operate("modules/gates/reload").await["outcome"], "started");
            phases.next();
            assert_eq!(host.post("/api/shop/buy", "apples").await.json()["payload"], "apples!!");
        }
    };
    let gathering = async {
        while phases.count() < ROUNDS * 4 {
            let entries = host.gather("shop", "sale", "plums").await;
            assert_eq!(entries.len(), 2, "{entries:?}");
            for entry in entries {
                match entry.get("reply") {
                    Some(reply) => assert!(reply["payload"].as_str().unwrap().contains("plums!!"), "{entry}"),
                    None => assert_eq!(entry["error"]["code"], "unavailable", "{entry}"),
                }
            }
        }
    };
    tokio::join!(changing, gathering);
    for buyer in buyers {
        let seen = buyer.await.unwrap();
        assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
    }
}

/// Waits for requests, and checks that each has passed a chain.
async fn assert_all(waiting: Vec<tokio::task::JoinHandle<Answer>>, payload: &str) {
    for waiting in waiting {
        let answer = waiting.await.unwrap();
        assert_eq!((answer.status, &answer.json()["payload"]), (200, &json!(payload)), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_request_in_a_middleware_that_is_removed_ends_in_it() {
    let host = staying(json!(gate("wait"))).start().await;
    let waiting = posting(&host, "/api/shop/buy", 2);
    host.until_holding(0, 2).await;
    std::fs::remove_dir_all(host.folder("gates")).unwrap();
    assert_eq!(host.operate("modules/gates/reload").await["outcome"], "removed");
    assert_unavailable(&host.post("/api/shop/buy", "apples").await, "wait");
    host.run(0, "waits", "release", Value::Null).await;
    assert_all(waiting, "apples!").await;

    // The next middleware of the chain has to exist.
    let host = staying(json!([gate("wait"), gate("change")])).start().await;
    let waiting = posting(&host, "/api/shop/buy", 2);
    host.until_holding(0, 2).await;
    std::fs::remove_dir_all(host.folder("gates")).unwrap();
    assert_eq!(host.operate("modules/gates/reload").await["outcome"], "removed");
    host.run(0, "waits", "release", Value::Null).await;
    for waiting in waiting {
        assert_unavailable(&waiting.await.unwrap(), "change");
    }
}

/// Swaps a module for a generation with this `config.number` and these further keys.
async fn swap(host: &Started, module: &str, number: u64, mut patch: Value) {
    patch["config"] = json!({ "number": number });
    host.rewrite(module, patch);
    let reload = host.reload(module).await;
    assert_eq!(reload["outcome"], "swapped", "{reload}");
}

#[tokio::test]
async fn a_request_in_a_chain_that_is_swapped_ends_in_it() {
    for module in ["gates", "shop"] {
        let host = staying(json!([gate("wait"), gate("change")])).config(json!({ "swap": { "quiesce": "10ms" } }));
        let host = host.start().await;
        let waiting = posting(&host, "/api/shop/buy", 2);
        host.until_holding(0, 2).await;
        let chain = [gate("wait"), gate("change"), gate("change")];
        let routes = json!([{ "path": "buy", "handler": "show", "middlewares": chain }]);
        let patch = if module == "shop" { json!({ "routes": routes }) } else { json!({}) };
        swap(&host, module, 2, patch).await;
        let later = posting(&host, "/api/shop/buy", 1);
        host.until_holding(0, 3).await;
        host.run(0, "waits", "release", Value::Null).await;
        assert_all(waiting, "apples!!").await;
        assert_all(later, if module == "shop" { "apples!!!" } else { "apples!!" }).await;
    }
}

/// The handler returns the number of its generation, and the chain of this generation makes the
/// payload longer that often.
#[tokio::test]
async fn a_request_passes_the_chain_of_the_generation_that_answers_it() {
    const SWAPS: usize = 20;
    let routes = |number: usize| {
        let chain: Vec<String> = (0..number).map(|_| gate("change")).collect();
        json!([{ "path": "buy", "handler": "show", "middlewares": chain }])
    };
    let host = shop(json!([gate("change")])).manifest("shop", json!({ "config": { "number": 1 } })).start().await;
    let phases = Phases::default();
    let clients = (0..4).map(|_| {
        let (http, phases) = (host.http, phases.clone());
        tokio::spawn(async move {
            let (mut client, mut seen) = (Connection::open(http).await, std::collections::BTreeSet::new());
            while phases.count() < SWAPS {
                let answer = sent(&mut client, "/api/shop/buy").await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                let number = answer.json()["number"].as_u64().unwrap();
                assert_eq!(answer.json()["payload"], format!("apples{}", "!".repeat(number as usize)));
                seen.insert(number);
            }
            seen
        })
    });
    let clients: Vec<_> = clients.collect();
    for number in 1..=SWAPS {
        let number = number % 4 + 1;
        swap(&host, "shop", number as u64, json!({ "routes": routes(number) })).await;
        phases.next();
    }
    for client in clients {
        let seen = client.await.unwrap();
        assert!(seen.len() > 1, "{seen:?}");
    }
}
