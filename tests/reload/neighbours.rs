//! No module waits while another one compiles or starts, and a rollback does not wait for a reload
//! that is only preparing.

use super::canary::canary_manifest;
use super::*;

/// Runs a reload, a rollback and a failing canary of `echo`.
async fn echo_is_not_delayed(host: &Started) {
    let before = host.generations("echo").await;
    host.put_manifest("echo", &with_route("new"));
    let swapped = host.reload_with("echo", ReloadOptions::CHANGE).await.unwrap();
    assert_eq!(json!(swapped.outcome), "swapped");
    let back = host.operate("modules/echo/rollback").await;
    assert_eq!((&back["generation"], &back["pinned"]), (&before[0], &json!(true)), "{back}");
    host.put_manifest("echo", &canary_manifest("newer", "1m", 0));
    let canary = host.start_canary("echo").await;
    host.fail(0, "echo").await;
    let Err(why) = canary.await.unwrap().map_err(|error| error.to_string()) else { panic!("the reload succeeded") };
    assert!(why.contains("1 call failed"), "{why}");
    assert_eq!(host.generations("echo").await, before);
}

async fn gated() -> Started {
    TestHost::with("echo").and_as("echo", "gated").gated_compiler("gated").start().await
}

/// Puts a component into the folder of `gated`, and waits until it is being compiled.
async fn compiling(host: &Started) -> JoinHandle<Result<Reloaded, SwapError>> {
    host.rename_in(&host.folder("gated").join("echo.wasm"), never_compiled("echo"));
    let reload = reloading(host, "gated");
    eventually("the compiler runs", || async { host.dir.path().join("reached").exists() }).await;
    reload
}

#[tokio::test]
async fn no_module_waits_while_another_one_compiles() {
    let host = gated().await;
    let compiles = compiling(&host).await;
    echo_is_not_delayed(&host).await;
    assert!(!compiles.is_finished());
    host.dir.write("open", "");
    assert_eq!(json!(compiles.await.unwrap().unwrap().outcome), "swapped");
}

#[tokio::test]
async fn components_are_compiled_one_after_another() {
    let host = TestHost::with("echo").and_as("echo", "gated").gated_compiler("gated");
    let host = host.config(json!({ "swap": { "settle": "0ms" } })).start().await;
    let first = compiling(&host).await;
    host.rename_in(&host.folder("echo").join("echo.wasm"), never_compiled("echo"));
    let second = reloading(&host, "echo");
    // The waiting reload does not hold the lock: a rollback is answered at once.
    let back = host.operate("modules/echo/rollback").await;
    assert_eq!(back["code"], "refused", "{back}");
    for _ in 0..50 {
        assert_eq!(host.get("/api/echo/who").await.status, 200);
    }
    assert!(!first.is_finished() && !second.is_finished());
    host.dir.write("open", "");
    assert!(first.await.unwrap().is_ok() && second.await.unwrap().is_ok());
    assert!(!host.dir.path().join("early").exists());
}

#[tokio::test]
async fn a_rollback_does_not_wait_while_its_module_compiles() {
    let host = gated().await;
    let before = host.generations("gated").await;
    host.put_manifest("gated", &with_route("new"));
    assert!(host.reload_with("gated", ReloadOptions::CHANGE).await.is_ok());
    let compiles = compiling(&host).await;
    let back = host.operate("modules/gated/rollback").await;
    assert_eq!((&back["generation"], &back["pinned"]), (&before[0], &json!(true)), "{back}");
    let Err(why) = compiles.await.unwrap().map_err(|error| error.to_string()) else { panic!("the reload succeeded") };
    assert!(why.contains("a rollback of the module was requested during the reload"), "{why}");
    assert_eq!(host.generations("gated").await, before);
}

/// `echo`, and `snapshot` under these names. The new generations of `snapshot` wait in their
/// startups, this many at once.
async fn starting(
    names: &[&str],
    at_once: usize,
    settings: Value,
) -> (Started, Vec<JoinHandle<Result<Reloaded, SwapError>>>) {
    let rights = json!({ "rpc": ["waits"] });
    let host = TestHost::waits_for(&[]).and("echo").limit("waits", "timeout", "60s").config(settings);
    let with = |host: TestHost, name: &&str| {
        let host = host.and_as("snapshot", name).grant(name, rights.clone());
        let host = host.manifest(name, json!({ "capabilities": rights }));
        host.limit(name, "startup", "60s").limit(name, "timeout", "60s")
    };
    let host = names.iter().fold(host, with).start().await;
    let mut reloads = Vec::new();
    for name in names {
        let file = host.folder(name).join("module.json");
        let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        manifest["config"] = json!({ "startup": "waits" });
        host.put_manifest(name, &manifest);
        reloads.push(reloading(&host, name));
    }
    until_holding(&host, at_once).await;
    (host, reloads)
}

/// Waits until this number of startups wait in each worker.
async fn until_holding(host: &Started, count: usize) {
    for worker in [0, 1] {
        let holding = || async { host.run(worker, "waits", "holding", Value::Null).await == count };
        eventually("the startups wait", holding).await;
    }
}

async fn release(host: &Started) {
    for worker in [0, 1] {
        host.run(worker, "waits", "release", Value::Null).await;
    }
}

#[tokio::test]
async fn no_module_waits_for_the_startups_of_others() {
    let (host, reloads) = starting(&["one", "two", "three", "four", "five"], 5, json!({})).await;
    echo_is_not_delayed(&host).await;
    assert!(reloads.iter().all(|reload| !reload.is_finished()));
    release(&host).await;
    for reload in reloads {
        assert_eq!(json!(reload.await.unwrap().unwrap().outcome), "swapped");
    }
}

#[tokio::test]
async fn reloads_have_at_most_four_of_the_largest_components_in_memory() {
    let size = |module: &str| fs::metadata(source_of(module).join(format!("{module}.wasm"))).unwrap().len();
    let most = ["waits", "echo", "snapshot"].map(size).into_iter().max();
    let settings = json!({ "engine": { "maxComponent": most } });
    let (host, mut reloads) = starting(&["one", "two", "three", "four", "five"], 4, settings).await;
    host.put_manifest("echo", &with_route("new"));
    reloads.push(reloading(&host, "echo"));
    for _ in 0..100 {
        assert_eq!(host.admin("GET", "/livez", "").await.status, 200);
    }
    until_holding(&host, 4).await;
    assert!(reloads.iter().all(|reload| !reload.is_finished()));
    release(&host).await;
    until_holding(&host, 1).await;
    release(&host).await;
    for reload in reloads {
        assert_eq!(json!(reload.await.unwrap().unwrap().outcome), "swapped");
    }
}

#[tokio::test]
async fn a_rollback_does_not_wait_for_the_startups_of_its_module() {
    let (host, mut reloads) = starting(&["snapshot"], 1, json!({})).await;
    let starts = reloads.remove(0);
    let serves = host.generations("snapshot").await;
    let back = host.operate("modules/snapshot/rollback").await;
    assert_eq!(back["code"], "refused", "no previous generation is retained: {back}");
    let Err(why) = starts.await.unwrap().map_err(|error| error.to_string()) else { panic!("the reload succeeded") };
    assert!(why.contains("a rollback of the module was requested during the reload"), "{why}");
    assert_eq!(host.generations("snapshot").await, serves);
}

#[tokio::test]
async fn many_modules_can_be_reloaded_at_once() {
    let names: Vec<String> = (0..12).map(|index| format!("echo-{index}")).collect();
    let host = names.iter().fold(TestHost::empty(), |host, name| host.and_as("echo", name)).start().await;
    let all = host.operate("reload").await;
    let ends: Vec<&Value> = all.as_array().unwrap_or_else(|| panic!("{all}")).iter().collect();
    assert_eq!(ends.len(), names.len());
    assert!(ends.iter().all(|end| end["outcome"] == "swapped"), "{all}");
}
