//! Generations on trial.

use fanfare::tooling::{IsolateId, Trigger};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::*;

/// `counts` and `echo` have two workers, one of which tries.
fn rollout(lasts: &str, max_failures: u64) -> Value {
    json!({ "canary": 1, "for": lasts, "maxFailures": max_failures })
}

/// `echo` with a trial.
pub fn on_trial(path: &str, lasts: &str, max_failures: u64) -> Value {
    let mut manifest = with_route(path);
    manifest["routes"]
        .as_array_mut()
        .unwrap()
        .extend([json!({ "path": "fail", "handler": "fail" }), json!({ "path": "status", "handler": "status" })]);
    manifest["rollout"] = rollout(lasts, max_failures);
    manifest
}

impl Started {
    /// Begins a reload, and waits until one worker has what is on disk.
    pub async fn try_out(&self, module: &str) -> tokio::task::JoinHandle<Result<Reloaded, SwapError>> {
        let reload = tokio::spawn(self.running().swapper().reload(module, Want::CHANGE));
        eventually("the trial has begun", || async {
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
async fn what_stands_its_time_is_taken_up_everywhere() {
    let host = TestHost::with("echo").start().await;
    host.put_manifest("echo", &on_trial("new", "500ms", 0));
    let reload = host.try_out("echo").await;
    assert!(host.note("echo").await.contains("is on trial in worker-0 for 500ms"));
    for (worker, found) in [("worker-0", true), ("worker-1", false)] {
        let answer = host.call(worker, "echo", "new&method=GET", "").await;
        assert_eq!(answer["code"].is_null(), found, "{worker}: {answer}");
    }
    let swapped = reload.await.unwrap().unwrap();
    assert_eq!(host.generations("echo").await, vec![json!(swapped.generation); 2]);
    eventually("nothing is left to note", || async { host.note("echo").await.is_empty() }).await;
    let call = host.call("worker-1", "echo", "new&method=GET", "").await;
    assert_eq!(json_of(&call)["count"], 1);
    let call = host.call("worker-0", "echo", "new&method=GET", "").await;
    assert_eq!(json_of(&call)["count"], 2, "the first worker's instance stays");
    let back = host.operate("modules/echo/rollback").await;
    assert_eq!(back["from"], json!(swapped.generation));
    let to = swapped.generation.unwrap();
    assert_eq!(host.operate(&format!("modules/echo/rollback?to={to}")).await["generation"], json!(to), "it is kept");
}

#[tokio::test]
async fn what_fails_goes_back_by_itself_and_is_not_tried_again() {
    let host = TestHost::with("echo").start().await;
    let before = host.generations("echo").await;
    host.put_manifest("echo", &on_trial("new", "1m", 1));
    let reload = host.try_out("echo").await;
    host.fail(1, "echo").await;
    host.fail(1, "echo").await;
    host.fail(0, "echo").await;
    // A client's mistake does not count.
    let refused = json!({ "name": "no", "status": 404 }).to_string();
    host.call("worker-0", "echo", "fail", refused).await;
    assert_ne!(host.generations("echo").await, before, "one failure is allowed, and others' do not count");
    host.fail(0, "echo").await;
    let Err(why) = reload.await.unwrap().map_err(|error| error.to_string()) else { panic!("it was taken") };
    assert!(why.contains("2 calls failed in worker-0, rollout.maxFailures allows 1"), "{why}");
    assert_eq!(host.generations("echo").await, before);
    assert!(host.note("echo").await.contains("was rolled back after"), "{}", host.note("echo").await);
    let again = host.operate("modules/echo/reload").await;
    assert_eq!((&again["generation"], &again["pinned"]), (&before[0], &json!(true)), "{again}");
}

#[tokio::test]
async fn a_status_a_crash_and_a_timeout_are_failures() {
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
    let reload = host.try_out("traps").await;
    host.call("worker-0", "traps", "go", "").await;
    let Err(why) = reload.await.unwrap().map_err(|error| error.to_string()) else { panic!("it was taken") };
    assert!(why.contains("1 calls failed"), "a crash: {why}");

    host.put_manifest("echo", &on_trial("new", "1m", 0));
    let reload = host.try_out("echo").await;
    host.call("worker-0", "echo", "status", json!({ "status": 503 }).to_string()).await;
    let Err(why) = reload.await.unwrap().map_err(|error| error.to_string()) else { panic!("it was taken") };
    assert!(why.contains("1 calls failed"), "a status: {why}");

    let mut never: Value =
        serde_json::from_slice(&std::fs::read(host.folder("never").join("module.json")).unwrap()).unwrap();
    never["limits"] = json!({ "timeout": "100ms" });
    never["rollout"] = rollout("1m", 0);
    let path = never["routes"][0]["path"].as_str().unwrap().to_owned();
    host.put_manifest("never", &never);
    let reload = host.try_out("never").await;
    host.call("worker-0", "never", &path, "").await;
    let Err(why) = reload.await.unwrap().map_err(|error| error.to_string()) else { panic!("it was taken") };
    assert!(why.contains("1 calls failed"), "a timeout: {why}");
}

#[tokio::test]
async fn another_reload_and_a_rollback_end_it_first() {
    let host = TestHost::with("echo").start().await;
    let before = host.generations("echo").await;
    host.put_manifest("echo", &on_trial("new", "1m", 0));
    let first = host.try_out("echo").await;
    let same = tokio::spawn(host.running().swapper().reload("echo", Want::CHANGE));
    host.put_manifest("echo", &with_route("newer"));
    let second = host.reload_with("echo", Want::CHANGE).await.unwrap();
    assert_eq!(json!(second.from), before[0], "from what served before the trial");
    for ended in [first, same] {
        let Err(why) = ended.await.unwrap().map_err(|error| error.to_string()) else { continue };
        assert!(why.contains("another reload or a rollback came before the trial had ended"), "{why}");
    }
    assert_eq!(host.generations("echo").await, vec![json!(second.generation); 2]);

    host.put_manifest("echo", &on_trial("newest", "1m", 0));
    let trial = host.try_out("echo").await;
    let back = host.operate("modules/echo/rollback").await;
    assert_eq!((&back["generation"], &back["pinned"]), (&json!(second.generation), &json!(true)), "{back}");
    assert!(trial.await.unwrap().is_err());
    assert_eq!(host.generations("echo").await, vec![json!(second.generation); 2], "what served before the trial");
    let back = host.operate("modules/echo/rollback").await;
    assert_eq!(back["generation"], before[0], "{back}");
}

#[tokio::test]
async fn state_goes_there_and_back() {
    let host = TestHost::with("snapshot").start().await;
    for _ in 0..3 {
        host.call("worker-0", "snapshot", "count", "").await;
    }
    let file = host.folder("snapshot").join("module.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    manifest["rollout"] = rollout("1m", 0);
    host.put_manifest("snapshot", &manifest);
    let trial = host.try_out("snapshot").await;
    let counted = json_of(&host.call("worker-0", "snapshot", "count", "").await);
    assert_eq!(counted["count"], 4, "it came along");
    host.operate("modules/snapshot/rollback").await;
    assert!(trial.await.unwrap().is_err());
    let counted = json_of(&host.call("worker-0", "snapshot", "count", "").await);
    assert_eq!(counted["count"], 5, "and went back");
}

#[tokio::test]
async fn a_broadcast_reaches_every_worker_during_it() {
    let seen: Arc<Mutex<BTreeMap<IsolateId, Vec<String>>>> = Arc::default();
    let notes = seen.clone();
    let host = TestHost::with("counts").probe(Arc::new(move |call| {
        if let Trigger::Broadcast(_) = &call.trigger {
            let mut notes = notes.lock().unwrap();
            notes.entry(call.context.isolate).or_default().push(call.route.handler.to_string());
        }
    }));
    let host = host.start().await;
    // The broadcast's route stands elsewhere in the new manifest.
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
    let trial = host.try_out("counts").await;
    let entries = host.gather("counts", "append", "x").await;
    assert!(entries.iter().all(|entry| entry["error"].is_null()), "{entries:?}");
    let seen = seen.lock().unwrap();
    let handlers: Vec<&Vec<String>> = seen.values().collect();
    assert_eq!(handlers, [&["list"], &["append"]], "each worker's own generation runs it");
    trial.abort();
}

#[tokio::test]
async fn with_no_worker_left_over_there_is_no_trial() {
    let host = TestHost::with("echo").workers(1).start().await;
    host.put_manifest("echo", &on_trial("new", "1m", 0));
    let swapped = host.operate("modules/echo/reload").await;
    assert_eq!(swapped["outcome"], "swapped");
    assert_eq!(host.get("/api/echo/new").await.status, 200);
}

#[tokio::test]
async fn its_numbers_have_bounds() {
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
async fn a_host_that_stops_ends_it() {
    let host = TestHost::with("echo").start().await;
    host.put_manifest("echo", &on_trial("new", "1m", 0));
    let admin = host.admin;
    let operator = tokio::spawn(async move {
        let mut connection = crate::harness::Connection::open(admin).await;
        connection.send("POST", "/v1/modules/echo/reload", &[], "").await.json()
    });
    eventually("the trial has begun", || async {
        let generations = host.generations("echo").await;
        generations[0] != generations[1]
    })
    .await;
    let swapper = Arc::downgrade(host.running().swapper());
    assert_eq!(host.stop().await, fanfare::Stopped::Clean);
    let told = operator.await.unwrap();
    assert!(told["detail"].as_str().unwrap().contains("the host stops"), "{told}");
    assert_eq!((&told["status"], &told["code"]), (&json!(503), &json!("refused")));
    eventually("nothing is left of it", || async { swapper.strong_count() == 0 }).await;
}

#[tokio::test]
async fn a_worker_that_cannot_go_back_is_not_taken_for_unchanged() {
    let broken = Arc::new(AtomicBool::new(false));
    let now = broken.clone();
    let host = TestHost::with("startup").probe(Arc::new(move |call| {
        let swap = matches!(call.trigger, Trigger::Startup { .. });
        assert!(!(swap && now.load(Ordering::Acquire)), "no startup ends well for now");
    }));
    let host = host.start().await;
    let before = host.generations("startup").await;
    let file = host.folder("startup").join("module.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["rollout"] = rollout("1m", 0);
    host.put_manifest("startup", &manifest);
    let trial = host.try_out("startup").await;
    broken.store(true, Ordering::Release);
    host.rename_in(&file, &text);
    let refused = host.reload_with("startup", Want::CHANGE).await;
    assert!(trial.await.unwrap().is_err());
    assert!(matches!(refused, Err(SwapError::Start(_))), "{refused:?}");
    broken.store(false, Ordering::Release);
    host.reload_with("startup", Want::CHANGE).await.unwrap();
    assert_eq!(host.generations("startup").await, before);
}

#[tokio::test]
async fn a_worker_that_fails_for_good_ends_it() {
    let host = TestHost::with("traps").config(json!({ "isolate": { "maxRestarts": 0 } })).start().await;
    let mut manifest = json!({ "component": "traps.wasm", "routes": [{ "path": "go", "handler": "trap" }] });
    manifest["rollout"] = rollout("1m", 100);
    host.put_manifest("traps", &manifest);
    let reload = host.try_out("traps").await;
    host.call("worker-0", "traps", "go", "").await;
    let Err(why) = reload.await.unwrap().map_err(|error| error.to_string()) else { panic!("it was taken") };
    assert!(why.contains("traps has failed in worker-0"), "{why}");
    assert_eq!(host.slot("traps", 0).await["state"], "ready", "the generation before serves");
}

#[tokio::test]
async fn who_goes_back_without_the_state_that_is_refused_begins_anew() {
    let host = TestHost::with("snapshot").manifest("snapshot", json!({ "config": { "load": "fails" } })).start().await;
    let before = host.generations("snapshot").await;
    let file = host.folder("snapshot").join("module.json");
    let text = std::fs::read(&file).unwrap();
    let mut manifest: Value = serde_json::from_slice(&text).unwrap();
    manifest["config"] = json!({});
    manifest["rollout"] = rollout("1m", 0);
    host.put_manifest("snapshot", &manifest);
    let trial = host.try_out("snapshot").await;
    assert_eq!(json_of(&host.call("worker-0", "snapshot", "count", "").await)["count"], 1);
    host.rename_in(&file, text);
    host.reload_with("snapshot", Want::CHANGE).await.unwrap();
    assert!(trial.await.unwrap().is_err());
    assert_eq!(host.generations("snapshot").await, before);
    assert_eq!(json_of(&host.call("worker-0", "snapshot", "count", "").await)["count"], 1);
}

#[tokio::test]
async fn a_change_that_is_on_trial_already_joins_it_and_who_asks_ends_it() {
    let host = TestHost::with("echo").start().await;
    host.put_manifest("echo", &on_trial("new", "500ms", 0));
    let trial = host.try_out("echo").await;
    let joined = host.reload_with("echo", Want::CHANGE).await;
    let joined = joined.unwrap();
    assert_eq!(joined, trial.await.unwrap().unwrap());
    assert_eq!(joined.outcome, fanfare::api::ReloadOutcome::Swapped);

    host.put_manifest("echo", &on_trial("newer", "1m", 0));
    let trial = host.try_out("echo").await;
    let renewed = tokio::spawn(host.running().swapper().reload("echo", Want::RENEW));
    let Err(why) = trial.await.unwrap().map_err(|error| error.to_string()) else { panic!("it was taken") };
    assert!(why.contains("another reload or a rollback came before the trial had ended"), "{why}");
    renewed.abort();
}

#[tokio::test]
async fn only_a_change_is_tried_out() {
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
    assert!(host.log.lines(&["module=tried", "on trial"]).is_empty());
}

#[tokio::test]
async fn a_folder_that_has_changed_since_is_not_pinned_away() {
    let host = TestHost::with("echo").start().await;
    host.put_manifest("echo", &on_trial("new", "1m", 0));
    let trial = host.try_out("echo").await;
    host.put_manifest("echo", &with_route("next"));
    host.fail(0, "echo").await;
    assert!(trial.await.unwrap().is_err());
    assert!(!host.reload_with("echo", Want::CHANGE).await.unwrap().pinned);
    assert_eq!(host.get("/api/echo/next").await.status, 200);
}

#[tokio::test]
async fn a_folder_that_goes_ends_it() {
    let host = TestHost::with("echo").config(json!({ "swap": { "removal": "0ms" } })).start().await;
    host.put_manifest("echo", &on_trial("new", "1m", 0));
    let trial = host.try_out("echo").await;
    std::fs::remove_dir_all(host.folder("echo")).unwrap();
    assert_eq!(host.operate("modules/echo/reload").await["outcome"], "removed");
    let Err(why) = trial.await.unwrap().map_err(|error| error.to_string()) else { panic!("it was taken") };
    assert!(why.contains("another reload or a rollback came before the trial had ended"), "{why}");
}
