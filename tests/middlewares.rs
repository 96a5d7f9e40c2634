//! Middlewares that are routes of modules.

mod changes;
mod crashes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::{Connection, Started, TestHost, eventually, source_of};

/// A module `shop` with the route `buy` behind these middlewares, and the module `gates`.
fn shop(chain: Value) -> TestHost {
    let route = json!({ "path": "buy", "handler": "show", "middlewares": chain });
    let rights = json!({ "rpc": ["gates"] });
    TestHost::with("gates")
        .and_as("gates", "shop")
        .manifest("shop", json!({ "routes": [route], "capabilities": rights }))
        .grant("shop", rights)
}

/// Puts the module `gates` in front of a route of another module. `does` is what the gate does.
pub fn behind(host: TestHost, module: &str, path: &str, does: &str) -> TestHost {
    let rights = json!({ "rpc": ["gates"] });
    let with_gate = |text: String| {
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        let routes = manifest["routes"].as_array_mut().unwrap();
        let route = routes.iter_mut().find(|route| route["path"] == path).unwrap();
        let before = route["middlewares"].as_str().map(str::to_owned);
        route["middlewares"] = json!(before.into_iter().chain([gate(does)]).collect::<Vec<_>>());
        manifest.to_string()
    };
    host.and("gates")
        .manifest_text(module, with_gate)
        .manifest(module, json!({ "capabilities": rights }))
        .grant(module, rights)
}

fn gate(does: &str) -> String {
    format!("gates/gate?do={does}")
}

async fn buy(host: &Started) -> (u16, Value) {
    let answer = host.request("POST", "/api/shop/buy", &[("user-agent", "curl")], "apples").await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_else(|_| json!(answer.text())))
}

#[tokio::test]
async fn middlewares_run_in_order_in_the_same_worker_and_pass_facts_and_payloads() {
    let host = shop(json!([gate("fact"), gate("change"), gate("pass"), gate("fact"), gate("change")])).start().await;
    for _ in 0..4 {
        let (status, shown) = buy(&host).await;
        assert_eq!((status, &shown["payload"]), (200, &json!("apples!!")), "{shown}");
        let facts = shown["facts"].as_array().unwrap();
        assert_eq!(facts.len(), 2, "{shown}");
        for (index, fact) in facts.iter().enumerate() {
            assert_eq!(fact[0], "gates.seen");
            let seen: Value = serde_json::from_str(fact[1].as_str().unwrap()).unwrap();
            let expected = json!({
                "for": "POST shop/buy", "facts": index + 1, "http": true, "broadcast": false, "agent": "curl",
                "isolate": shown["isolate"],
            });
            assert_eq!(seen, expected);
        }
    }
}

#[tokio::test]
async fn a_middleware_is_the_route_that_a_call_finds() {
    // `POST gates/gate` finds the route with a parameter, because `gate` itself is for GET.
    let routes = json!([
        { "method": "get", "path": "gate", "handler": "show" },
        { "path": "{name}", "handler": "gate", "middlewares": "inner" },
    ]);
    let host = shop(json!([gate("change")])).manifest("gates", json!({ "routes": routes })).start().await;
    let (status, shown) = buy(&host).await;
    assert_eq!((status, &shown["payload"]), (200, &json!("apples!")), "{shown}");
}

#[tokio::test]
async fn what_a_middleware_does_is_no_failure_of_a_canary_behind_it() {
    let host = shop(json!("inner")).start().await;
    host.rewrite(
        "shop",
        json!({
            "routes": [{ "path": "buy", "handler": "show", "middlewares": [gate("never")] }],
            "limits": { "timeout": "200ms" },
            "rollout": { "canary": 1, "for": "1s", "maxFailures": 0 },
        }),
    );
    let reload = host.start_canary("shop").await;
    assert_eq!(host.call("worker-0", "shop", "buy", "").await["code"], "timeout");
    reload.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_middleware_that_replies_or_fails_ends_the_call() {
    for (does, status, code) in [("fail", 403, "no-ticket"), ("unknown", 400, "unknown")] {
        let host = shop(json!([gate("pass"), gate(does), gate("trap")])).start().await;
        let (found, problem) = buy(&host).await;
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{problem}");
    }
    let host = shop(json!([gate("reply"), gate("trap")])).start().await;
    let answer = host.post("/api/shop/buy", "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    assert_eq!(answer.text(), "the gate answers");
}

#[tokio::test]
async fn a_middleware_that_fails_the_host_is_no_fault_of_the_route() {
    let host = shop(json!(gate("trap"))).start().await;
    let (status, problem) = buy(&host).await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("the middleware gates/gate?do=trap: the instance of gates"), "{detail}");

    for (does, limit) in [("huge", "passes a payload of 2000000 bytes"), ("flood", "passes facts of 20000")] {
        let host = shop(json!([gate(does)])).limit("gates", "payload", "4MiB").limit("shop", "payload", "1MiB");
        let host = host.config(json!({ "limits": { "max": { "payload": "8MiB" } } })).start().await;
        let (status, problem) = buy(&host).await;
        assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(limit), "{problem}");
    }

    let host = shop(json!([gate("never")])).limit("shop", "timeout", "300ms").start().await;
    let (status, problem) = buy(&host).await;
    assert_eq!((status, &problem["code"]), (504, &json!("timeout")), "{problem}");
}

#[tokio::test]
async fn middlewares_run_for_every_trigger_and_for_serial_and_fresh_modules() {
    for patch in [json!({}), json!({ "limits": { "concurrency": 1 } }), json!({ "isolation": "fresh" })] {
        let host = shop(json!([gate("fact"), gate("change")])).manifest("shop", patch.clone()).start().await;
        let (status, shown) = buy(&host).await;
        assert_eq!((status, &shown["payload"]), (200, &json!("apples!")), "{patch}: {shown}");
        let answer = host.call("worker-1", "shop", "buy", "pears").await;
        let shown: Value = serde_json::from_str(answer["payload"].as_str().unwrap()).unwrap();
        assert_eq!(shown["payload"], "pears!", "{patch}");
        assert!(shown["facts"][0][1].as_str().unwrap().contains("\"http\":false"), "{shown}");
    }
    let host = shop(json!([gate("fact"), gate("change")]));
    let host = host.manifest("shop", json!({ "broadcasts": { "sale": { "path": "buy" } } })).start().await;
    let entries = host.admin("POST", "/v1/modules/shop/broadcasts/sale?gather=true", "plums").await.json();
    let entries = entries.as_array().unwrap();
    assert_eq!(entries.len(), 2);
    for entry in entries {
        let shown: Value = serde_json::from_str(entry["reply"]["payload"].as_str().unwrap()).unwrap();
        assert_eq!(shown["payload"], "plums!", "{entry}");
        assert!(shown["facts"][0][1].as_str().unwrap().contains("\"broadcast\":true"), "{shown}");
    }
}

#[tokio::test]
async fn a_serial_module_that_is_its_own_middleware_would_deadlock() {
    let own = json!([
        { "path": "gate", "handler": "gate", "middlewares": "inner" },
        { "path": "buy", "handler": "show", "middlewares": "/gate" },
    ]);
    let manifest = json!({ "routes": own, "limits": { "concurrency": 1 } });
    let host = TestHost::with("gates").manifest("gates", manifest).start().await;
    let answer = host.post("/api/gates/buy", "").await;
    assert_eq!(answer.json()["code"], "would-deadlock", "{}", answer.text());
}

#[tokio::test]
async fn a_chain_that_names_no_inner_route_is_rejected_until_the_route_exists() {
    let host = shop(json!(["later/gate"])).manifest("shop", json!({ "capabilities": { "rpc": ["later"] } }));
    let host = host.grant("shop", json!({ "rpc": ["later"] })).watched().start().await;
    let why = host.module("shop").await["reason"].as_str().unwrap().to_owned();
    assert!(why.contains("routes[0].middlewares: the middleware `later/gate`: there is no module later"), "{why}");
    copy_gates(&host.folder("later"));
    eventually("the module is loaded once its middleware exists", || async {
        host.post("/api/shop/buy", "").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_chain_into_a_refused_module_says_so() {
    let host = shop(json!(["gates/gate?do=change"])).manifest("gates", json!({ "routes": 7 })).start().await;
    let why = host.module("shop").await["reason"].as_str().unwrap().to_owned();
    assert!(why.contains("the middleware `gates/gate?do=change`: gates is refused: correct its own faults"), "{why}");
}

#[tokio::test]
async fn a_swap_that_would_break_the_chain_of_another_module_is_rejected() {
    let host = shop(json!([gate("change")])).start().await;
    let before = host.generations("gates").await;
    host.put_manifest(
        "gates",
        &json!({ "component": "gates.wasm", "routes": [{ "path": "open", "handler": "show" }] }),
    );
    let refused = host.operate("modules/gates/reload").await;
    let detail = refused["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("`gates/gate?do=change` is a middleware of shop"), "{refused}");
    assert!(detail.contains("gates has no such route"), "{refused}");
    assert_eq!(host.generations("gates").await, before);
    assert_eq!(buy(&host).await.1["payload"], "apples!");

    std::fs::remove_dir_all(host.folder("gates")).unwrap();
    host.operate("modules/gates/reload").await;
    let (status, problem) = buy(&host).await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("gates/gate"), "{problem}");
    assert_eq!(host.log.lines(&["the middleware gates/gate?do=change was removed", "shop"]).len(), 1);
    let note = host.module("shop").await["note"].as_str().unwrap_or_default().to_owned();
    assert!(note.starts_with("the middleware gates/gate?do=change is missing, because gates serves nothing"), "{note}");

    copy_gates(&host.folder("gates"));
    assert_eq!(host.operate("modules/gates/reload").await["outcome"], "started");
    assert_eq!((host.module("shop").await["note"].clone(), buy(&host).await.0), (Value::Null, 200));
}

/// Writes the files of the module `gates` to a folder.
fn copy_gates(folder: &std::path::Path) {
    std::fs::create_dir(folder).unwrap();
    for file in ["gates.wasm", "module.json"] {
        std::fs::copy(source_of("gates").join(file), folder.join(file)).unwrap();
    }
}

#[tokio::test]
async fn a_module_rejected_for_the_chain_of_another_is_loaded_once_that_one_changes() {
    let host = shop(json!([gate("change")])).watched().start().await;
    let before = host.generations("gates").await;
    host.put_manifest(
        "gates",
        &json!({ "component": "gates.wasm", "routes": [{ "path": "open", "handler": "show" }] }),
    );
    eventually("it is rejected", || async {
        host.module("gates").await["note"].as_str().unwrap_or_default().contains("is a middleware of shop")
    })
    .await;
    assert_eq!(host.generations("gates").await, before);
    host.put_manifest("shop", &json!({ "component": "gates.wasm", "routes": [{ "path": "buy", "handler": "show" }] }));
    eventually("it is loaded without a further change", || async {
        host.generations("gates").await != before && host.get("/api/gates/open").await.status == 405
    })
    .await;
}

#[tokio::test]
async fn a_canary_that_is_promoted_lets_a_module_load_that_waits_for_its_middleware() {
    let host = shop(json!(["later/gate"])).manifest("shop", json!({ "capabilities": { "rpc": ["later"] } }));
    let host = host.grant("shop", json!({ "rpc": ["later"] })).and_as("gates", "later");
    let without = json!({ "routes": [{ "path": "open", "handler": "show" }] });
    let host = host.manifest("later", without).start().await;
    assert!(host.module("shop").await["reason"].as_str().unwrap().contains("later has no such route"));
    let mut manifest: Value =
        serde_json::from_slice(&std::fs::read(source_of("gates").join("module.json")).unwrap()).unwrap();
    manifest["rollout"] = json!({ "canary": 1, "for": "50ms" });
    host.put_manifest("later", &manifest);
    assert_eq!(host.operate("modules/later/reload").await["outcome"], "swapped");
    eventually("the module is loaded", || async { host.post("/api/shop/buy", "").await.status == 200 }).await;
}

#[tokio::test]
async fn no_call_fails_while_a_middleware_is_swapped() {
    let host = shop(json!([gate("change")])).start().await;
    let (http, stop) = (host.http, Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let client = tokio::spawn(async move {
        let (mut connection, mut answered) = (Connection::open(http).await, 0);
        while !stopped.load(Ordering::Relaxed) {
            let answer = connection.send("POST", "/api/shop/buy", &[], "apples").await;
            assert!(answer.status == 200 && answer.text().contains("apples!"), "{answered}: {}", answer.text());
            answered += 1;
        }
        answered
    });
    for number in 0..20 {
        let mut manifest: Value =
            serde_json::from_slice(&std::fs::read(host.folder("gates").join("module.json")).unwrap()).unwrap();
        manifest["config"] = json!({ "number": number });
        host.put_manifest("gates", &manifest);
        assert_eq!(host.operate("modules/gates/reload").await["outcome"], "swapped");
    }
    stop.store(true, Ordering::Relaxed);
    assert!(client.await.unwrap() > 20);
}

#[tokio::test]
async fn the_limiter_limits_a_route_for_each_caller() {
    let host = TestHost::with("limiter").workers(1).start().await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(host.get("/api/limiter/demo").await.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429]);
    let refused = host.get("/api/limiter/demo?rate=1000").await;
    assert_eq!((refused.status, refused.json()["code"].clone()), (429, json!("limited")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(host.post("/api/limiter/check", "").await.status, 403);
}
