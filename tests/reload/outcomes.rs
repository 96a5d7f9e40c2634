//! Outcomes of reloads, and how requests share a run.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfare::api::ReloadOutcome;
use fanfare::tooling::Trigger;

use super::*;
use crate::harness::{Connection, Gate};

#[tokio::test]
async fn an_unchanged_folder_is_reported_as_unchanged() {
    let host = TestHost::with("echo").start().await;
    assert_eq!(host.count("worker-0", "echo").await, 1);
    let unchanged = host.reload_with("echo", ReloadOptions::CHANGE).await.unwrap();
    assert_eq!((unchanged.outcome, unchanged.from), (ReloadOutcome::Unchanged, None));
    assert_eq!(host.count("worker-0", "echo").await, 2, "the same instance");
    let renewed = host.reload_with("echo", ReloadOptions::RENEW).await.unwrap();
    assert_eq!((renewed.outcome, renewed.from), (ReloadOutcome::Swapped, renewed.generation));
    assert_eq!(host.count("worker-0", "echo").await, 1, "a new one");
}

#[tokio::test]
async fn requests_during_a_run_share_the_next_one() {
    let starts = Arc::new(AtomicUsize::new(0));
    let startup = |call: &fanfare::tooling::Call| {
        matches!(&call.trigger, Trigger::Startup { reason: fanfare::tooling::StartupReason::Swap, .. })
    };
    let (gate, counted) = (Gate::before(startup), starts.clone());
    let closed = gate.probe();
    let probe = Arc::new(move |call: &fanfare::tooling::Call| {
        if startup(call) {
            counted.fetch_add(1, Ordering::AcqRel);
            closed(call);
        }
    });
    let host = TestHost::with("startup").workers(1).probe(probe).start().await;
    let swapper = host.running().swapper();
    let first = tokio::spawn(swapper.reload("startup", ReloadOptions::RENEW));
    eventually("the first run has begun", || async { gate.reached() == 1 }).await;
    let mut manifest: Value =
        serde_json::from_slice(&fs::read(host.folder("startup").join("module.json")).unwrap()).unwrap();
    manifest["config"] = json!({ "other": 1 });
    host.put_manifest("startup", &manifest);
    let rest: Vec<_> = (0..5).map(|_| tokio::spawn(swapper.reload("startup", ReloadOptions::RENEW))).collect();
    gate.open();
    let first = first.await.unwrap().unwrap();
    assert_eq!(first.from, first.generation, "it loads the folder as it was when it started");
    for ended in rest {
        let ended = ended.await.unwrap().unwrap();
        assert_eq!((&ended.from, ended.generation != first.generation), (&first.generation, true));
    }
    assert_eq!(starts.load(Ordering::Acquire), 2, "six requests share two runs");
}

#[tokio::test]
async fn a_reload_without_a_module_reloads_every_module() {
    let host = TestHost::with("echo").and_as("echo", "second").and_as("echo", "broken").start().await;
    for module in ["echo", "second", "broken"] {
        assert_eq!(host.count("worker-0", module).await, 1);
    }
    host.put_manifest("broken", &json!({ "component": "echo.wasm", "rutes": [] }));
    let ends = host.operate("reload").await;
    let outcomes: Vec<(&str, &str)> = ends
        .as_array()
        .unwrap()
        .iter()
        .map(|end| (end["module"].as_str().unwrap(), end["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(outcomes, [("broken", "refused"), ("echo", "swapped"), ("second", "swapped")]);
    assert!(ends[0]["reason"].as_str().unwrap().contains("did you mean \"routes\""), "{ends}");
    assert_eq!(host.count("worker-0", "echo").await, 1, "renewed");
    assert_eq!(host.count("worker-0", "broken").await, 2, "the previous instance keeps serving");
    for (outcome, count) in [("swapped", 2.0), ("refused", 1.0), ("unchanged", 0.0), ("rolledBack", 0.0)] {
        let label = format!("outcome=\"{outcome}\"");
        assert_eq!(host.metric("fanfare_reloads_total", &[&label]).await, count, "{outcome}");
    }
}

#[tokio::test]
pub async fn a_module_whose_folder_was_removed_answers_its_queued_calls() {
    let host = TestHost::with("snapshot").config(json!({ "swap": { "removal": "0ms" } })).start().await;
    let admin = host.admin;
    let url = "/v1/modules/snapshot/call?target=worker-0&path=block";
    let running = tokio::spawn(async move { Connection::open(admin).await.send("POST", url, &[], "1500").await });
    eventually("it runs", || async { host.slot("snapshot", 0).await["inFlight"] == 1 }).await;
    let url = "/v1/modules/snapshot/call?target=worker-0&path=count";
    let waiting = tokio::spawn(async move { Connection::open(admin).await.send("POST", url, &[], "").await.json() });
    host.until_waiting("snapshot", 0, 1).await;
    fs::remove_dir_all(host.folder("snapshot")).unwrap();
    assert_eq!(host.operate("modules/snapshot/reload").await["outcome"], "removed");
    assert_eq!(host.get("/api/snapshot/count").await.status, 404);
    assert_eq!(running.await.unwrap().status, 200, "the running call is answered");
    assert_eq!(json_of(&waiting.await.unwrap())["count"], 1, "the queued call is answered");
    assert_eq!(host.admin("POST", "/v1/modules/snapshot/reload", "").await.status, 404);
}

#[tokio::test]
async fn a_failed_module_is_renewed_even_without_changes() {
    let host = TestHost::with("traps").config(json!({ "isolate": { "maxRestarts": 0 } })).start().await;
    host.call("worker-0", "traps", "trap", "").await;
    eventually("it has failed", || async { host.slot("traps", 0).await["state"] == "failed" }).await;
    let renewed = host.reload_with("traps", ReloadOptions::CHANGE).await.unwrap();
    assert_eq!(renewed.outcome, ReloadOutcome::Swapped);
    assert_eq!(host.slot("traps", 0).await["state"], "ready");
}

/// `startup` in one worker. Its new generation waits in its startup until the gate opens.
async fn gated() -> (Started, Gate) {
    let gate = Gate::before(is_swap);
    let host = TestHost::with("startup").and("echo").workers(1).probe(gate.probe());
    (host.config(json!({ "swap": { "settle": "0ms", "removal": "1m" } })).start().await, gate)
}

fn is_swap(call: &fanfare::tooling::Call) -> bool {
    matches!(&call.trigger, Trigger::Startup { reason: fanfare::tooling::StartupReason::Swap, .. })
}

#[tokio::test]
async fn a_folder_that_is_removed_while_its_reload_waits_may_return() {
    let (host, gate) = gated().await;
    let swapper = host.running().swapper();
    let other = tokio::spawn(swapper.reload("startup", ReloadOptions::RENEW));
    eventually("the other one has begun", || async { gate.reached() == 1 }).await;
    let reload = tokio::spawn(swapper.reload("startup", ReloadOptions::CHANGE));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let folder = host.folder("startup");
    let mut manifest: Value = serde_json::from_slice(&fs::read(folder.join("module.json")).unwrap()).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    gate.open();
    other.await.unwrap().unwrap();
    for _ in 0..20 {
        assert_eq!(host.get("/api/startup/started").await.status, 200);
    }
    let routes = manifest["routes"].as_array_mut().unwrap();
    let mut back = routes.iter().find(|route| route["path"] == "started").unwrap().clone();
    back["path"] = json!("back");
    routes.push(back);
    fs::create_dir(&folder).unwrap();
    fs::copy(crate::harness::source_of("startup").join("startup.wasm"), folder.join("startup.wasm")).unwrap();
    fs::write(folder.join("module.json"), manifest.to_string()).unwrap();
    assert_eq!(reload.await.unwrap().unwrap().outcome, ReloadOutcome::Swapped);
    assert_eq!(host.get("/api/startup/back").await.status, 200);
}

#[tokio::test]
async fn a_waiting_reload_also_fulfils_later_requests() {
    let (host, gate) = gated().await;
    assert_eq!(host.count("worker-0", "echo").await, 1);
    let swapper = host.running().swapper();
    let other = tokio::spawn(swapper.reload("startup", ReloadOptions::RENEW));
    eventually("the other one has begun", || async { gate.reached() == 1 }).await;
    let (change, renew) = (swapper.reload("echo", ReloadOptions::CHANGE), swapper.reload("echo", ReloadOptions::RENEW));
    gate.open();
    other.await.unwrap().unwrap();
    assert_eq!(renew.await.unwrap().outcome, ReloadOutcome::Swapped);
    assert_eq!(change.await.unwrap().outcome, ReloadOutcome::Swapped, "both requests share the run");
    assert_eq!(host.count("worker-0", "echo").await, 1, "a new instance");
}

#[tokio::test]
async fn a_folder_that_returns_after_its_module_was_removed_is_loaded_again() {
    let host = TestHost::with("echo").config(json!({ "swap": { "removal": "0ms" } })).start().await;
    let away = host.dir.path().join("away");
    fs::rename(host.folder("echo"), &away).unwrap();
    assert_eq!(host.operate("modules/echo/reload").await["outcome"], "removed");
    fs::rename(&away, host.folder("echo")).unwrap();
    assert_eq!(host.operate("modules/echo/reload").await["outcome"], "started");
    assert_eq!(host.get("/api/echo/who").await.status, 200);
}

#[tokio::test]
async fn queued_calls_of_a_removed_module_without_an_instance_are_answered() {
    let host = TestHost::with("traps").workers(1).limit("traps", "timeout", "50s");
    let host = host.config(
        json!({ "swap": { "removal": "0ms" }, "isolate": { "restartBackoff": "1m", "restartBackoffMax": "1m" } }),
    );
    let host = host.start().await;
    for _ in 0..2 {
        assert_eq!(host.call("any", "traps", "trap", "").await["code"], "crashed");
    }
    eventually("it waits for the next one", || async { host.slot("traps", 0).await["state"] == "restarting" }).await;
    let admin = host.admin;
    let url = "/v1/modules/traps/call?target=worker-0&path=trap";
    let waiting = tokio::spawn(async move { Connection::open(admin).await.send("POST", url, &[], "").await.json() });
    host.until_waiting("traps", 0, 1).await;
    fs::remove_dir_all(host.folder("traps")).unwrap();
    assert_eq!(host.operate("modules/traps/reload").await["outcome"], "removed");
    let told = waiting.await.unwrap();
    assert!(told["detail"].as_str().unwrap().contains("was removed from worker-0 and accepts no more calls"), "{told}");
}
