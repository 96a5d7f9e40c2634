//! Another generation in the place of one that serves, with nothing lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fanfare::call::{IsolateId, Trigger};
use fanfare::host::Stopped;
use serde_json::{Value, json};

use crate::failures::steps::assert_names;
use crate::harness::{Connection, Started, TestHost, eventually, json_of};

/// What each worker started: number and handler.
type Seen = BTreeMap<IsolateId, Vec<(u64, String)>>;

impl Started {
    async fn reload(&self, module: &str) -> Value {
        self.admin("POST", &format!("/v1/modules/{module}/reload"), "").await.json()
    }

    /// Changes the manifest on disk.
    fn rewrite(&self, module: &str, patch: Value) {
        let file = self.dir.path().join("modules").join(module).join("module.json");
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for (key, value) in patch.as_object().unwrap() {
            manifest[key] = value.clone();
        }
        std::fs::write(&file, manifest.to_string()).unwrap();
    }
}

#[tokio::test]
async fn what_the_folder_has_takes_over() {
    let host = TestHost::with("echo").start().await;
    assert_eq!(host.count("worker-0", "echo").await, 1);
    assert_eq!(host.get("/api/echo/whoever").await.status, 404);
    let before = host.generation("echo").await;
    host.rewrite("echo", json!({ "routes": [{ "method": "get", "path": "whoever", "handler": "who" }] }));
    let swapped = host.reload("echo").await;
    assert_eq!((&swapped["outcome"], &swapped["from"]), (&json!("swapped"), &json!(before)), "{swapped}");
    assert_eq!(swapped["generation"], host.generation("echo").await);
    for worker in ["worker-0", "worker-1"] {
        let answer = host.call(worker, "echo", "whoever&method=GET", "").await;
        assert_eq!(json_of(&answer)["count"], 1, "a new instance: {answer}");
    }
    assert_eq!(host.get("/api/echo/who").await.status, 404);
    assert_eq!(host.get("/api/echo/whoever").await.status, 200);
    assert_eq!(host.slot("echo", 0).await["restarts"], 0);
    assert_eq!(host.admin("POST", "/v1/modules/ghost/reload", "").await.status, 404);
}

#[tokio::test]
async fn a_bare_reload_renews_and_a_new_folder_starts() {
    let host = TestHost::with("echo").start().await;
    assert_eq!(host.count("worker-0", "echo").await, 1);
    let renewed = host.reload("echo").await;
    assert_eq!(renewed["from"], renewed["generation"], "{renewed}");
    assert_eq!(host.count("worker-0", "echo").await, 1, "a new instance");
    let new = host.dir.path().join("modules/again");
    std::fs::create_dir(&new).unwrap();
    for file in ["module.json", "echo.wasm"] {
        std::fs::copy(host.dir.path().join("modules/echo").join(file), new.join(file)).unwrap();
    }
    assert_eq!(host.reload("again").await["outcome"], "started");
    assert_eq!(host.get("/api/again/who").await.status, 200);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_no_module() {
    let host = TestHost::with("echo").start().await;
    let outside = host.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    for file in ["module.json", "echo.wasm"] {
        std::fs::copy(host.dir.path().join("modules/echo").join(file), outside.join(file)).unwrap();
    }
    for name in ["..%2Foutside", ".", "echo%2F..%2Fecho", &outside.to_str().unwrap().replace('/', "%2F")] {
        let answer = host.admin("POST", &format!("/v1/modules/{name}/reload"), "").await;
        assert_eq!(answer.status, 404, "{name}: {}", answer.text());
    }
    assert_eq!(host.status().await["modules"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_the_swap() {
    let host = swapping(json!({ "quiesce": "20s" }), json!({})).start().await;
    assert_eq!(count(&host).await, 1);
    let admin = host.admin;
    let leaves = async {
        host.until_running("snapshot", 0, 1).await;
        let mut operator = Connection::open(admin).await;
        let reload = tokio::spawn(async move { operator.send("POST", "/v1/modules/snapshot/reload", &[], "").await });
        // By the time that another connection is answered, the request has come.
        tokio::task::yield_now().await;
        assert_eq!(host.admin("GET", "/livez", "").await.status, 200);
        reload.abort();
    };
    tokio::join!(host.call("any", "snapshot", "block", "200"), leaves);
    eventually("it has swapped", || async {
        json_of(&host.call("any", "snapshot", "count", "").await)["from"].is_string()
    })
    .await;
}

#[tokio::test]
async fn a_running_call_ends_in_its_old_instance() {
    let host = TestHost::waits_for(&[]).workers(1).start().await;
    let mut client = Connection::open(host.http).await;
    let running = tokio::spawn(async move { client.send("POST", "/api/waits/block", &[], "300").await });
    host.until_running("waits", 0, 1).await;
    assert_eq!(host.reload("waits").await["outcome"], "swapped");
    assert_eq!(host.count("any", "waits").await, 1);
    let answer = running.await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "ok"));
}

#[tokio::test]
async fn state_goes_over() {
    let host = TestHost::with("snapshot").start().await;
    let count = async |worker: &str| json_of(&host.call(worker, "snapshot", "count", "").await);
    for expected in 1..=3 {
        assert_eq!(count("worker-0").await["count"], expected);
    }
    assert_eq!(count("worker-1").await["count"], 1);
    let digest = host.module("snapshot").await["generation"].clone();
    assert_eq!(host.reload("snapshot").await["running"], 0);
    let (first, second) = (count("worker-0").await, count("worker-1").await);
    assert_eq!((&first["count"], &second["count"]), (&json!(4), &json!(2)), "each worker has its own");
    assert_eq!(first["from"], digest);
}

#[tokio::test]
async fn what_fails_on_the_way_is_refused_whole_and_the_old_one_serves_on() {
    let ways = [(json!({ "load": "fails" }), "load fails as configured"), (json!({ "load": "traps" }), "unreachable")];
    for (config, why) in ways {
        let host = TestHost::with("snapshot").start().await;
        let count = async |worker: &str| json_of(&host.call(worker, "snapshot", "count", "").await)["count"].clone();
        assert_eq!((count("worker-0").await, count("worker-1").await), (json!(1), json!(1)));
        let generation = host.generation("snapshot").await;
        host.rewrite("snapshot", json!({ "config": config }));
        let refused = host.reload("snapshot").await;
        assert_eq!((&refused["code"], &refused["status"]), (&json!("refused"), &json!(422)), "{refused}");
        assert_names(&refused["detail"], &[why]);
        assert_eq!(host.generation("snapshot").await, generation);
        assert_eq!((count("worker-0").await, count("worker-1").await), (json!(2), json!(2)), "the same instances");
    }
}

async fn count(host: &Started) -> u64 {
    json_of(&host.call("worker-0", "snapshot", "count", "").await)["count"].as_u64().unwrap()
}

/// `snapshot` in one worker, with this for `swap`.
fn swapping(swap: Value, config: Value) -> TestHost {
    let host = TestHost::with("snapshot").manifest("snapshot", json!({ "config": config })).workers(1);
    host.config(json!({ "swap": swap }))
}

#[tokio::test]
pub async fn quiesce() {
    let host = swapping(json!({ "quiesce": "20s" }), json!({})).start().await;
    assert_eq!(count(&host).await, 1);
    let swapped = async {
        host.until_running("snapshot", 0, 1).await;
        host.reload("snapshot").await
    };
    let (blocked, swapped) = tokio::join!(host.call("any", "snapshot", "block", "200"), swapped);
    assert_eq!((&blocked["status"], &swapped["running"]), (&json!(200), &json!(0)), "{blocked} {swapped}");
    assert_eq!(count(&host).await, 2);

    let host = swapping(json!({ "quiesce": "20ms" }), json!({})).limit("snapshot", "timeout", "500ms").start().await;
    let swapped = async {
        host.until_running("snapshot", 0, 1).await;
        host.reload("snapshot").await
    };
    let (held, swapped) = tokio::join!(host.call("any", "snapshot", "hold", ""), swapped);
    assert_eq!((&held["code"], &swapped["running"]), (&json!("timeout"), &json!(1)), "{held} {swapped}");
}

#[tokio::test]
async fn what_waits_is_run_by_the_new_generations_handler() {
    let host = swapping(json!({ "quiesce": "20s" }), json!({})).start().await;
    let late = async {
        host.until_running("snapshot", 0, 1).await;
        // `count` is `release` from now on, and `hold` is gone.
        let block = json!({ "path": "block", "handler": "block" });
        host.rewrite("snapshot", json!({ "routes": [block, { "path": "count", "handler": "release" }] }));
        let swap = host.reload("snapshot");
        let changed = host.call("any", "snapshot", "count", "");
        let gone = host.call("any", "snapshot", "hold", "");
        let (swapped, changed, gone) = tokio::join!(swap, changed, gone);
        assert_eq!(swapped["outcome"], "swapped", "{swapped}");
        assert_eq!(changed["payload"], "0", "{changed}");
        assert_eq!(gone["code"], "not-found", "{gone}");
        assert_names(&gone["detail"], &["snapshot has no `POST hold` any more"]);
    };
    let (blocked, ()) = tokio::join!(host.call("any", "snapshot", "block", "300"), late);
    assert_eq!(blocked["status"], 200, "{blocked}");
}

#[tokio::test]
pub async fn timeout() {
    for (which, config) in [("save", json!({ "save": "never" })), ("load", json!({ "load": "never" }))] {
        let host = swapping(json!({ "timeout": "50ms" }), config).start().await;
        assert_eq!(count(&host).await, 1);
        let refused = host.reload("snapshot").await;
        assert_names(&refused["detail"], &[which, "took longer than swap.timeout, 50ms"]);
        assert_eq!(count(&host).await, 2, "the old instance serves on");
    }
    let host = swapping(json!({ "timeout": "20s" }), json!({})).start().await;
    assert_eq!(host.reload("snapshot").await["outcome"], "swapped");
}

#[tokio::test]
pub async fn state() {
    // What is saved is `{"count":1,"padding":".."}`.
    for (padding, within) in [(1_000 - 24, true), (1_000 - 23, false)] {
        let host = swapping(json!({ "state": 1_000 }), json!({ "padding": padding })).start().await;
        assert_eq!(count(&host).await, 1);
        let swapped = host.reload("snapshot").await;
        assert_eq!(swapped["outcome"] == "swapped", within, "{swapped}");
        if !within {
            assert_names(&swapped["detail"], &["snapshot in worker-0", "1001 bytes", "swap.state allows 1000"]);
        }
        assert_eq!(count(&host).await, 2);
    }
}

#[tokio::test]
async fn a_startup_that_fails_in_one_worker_refuses_for_all() {
    let host = TestHost::with("startup").start().await;
    for (config, why) in [
        (json!({ "mode": "traps", "worker": 1 }), "unreachable"),
        (json!({ "mode": "fails", "worker": 1 }), "the startup fails as configured"),
    ] {
        host.rewrite("startup", json!({ "config": config }));
        assert_names(&host.reload("startup").await["detail"], &[why]);
        for worker in ["worker-0", "worker-1"] {
            let started = host.call(worker, "startup", "started&method=GET", "").await;
            assert_eq!(started["payload"], r#"["warm StartupReason::Start"]"#, "the old one in {worker}");
        }
    }
    host.rewrite("startup", json!({ "config": { "mode": "ok" } }));
    assert_eq!(host.reload("startup").await["outcome"], "swapped");
    let started = host.call("worker-1", "startup", "started&method=GET", "").await;
    assert_eq!(started["payload"], r#"["warm StartupReason::Swap"]"#);
}

#[tokio::test]
async fn a_faulty_manifest_or_component_is_refused() {
    let host = TestHost::with("echo").start().await;
    let component = host.dir.path().join("modules/echo/echo.wasm");
    let good = std::fs::read(&component).unwrap();
    std::fs::write(&component, &good[..good.len() / 2]).unwrap();
    assert_eq!(host.reload("echo").await["code"], "refused");
    std::fs::write(&component, good).unwrap();
    host.rewrite("echo", json!({ "rotues": [] }));
    assert_names(&host.reload("echo").await["detail"], &["echo/module.json", "rotues", "routes"]);
    assert_eq!(host.get("/api/echo/who").await.status, 200);
}

#[tokio::test]
async fn a_failed_module_serves_again() {
    let host = TestHost::with("startup").manifest("startup", json!({ "config": { "mode": "fails" } }));
    let host = host.max_restarts(1).start().await;
    host.until("startup", 0, "state", "failed").await;
    host.until("startup", 1, "state", "failed").await;
    assert_eq!(host.get("/api/startup/started").await.status, 503);
    host.rewrite("startup", json!({ "config": { "mode": "ok" } }));
    assert_eq!(host.reload("startup").await["outcome"], "swapped");
    host.until("startup", 0, "state", "ready").await;
    assert_eq!(host.get("/api/startup/started").await.status, 200);
}

#[tokio::test]
async fn no_call_fails_and_no_broadcast_is_lost_or_doubled() {
    let seen = Arc::new(Mutex::new(Seen::new()));
    let notes = seen.clone();
    let host = TestHost::with("counts").and("echo").probe(Arc::new(move |call| {
        if let Trigger::Broadcast(broadcast) = &call.trigger {
            let note = (broadcast.seq, call.route.handler.to_string());
            notes.lock().unwrap().entry(call.context.isolate).or_default().push(note);
        }
    }));
    let host = host.start().await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients = (0..4).map(|_| {
        let (http, stop, answered) = (host.http, stop.clone(), answered.clone());
        tokio::spawn(async move {
            let mut client = Connection::open(http).await;
            while !stop.load(Ordering::Acquire) {
                assert_eq!(client.send("GET", "/api/counts/list", &[], "").await.status, 200);
                answered.fetch_add(1, Ordering::AcqRel);
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let emitting = async {
        let mut count = 0;
        while !stop.load(Ordering::Acquire) {
            assert_eq!(host.emit("counts", "append", "x").await["accepted"], 2);
            count += 1;
        }
        count
    };
    let reloading = async {
        for round in 0..25 {
            // Which generation runs a broadcast shows in the handler.
            let handler = if round % 2 == 0 { "list" } else { "append" };
            let append = json!({ "path": "append", "handler": handler, "middlewares": ["inner"] });
            let list = json!({ "method": "get", "path": "list", "handler": "list" });
            let broadcasts = json!({ "append": { "path": "append" } });
            host.rewrite("counts", json!({ "routes": [append, list], "broadcasts": broadcasts }));
            assert_eq!(host.reload("counts").await["outcome"], "swapped");
        }
        stop.store(true, Ordering::Release);
    };
    let (emitted, ()) = tokio::join!(emitting, reloading);
    for client in clients {
        client.await.unwrap();
    }
    assert!(answered.load(Ordering::Acquire) > 0);
    let last = host.emit("counts", "append", "x").await["seq"].as_u64().unwrap();
    assert_eq!(last, emitted + 1, "every one has a number");
    eventually("the last one is there", || async {
        seen.lock().unwrap().values().all(|notes| notes.last().is_some_and(|(seq, _)| *seq == last))
    })
    .await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    for (isolate, notes) in &*seen {
        let seqs: Vec<u64> = notes.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, (1..=last).collect::<Vec<_>>(), "{isolate}");
    }
    let mut all = seen.values();
    assert_eq!(all.next(), all.next(), "each one runs in one generation everywhere");
}

#[tokio::test]
async fn every_answered_call_is_in_the_state_that_goes_over() {
    let host = TestHost::with("snapshot").start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients = (0..6).map(|_| {
        let (http, stop) = (host.http, stop.clone());
        tokio::spawn(async move {
            let (mut client, mut answered) = (Connection::open(http).await, 0);
            while !stop.load(Ordering::Acquire) {
                let answer = client.send("POST", "/api/snapshot/count", &[], "").await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                answered += 1;
            }
            answered
        })
    });
    let clients: Vec<_> = clients.collect();
    for _ in 0..25 {
        let swapped = host.reload("snapshot").await;
        assert_eq!((&swapped["outcome"], &swapped["running"]), (&json!("swapped"), &json!(0)), "{swapped}");
    }
    stop.store(true, Ordering::Release);
    let mut answered = 0;
    for client in clients {
        answered += client.await.unwrap();
    }
    let mut counted = 0;
    for worker in ["worker-0", "worker-1"] {
        counted += json_of(&host.call(worker, "snapshot", "count", "").await)["count"].as_u64().unwrap() - 1;
    }
    assert_eq!(counted, answered);
    assert!(answered > 100, "{answered}");
}

#[tokio::test]
async fn a_host_that_stops_in_the_middle_of_a_swap_ends() {
    for _ in 0..12 {
        let host = TestHost::with("echo").config(json!({ "shutdown": { "drain": "15s" } })).start().await;
        let mut operator = Connection::open(host.admin).await;
        let reload = tokio::spawn(async move { operator.send("POST", "/v1/modules/echo/reload", &[], "").await });
        // However far it has come.
        tokio::task::yield_now().await;
        assert_eq!(host.stop().await, Stopped::Clean);
        reload.abort();
    }
}
