//! Canaries.

use fanfare::tooling::{IsolateId, Trigger};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;

/// A canary in one of two workers.
fn rollout(lasts: &str, max_failures: u64) -> Value {
    json!({ "canary": 1, "for": lasts, "maxFailures": max_failures })
}

/// A manifest of `echo` that runs a canary.
pub fn canary_manifest(path: &str, lasts: &str, max_failures: u64) -> Value {
    let mut manifest = with_route(path);
    manifest["routes"]
        .as_array_mut()
        .unwrap()
        .extend([json!({ "path": "fail", "handler": "fail" }), json!({ "path": "status", "handler": "status" })]);
    manifest["rollout"] = rollout(lasts, max_failures);
    manifest
}

impl Started {
    /// Starts a reload, and waits until one worker runs the generation on disk.
    pub async fn start_canary(&self, module: &str) -> tokio::task::JoinHandle<Result<Reloaded, SwapError>> {
        let reload = tokio::spawn(self.running().swapper().reload(module, ReloadOptions::CHANGE));
        eventually("the canary runs", || async {
            let generations = self.generations(module).await;
            generations[0] != generations[1]
        })
        .await;
        reload
    }

    pub async fn fail(&self, worker: u32, module: &str) {
        let failure = json!({ "name": "no", "status": 500 }).to_string();
        self.call(&format!("worker-{worker}"), module, "fail", failure).await;
    }
}

#[tokio::test]
async fn a_canary_that_lasts_its_time_is_promoted_to_every_worker() {
    let host = TestHost::with("echo").start().await;
    host.put_manifest("echo", &canary_manifest("new", "500ms", 0));
    let reload = host.start_canary("echo").await;
    assert!(host.note("echo").await.contains("is a canary in worker-0 for 500ms"));
    for (worker, found) in [("worker-0", true), ("worker-1", false)] {
        let answer = host.call(worker, "echo", "new&method=GET", "").await;
        assert_eq!(answer["code"].is_null(), found, "{worker}: {answer}");
    }
    let swapped = reload.await.unwrap().unwrap();
    assert_eq!(host.generations("echo").await, vec![json!(swapped.generation); 2]);
    eventually("the note is removed", || async { host.note("echo").await.is_empty() }).await;
    let call = host.call("worker-1", "echo", "new&method=GET", "").await;
    assert_eq!(json_of(&call)["count"], 1);
    let call = host.call("worker-0", "echo", "new&method=GET", "").await;
    assert_eq!(json_of(&call)["count"], 2, "the canary's own instance continues");
    let back = host.operate("modules/echo/rollback").await;
    assert_eq!(back["from"], json!(swapped.generation));
    let to = swapped.generation.unwrap();
    assert_eq!(
        host.operate(&format!("modules/echo/rollback?to={to}")).await["generation"],
        json!(to),
        "the generation is retained"
    );
}

#[tokio::test]
async fn a_failed_canary_is_rolled_back_and_not_started_again() {
    let host = TestHost::with("echo").start().await;
    let before = host.generations("echo").await;
    host.put_manifest("echo", &canary_manifest("new", "1m", 1));
    let reload = host.start_canary("echo").await;
    host.fail(1, "echo").await;
    host.fail(1, "echo").await;
    host.fail(0, "echo").await;
    // A client error does not count as a failure.
    let refused = json!({ "name": "no", "status": 404 }).to_string();
    host.call("worker-0", "echo", "fail", refused).await;
    assert_ne!(
        host.generations("echo").await,
        before,
        "one failure is allowed, and failures in other workers do not count"
    );
    host.fail(0, "echo").await;
    let Err(why) = reload.await.unwrap().map_err(|error| error.to_string()) else { panic!("the reload succeeded") };
    assert!(why.contains("2 calls failed in worker-0, rollout.maxFailures allows 1"), "{why}");
    assert_eq!(host.generations("echo").await, before);
    assert!(host.note("echo").await.contains("was rolled back after"), "{}", host.note("echo").await);
    let again = host.operate("modules/echo/reload").await;
    assert_eq!((&again["generation"], &again["pinned"]), (&before[0], &json!(true)), "{again}");
}

#[tokio::test]
async fn the_log_tells_of_a_canary_and_of_its_end() {
    let host = TestHost::empty().and_as("echo", "tried").start().await;
    let one = host.generations("tried").await[0].as_str().unwrap().to_owned();
    host.put_manifest("tried", &canary_manifest("new", "20ms", 0));
    let swapped = host.operate("modules/tried/reload").await;
    let two = swapped["generation"].as_str().unwrap().to_owned();
    host.put_manifest("tried", &canary_manifest("newer", "1m", 0));
    let reload = host.start_canary("tried").await;
    let three = host.generations("tried").await[0].as_str().unwrap().to_owned();
    host.fail(0, "tried").await;
    reload.await.unwrap().unwrap_err();
    for (level, line) in [
        ("INFO", format!("canary {one} -> {two} started for 20ms")),
        ("INFO", format!("canary promoted {one} -> {two}, every worker runs it")),
        ("INFO", format!("canary {two} -> {three} started for 60s")),
        ("ERROR", format!("canary {three} -> {two}: ")),
    ] {
        let lines = host.log.lines(&[level, "module=tried", &line]);
        assert_eq!(lines.len(), 1, "{line}: {lines:?}");
    }
}

#[tokio::test]
async fn a_status_of_500_a_crash_and_a_timeout_count_as_failures() {
    let manifest = |handler: &str| {
        json!({
            "component": "traps.wasm",
            "routes": [{ "path": "go", "handler": handler }],
            "limits": { "timeout": "200ms" },
            "rollout": rollout("1m", 0),
        })
    };
    let host = TestHost::with("traps").and("never").and("echo").start().await;
    host.put_manifest("traps", &manifest("trap"));
    let reload = host.start_canary("traps").await;
    host.call("worker-0", "traps", "go", "").await;
    let Err(why) = reload.await.unwrap().map_err(|error| error.to_string()) else { panic!("the reload succeeded") };
    assert!(why.contains("1 call failed"), "a crash: {why}");

    host.put_manifest("echo", &canary_manifest("new", "1m", 0));
    let reload = host.start_canary("echo").await;
    host.call("worker-0", "echo", "status", json!({ "status": 503 }).to_string()).await;
    let Err(why) = reload.await.unwrap().map_err(|error| error.to_string()) else { panic!("the reload succeeded") };
    assert!(why.contains("1 call failed"), "a status: {why}");

    let mut never: Value =
        serde_json::from_slice(&std::fs::read(host.folder("never").join("module.json")).unwrap()).unwrap();
    never["limits"] = json!({ "timeout": "100ms" });
    never["rollout"] = rollout("1m", 0);
    let path = never["routes"][0]["path"].as_str().unwrap().to_owned();
    host.put_manifest("never", &never);
    let reload = host.start_canary("never").await;
    host.call("worker-0", "never", &path, "").await;
    let Err(why) = reload.await.unwrap().map_err(|error| error.to_string()) else { panic!("the reload succeeded") };
    assert!(why.contains("1 call failed"), "a timeout: {why}");
}

#[tokio::test]
async fn another_reload_or_a_rollback_ends_a_canary_first() {
    let host = TestHost::with("echo").start().await;
    let before = host.generations("echo").await;
    host.put_manifest("echo", &canary_manifest("new", "1m", 0));
    let first = host.start_canary("echo").await;
    let same = tokio::spawn(host.running().swapper().reload("echo", ReloadOptions::CHANGE));
    host.put_manifest("echo", &with_route("newer"));
    let second = host.reload_with("echo", ReloadOptions::CHANGE).await.unwrap();
    assert_eq!(json!(second.from), before[0], "from the generation before the canary");
    for ended in [first, same] {
        let Err(why) = ended.await.unwrap().map_err(|error| error.to_string()) else { continue };
        assert!(why.contains("another reload or a rollback ended the canary"), "{why}");
    }
    assert_eq!(host.generations("echo").await, vec![json!(second.generation); 2]);

    host.put_manifest("echo", &canary_manifest("newest", "1m", 0));
    let canary = host.start_canary("echo").await;
    let back = host.operate("modules/echo/rollback").await;
    assert_eq!((&back["generation"], &back["pinned"]), (&json!(second.generation), &json!(true)), "{back}");
    assert!(canary.await.unwrap().is_err());
    assert_eq!(host.generations("echo").await, vec![json!(second.generation); 2], "the generation before the canary");
    let back = host.operate("modules/echo/rollback").await;
    assert_eq!(back["generation"], before[0], "{back}");
}

#[tokio::test]
async fn a_rollback_while_a_canary_is_promoted_keeps_the_generation_of_the_other_workers() {
    let startups = Arc::new(AtomicUsize::new(0));
    let count = startups.clone();
    let in_worker_1 = move |call: &fanfare::tooling::Call| {
        let is_startup = matches!(call.trigger, Trigger::Startup { .. });
        count.fetch_add(usize::from(is_startup && call.context.isolate == IsolateId::Worker(1)), Ordering::SeqCst);
    };
    let host = TestHost::with("startup").probe(Arc::new(in_worker_1)).start().await;
    let file = host.folder("startup").join("module.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    manifest["config"] = json!({ "mode": "ok", "version": 2 });
    host.put_manifest("startup", &manifest);
    host.reload_with("startup", ReloadOptions::CHANGE).await.unwrap();
    let before = host.generations("startup").await;

    // The promotion prepares an instance in worker 1, which does not become ready.
    manifest["config"] = json!({ "mode": "never", "worker": 1 });
    manifest["rollout"] = rollout("100ms", 0);
    host.put_manifest("startup", &manifest);
    let started = startups.load(Ordering::SeqCst);
    let canary = host.start_canary("startup").await;
    eventually("the promotion has begun", || async { startups.load(Ordering::SeqCst) > started }).await;
    let back = host.operate("modules/startup/rollback").await;
    assert_eq!((&back["generation"], &back["pinned"]), (&before[0], &json!(true)), "{back}");
    assert!(canary.await.unwrap().is_err());
    assert_eq!(host.generations("startup").await, before);
}

#[tokio::test]
async fn a_canary_gets_the_state_and_its_rollback_returns_it() {
    let host = TestHost::with("snapshot").start().await;
    for _ in 0..3 {
        host.call("worker-0", "snapshot", "count", "").await;
    }
    let file = host.folder("snapshot").join("module.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    manifest["rollout"] = rollout("1m", 0);
    host.put_manifest("snapshot", &manifest);
    let canary = host.start_canary("snapshot").await;
    let counted = json_of(&host.call("worker-0", "snapshot", "count", "").await);
    assert_eq!(counted["count"], 4, "the canary has the state");
    host.operate("modules/snapshot/rollback").await;
    assert!(canary.await.unwrap().is_err());
    let counted = json_of(&host.call("worker-0", "snapshot", "count", "").await);
    assert_eq!(counted["count"], 5, "the previous generation has it back");
}

#[tokio::test]
async fn during_a_canary_each_worker_runs_broadcasts_in_its_own_generation() {
    let seen: Arc<Mutex<BTreeMap<IsolateId, Vec<String>>>> = Arc::default();
    let notes = seen.clone();
    let host = TestHost::with("counts").probe(Arc::new(move |call| {
        if let Trigger::Broadcast(_) = &call.trigger {
            let mut notes = notes.lock().unwrap();
            notes.entry(call.context.isolate).or_default().push(call.route.handler.to_string());
        }
    }));
    let host = host.start().await;
    // The broadcast's route has another index in the new manifest.
    host.put_manifest(
        "counts",
        &json!({
            "component": "counts.wasm",
            "routes": [
                { "method": "get", "path": "first", "handler": "append" },
                { "path": "append", "handler": "list", "middlewares": ["inner"] },
            ],
            "broadcasts": { "append": { "path": "append" } },
            "rollout": rollout("1m", 0),
        }),
    );
    let canary = host.start_canary("counts").await;
    let entries = host.gather("counts", "append", "x").await;
    assert!(entries.iter().all(|entry| entry["error"].is_null()), "{entries:?}");
    let seen = seen.lock().unwrap();
    let handlers: Vec<&Vec<String>> = seen.values().collect();
    assert_eq!(handlers, [&["list"], &["append"]], "each worker's own generation runs it");
    canary.abort();
}

#[tokio::test]
async fn without_a_further_worker_there_is_no_canary() {
    let host = TestHost::with("echo").workers(1).start().await;
    host.put_manifest("echo", &canary_manifest("new", "1m", 0));
    let swapped = host.operate("modules/echo/reload").await;
    assert_eq!(swapped["outcome"], "swapped");
    assert_eq!(host.get("/api/echo/new").await.status, 200);
}

#[tokio::test]
async fn the_settings_of_a_rollout_have_bounds() {
    let host = TestHost::with("echo").start().await;
    for (key, value, rule) in [
        ("canary", json!(0), "rollout.canary: must be at least 1, found 0"),
        ("canary", json!(1025), "rollout.canary: must be at most 1024, found 1025"),
        ("for", json!("9ms"), "rollout.for: must be at least 10ms, found \"9ms\""),
        ("for", json!("25h"), "rollout.for: must be at most 24h, found \"25h\""),
        ("maxFailures", json!(1_000_001), "rollout.maxFailures: must be at most 1000000, found 1000001"),
        ("fro", json!(1), "did you mean \"for\"?"),
    ] {
        let mut manifest = with_route("new");
        manifest["rollout"] = json!({ key: value });
        host.put_manifest("echo", &manifest);
        let refused = host.operate("modules/echo/reload").await;
        assert!(refused["detail"].as_str().unwrap().contains(rule), "{rule}: {refused}");
    }
    assert_eq!(host.get("/api/echo/who").await.status, 200);
}

#[tokio::test]
async fn a_host_that_stops_ends_its_canaries() {
    let host = TestHost::with("echo").start().await;
    host.put_manifest("echo", &canary_manifest("new", "1m", 0));
    let admin = host.admin;
    let operator = tokio::spawn(async move {
        let mut connection = crate::harness::Connection::open(admin).await;
        connection.send("POST", "/v1/modules/echo/reload", &[], "").await.json()
    });
    eventually("the canary runs", || async {
        let generations = host.generations("echo").await;
        generations[0] != generations[1]
    })
    .await;
    let swapper = Arc::downgrade(host.running().swapper());
    assert_eq!(host.stop().await, fanfare::Stopped::Clean);
    let told = operator.await.unwrap();
    assert!(told["detail"].as_str().unwrap().contains("the host is stopping"), "{told}");
    assert_eq!((&told["status"], &told["code"]), (&json!(503), &json!("unavailable")));
    eventually("the swapper is dropped", || async { swapper.strong_count() == 0 }).await;
}

#[tokio::test]
async fn a_worker_that_could_not_leave_a_canary_is_reloaded_even_without_changes() {
    let broken = Arc::new(AtomicBool::new(false));
    let now = broken.clone();
    let host = TestHost::with("startup").probe(Arc::new(move |call| {
        let swap = matches!(call.trigger, Trigger::Startup { .. });
        assert!(!(swap && now.load(Ordering::Acquire)), "startups panic for now");
    }));
    let host = host.start().await;
    let before = host.generations("startup").await;
    let file = host.folder("startup").join("module.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["rollout"] = rollout("1m", 0);
    host.put_manifest("startup", &manifest);
    let canary = host.start_canary("startup").await;
    broken.store(true, Ordering::Release);
    host.rename_in(&file, &text);
    let refused = host.reload_with("startup", ReloadOptions::CHANGE).await;
    assert!(canary.await.unwrap().is_err());
    assert!(matches!(refused, Err(SwapError::Start(_))), "{refused:?}");
    broken.store(false, Ordering::Release);
    host.reload_with("startup", ReloadOptions::CHANGE).await.unwrap();
    assert_eq!(host.generations("startup").await, before);
}

#[tokio::test]
async fn a_worker_that_fails_for_good_ends_a_canary() {
    let host = TestHost::with("traps").config(json!({ "isolate": { "maxRestarts": 0 } })).start().await;
    let mut manifest = json!({ "component": "traps.wasm", "routes": [{ "path": "go", "handler": "trap" }] });
    manifest["rollout"] = rollout("1m", 100);
    host.put_manifest("traps", &manifest);
    let reload = host.start_canary("traps").await;
    host.call("worker-0", "traps", "go", "").await;
    let Err(why) = reload.await.unwrap().map_err(|error| error.to_string()) else { panic!("the reload succeeded") };
    assert!(why.contains("traps has failed in worker-0"), "{why}");
    assert_eq!(host.slot("traps", 0).await["state"], "ready", "the previous generation serves");
}

#[tokio::test]
async fn a_rolled_back_worker_starts_without_the_state_if_load_rejects_it() {
    let host = TestHost::with("snapshot").manifest("snapshot", json!({ "config": { "load": "fails" } })).start().await;
    let before = host.generations("snapshot").await;
    let file = host.folder("snapshot").join("module.json");
    let text = std::fs::read(&file).unwrap();
    let mut manifest: Value = serde_json::from_slice(&text).unwrap();
    manifest["config"] = json!({});
    manifest["rollout"] = rollout("1m", 0);
    host.put_manifest("snapshot", &manifest);
    let canary = host.start_canary("snapshot").await;
    assert_eq!(json_of(&host.call("worker-0", "snapshot", "count", "").await)["count"], 1);
    host.rename_in(&file, text);
    host.reload_with("snapshot", ReloadOptions::CHANGE).await.unwrap();
    assert!(canary.await.unwrap().is_err());
    assert_eq!(host.generations("snapshot").await, before);
    assert_eq!(json_of(&host.call("worker-0", "snapshot", "count", "").await)["count"], 1);
}

#[tokio::test]
async fn a_change_joins_the_canary_that_runs_it_and_a_requested_reload_ends_it() {
    let host = TestHost::with("echo").start().await;
    host.put_manifest("echo", &canary_manifest("new", "500ms", 0));
    let canary = host.start_canary("echo").await;
    let joined = host.reload_with("echo", ReloadOptions::CHANGE).await;
    let joined = joined.unwrap();
    assert_eq!(joined, canary.await.unwrap().unwrap());
    assert_eq!(joined.outcome, fanfare::api::ReloadOutcome::Swapped);

    host.put_manifest("echo", &canary_manifest("newer", "1m", 0));
    let canary = host.start_canary("echo").await;
    let renewed = tokio::spawn(host.running().swapper().reload("echo", ReloadOptions::RENEW));
    let Err(why) = canary.await.unwrap().map_err(|error| error.to_string()) else { panic!("the reload succeeded") };
    assert!(why.contains("another reload or a rollback ended the canary"), "{why}");
    renewed.abort();
}

#[tokio::test]
async fn only_a_changed_folder_starts_a_canary() {
    let host = TestHost::empty()
        .and_as("echo", "tried")
        .manifest("tried", json!({ "rollout": rollout("300ms", 0) }))
        .start()
        .await;
    let first = host.generation("tried").await;
    assert_eq!(host.operate("modules/tried/reload").await["outcome"], "swapped");
    host.put_manifest("tried", &with_route("two"));
    host.operate("modules/tried/reload").await;
    let back = host.operate("modules/tried/rollback").await;
    assert_eq!((&back["generation"], &back["pinned"]), (&json!(first), &json!(true)), "{back}");
    assert!(host.log.lines(&["module=tried", "canary started"]).is_empty());
}

#[tokio::test]
async fn a_failed_canary_does_not_pin_against_a_newer_folder() {
    let host = TestHost::with("echo").start().await;
    host.put_manifest("echo", &canary_manifest("new", "1m", 0));
    let canary = host.start_canary("echo").await;
    host.put_manifest("echo", &with_route("next"));
    host.fail(0, "echo").await;
    assert!(canary.await.unwrap().is_err());
    assert!(!host.reload_with("echo", ReloadOptions::CHANGE).await.unwrap().pinned);
    assert_eq!(host.get("/api/echo/next").await.status, 200);
}

#[tokio::test]
async fn removing_the_folder_ends_a_canary() {
    let host = TestHost::with("echo").config(json!({ "swap": { "removal": "0ms" } })).start().await;
    host.put_manifest("echo", &canary_manifest("new", "1m", 0));
    let canary = host.start_canary("echo").await;
    std::fs::remove_dir_all(host.folder("echo")).unwrap();
    assert_eq!(host.operate("modules/echo/reload").await["outcome"], "removed");
    let Err(why) = canary.await.unwrap().map_err(|error| error.to_string()) else { panic!("the reload succeeded") };
    assert!(why.contains("another reload or a rollback ended the canary"), "{why}");
}
