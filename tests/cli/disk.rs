//! Full disks, files that are too large, and systems that do not report file changes.

use std::fs::{self, File};

use serde_json::{Value, json};

use super::Project;
use crate::harness::{eventually, not_run};

/// A manifest of `echo` with one more route.
fn with_route(path: &str) -> String {
    let route = |path: &str| json!({ "method": "get", "path": path, "handler": "who" });
    json!({ "component": "echo.wasm", "routes": [route("who"), route(path)] }).to_string()
}

/// Makes a write beyond the file size limit fail like one to a full disk, without a signal.
const WITHOUT_SIGNAL: &str = "trap '' XFSZ; exec \"$@\"";

#[tokio::test]
async fn a_pin_holds_on_a_full_disk_and_is_saved_when_there_is_space() {
    let project = Project::with(&["echo"]);
    let serving = project.start(project.shell(WITHOUT_SIGNAL, &["serve"])).await;
    let operate = async |what: &str| serving.operator("POST", &format!("/v1/modules/echo/{what}")).await.json();
    let note = async || serving.status("echo").await["note"].to_string();
    project.dir.write("modules/echo/module.json", with_route("two"));
    let second = operate("reload").await;
    assert!(second["outcome"] == "swapped" && second.get("durable").is_none(), "{second}");

    serving.limit_file_size(Some(0));
    let back = operate("rollback").await;
    assert_eq!((&back["pinned"], &back["durable"]), (&json!(true), &json!(false)), "{back}");
    assert!(note().await.contains("the host could not save the pin in stateDir"), "{}", note().await);
    let again = operate("reload").await;
    assert_eq!((&again["pinned"], &again["durable"]), (&json!(true), &json!(false)), "{again}");
    assert_eq!(again["generation"], back["generation"], "the reload keeps the pinned generation");
    assert_eq!(serving.get("/api/echo/two").await.status, 404);

    serving.limit_file_size(None);
    eventually("the pin is saved", || async { !note().await.contains("could not save the pin") }).await;
    assert!(note().await.contains("pinned by a rollback"), "{}", note().await);
    serving.stop().await;
    let serving = project.serve(&[]).await;
    assert_eq!(serving.get("/api/echo/two").await.status, 404, "the pin survives a restart");
    assert!(serving.status("echo").await["note"].to_string().contains("pinned by a rollback"));
    serving.stop().await;
}

#[tokio::test]
async fn a_full_disk_is_not_reported_as_a_fault_of_the_component() {
    let project = Project::with(&["echo"]).own_state();
    let serving = project.start(project.shell(WITHOUT_SIGNAL, &["serve"])).await;
    fs::remove_dir_all(project.path().join(".fanfare/cache")).unwrap();
    serving.limit_file_size(Some(0));
    let refused = serving.operator("POST", "/v1/modules/echo/reload").await.json();
    let why = refused["detail"].as_str().unwrap();
    let folder = project.path().join(".fanfare/cache");
    assert!(why.contains(folder.to_str().unwrap()) && why.contains("free space"), "{refused}");
    assert!(!why.contains("echo.wasm"), "{refused}");
    assert_eq!(serving.get("/api/echo/who").await.status, 200);
    serving.limit_file_size(None);
    assert_eq!(serving.operator("POST", "/v1/modules/echo/reload").await.json()["outcome"], "swapped");
}

#[tokio::test]
async fn a_generation_that_state_dir_has_refused_is_loaded_when_it_can_be_used() {
    let project = Project::with(&["echo"]).own_state();
    let serving = project.serve(&[]).await;
    let generation = async || serving.status("echo").await["generation"].clone();
    let before = generation().await;
    let state = project.path().join(".fanfare");
    let (cache, away) = (state.join("cache"), state.join("away"));
    fs::rename(&cache, &away).unwrap();
    fs::write(&cache, "no folder").unwrap();
    project.dir.write("modules/echo/module.json", with_route("two"));
    assert_eq!(serving.operator("POST", "/v1/modules/echo/reload").await.status, 422);
    let refused = async || serving.metric("fanfare_reloads_total", &["outcome=\"refused\""]).await;
    eventually("the host tries again", || async { refused().await >= 3.0 }).await;
    assert_eq!(generation().await, before);
    let rejected = |log: String| log.matches("reload rejected, the previous generation keeps serving").count();
    assert_eq!(rejected(serving.log()), 1, "{}", serving.log());
    fs::remove_file(&cache).unwrap();
    fs::rename(&away, &cache).unwrap();
    eventually("the new generation serves", || async { generation().await != before }).await;
    let note = async || serving.status("echo").await.get("note").is_none_or(Value::is_null);
    eventually("the reason leaves the status", note).await;
}

#[tokio::test]
async fn a_component_above_the_limit_is_not_read_for_a_pinned_module() {
    let project = Project::with(&["echo"]);
    let serving = project.serve(&[]).await;
    let operate = async |what: &str| serving.operator("POST", &format!("/v1/modules/echo/{what}")).await.json();
    project.dir.write("modules/echo/module.json", with_route("two"));
    operate("reload").await;
    let pinned = operate("rollback").await;
    let before = serving.peak_memory();
    let huge = File::create(project.path().join("modules/echo/echo.wasm")).unwrap();
    huge.set_len(512 << 20).unwrap();
    let refused = operate("reload").await;
    assert!(refused["detail"].as_str().unwrap().contains("engine.maxComponent"), "{refused}");
    let again = operate(&format!("rollback?to={}", pinned["generation"].as_str().unwrap())).await;
    assert_eq!((&again["generation"], &again["pinned"]), (&pinned["generation"], &json!(true)), "{again}");
    let reloaded = operate("reload").await;
    assert_eq!(reloaded["pinned"], json!(true), "the file still has the same size: {reloaded}");
    let grown = serving.peak_memory() - before;
    assert!(grown < 128 << 20, "memory grew by {grown} bytes");
}

#[tokio::test]
async fn removing_a_module_logs_no_warning() {
    let project = Project::with(&["echo", "flags"]).config(json!({ "swap": { "removal": "0ms" } }));
    let serving = project.serve(&[]).await;
    fs::remove_dir_all(project.path().join("modules/flags")).unwrap();
    eventually("the module is removed", || async {
        serving.get("/api/flags/").await.text().contains("there is no module flags")
    })
    .await;
    // When this change is live, the host has handled every event of the removal.
    project.dir.write("modules/echo/module.json", with_route("two"));
    eventually("a later change is live", || async { serving.get("/api/echo/two").await.status == 200 }).await;
    serving.stop().await;
    let log = project.read("log");
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let warnings: Vec<Value> = lines.filter(|line| line["level"] == "WARN" || line["level"] == "ERROR").collect();
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// Limits inotify in a user namespace, so that other processes are not affected.
const WITHOUT_INOTIFY: &str = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$@\"";
const ONE_WATCH: &str = "echo 1 > /proc/sys/user/max_inotify_watches && exec \"$@\"";

#[tokio::test]
async fn without_inotify_polling_finds_changes() {
    for limit in [WITHOUT_INOTIFY, ONE_WATCH] {
        let project = Project::with(&["echo"]).config(json!({ "swap": { "poll": "50ms" } }));
        let script = format!("exec unshare --user --map-root-user sh -c '{limit}' sh \"$@\"");
        let help = project.shell(&script, &["--help"]).output().await;
        if !help.is_ok_and(|output| output.status.success()) {
            return not_run("user namespaces with limits of inotify");
        }
        let serving = project.start(project.shell(&script, &["serve"])).await;
        let notes = serving.operator("GET", "/v1/status").await.json()["notes"].to_string();
        assert!(notes.contains("scans for them every swap.poll") && notes.contains("fs.inotify.max_user_"), "{notes}");
        project.dir.write("modules/echo/module.json", with_route("two"));
        eventually("the change is live", || async { serving.get("/api/echo/two").await.status == 200 }).await;
        serving.stop().await;
        let reports =
            project.read("log").lines().filter(|line| line.contains("scans for them every swap.poll")).count();
        assert_eq!(reports, 1);
    }
}
