//! Changes on disk, in all the ways that programs make them.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;

use super::*;

async fn watched(name: &str) -> Started {
    TestHost::empty().and_as("echo", name).watched().start().await
}

/// Adds `echo` as a second module, for [`until_scanned`].
fn with_second(host: TestHost) -> TestHost {
    host.and_as("echo", "beside")
}

/// Waits until the watcher has scanned all earlier changes. It has once it has loaded two later
/// changes.
async fn until_scanned(host: &Started) {
    for path in ["one", "two"] {
        host.put_manifest("beside", &with_route(path));
        host.until_served(&format!("/api/beside/{path}")).await;
    }
}

#[tokio::test]
async fn a_file_that_is_written_in_place_is_loaded() {
    let host = watched("in-place").await;
    fs::write(host.folder("in-place").join("module.json"), with_route("new").to_string()).unwrap();
    host.until_served("/api/in-place/new").await;
    assert_eq!(host.get("/api/in-place/echo").await.status, 404);
}

#[tokio::test]
async fn a_file_that_is_renamed_over_another_is_loaded() {
    let host = watched("renamed").await;
    let flags = fs::read(source_of("flags").join("flags.wasm")).unwrap();
    host.rename_in(&host.folder("renamed").join("echo.wasm"), flags);
    eventually("a component without these handlers is rejected", || async {
        host.note("renamed").await.contains("must be a handler of the component")
    })
    .await;
    assert_eq!(host.get("/api/renamed/who").await.status, 200, "the previous generation keeps serving");
    host.put_manifest(
        "renamed",
        &json!({
            "component": "echo.wasm",
            "routes": [{ "method": "get", "path": "", "handler": "all" }],
        }),
    );
    host.until_served("/api/renamed/").await;
    eventually("the note is removed", || async { host.note("renamed").await.is_empty() }).await;
}

#[tokio::test]
async fn a_half_written_file_is_not_loaded() {
    let host = with_second(TestHost::empty().and_as("echo", "halves")).watched();
    let host = host.config(json!({ "swap": { "settle": "0ms", "removal": "1m" } })).start().await;
    let before = host.generation("halves").await;
    let component = fs::read(source_of("flags").join("flags.wasm")).unwrap();
    let (first, second) = component.split_at(component.len() / 2);
    let mut file = File::create(host.folder("halves").join("echo.wasm")).unwrap();
    file.write_all(first).unwrap();
    fs::write(host.folder("halves").join("module.json"), r#"{ "component": "echo.wasm", "ro"#).unwrap();
    until_scanned(&host).await;
    assert_eq!(host.generation("halves").await, before);
    assert_eq!(host.get("/api/halves/who").await.status, 200);
    file.write_all(second).unwrap();
    let manifest =
        json!({ "component": "echo.wasm", "routes": [{ "method": "get", "path": "all", "handler": "all" }] });
    fs::write(host.folder("halves").join("module.json"), manifest.to_string()).unwrap();
    host.until_served("/api/halves/all").await;
    assert!(host.log.lines(&["halves", "rejected"]).is_empty(), "{:?}", host.log.lines(&["halves", "rejected"]));
}

#[tokio::test]
async fn a_new_folder_is_loaded_and_a_removed_one_is_removed() {
    let host = watched("stays").await;
    let new = host.folder("appears");
    fs::create_dir(&new).unwrap();
    fs::copy(source_of("echo").join("echo.wasm"), new.join("echo.wasm")).unwrap();
    fs::copy(source_of("echo").join("module.json"), new.join("module.json")).unwrap();
    host.until_served("/api/appears/who").await;
    fs::remove_dir_all(&new).unwrap();
    eventually("the module is removed", || async { host.get("/api/appears/who").await.status == 404 }).await;
    let status = host.status().await;
    assert_eq!(status["modules"].as_array().unwrap().len(), 1, "{status}");
    assert_eq!(host.get("/api/stays/who").await.status, 200);
}

#[tokio::test]
async fn a_folder_that_is_deleted_and_created_again_keeps_serving() {
    let host = TestHost::empty().and_as("echo", "reborn").watched();
    let host = host.config(json!({ "swap": { "removal": "1m" } })).start().await;
    let folder = host.folder("reborn");
    fs::remove_dir_all(&folder).unwrap();
    for _ in 0..20 {
        assert_eq!(host.get("/api/reborn/who").await.status, 200);
    }
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("module.json"), with_route("new").to_string()).unwrap();
    fs::copy(source_of("echo").join("echo.wasm"), folder.join("echo.wasm")).unwrap();
    host.until_served("/api/reborn/new").await;
    assert!(!host.log.contains(&["reborn", "module removed"]));
}

#[tokio::test]
async fn a_link_that_is_switched_is_followed() {
    let in_bin = |path: &str| {
        let mut manifest = with_route(path);
        manifest["component"] = json!("bin/echo.wasm");
        manifest.to_string()
    };
    let host = watched("beside").await;
    for (version, path) in [("v1", "one"), ("v2", "two")] {
        let component = fs::read(source_of("echo").join("echo.wasm")).unwrap();
        host.dir.write(&format!("versions/{version}/bin/echo.wasm"), component);
        host.dir.write(&format!("versions/{version}/module.json"), in_bin(path));
    }
    let link = |version: &str| {
        let beside = host.dir.path().join("beside");
        symlink(host.dir.path().join("versions").join(version), &beside).unwrap();
        fs::rename(beside, host.folder("linked")).unwrap();
    };
    link("v1");
    host.until_served("/api/linked/one").await;
    link("v2");
    host.until_served("/api/linked/two").await;
    until_scanned(&host).await;
    // The target of the link is watched now.
    host.dir.write("versions/v2/module.json", in_bin("three"));
    host.until_served("/api/linked/three").await;
}

#[tokio::test]
async fn the_target_of_a_linked_component_is_watched() {
    let host = with_second(TestHost::empty().and_as("echo", "linked-component")).watched();
    let host = host.config(json!({ "swap": { "settle": "0ms" } })).start().await;
    let component = host.folder("linked-component").join("echo.wasm");
    let target = host.dir.write("builds/echo.wasm", fs::read(&component).unwrap());
    let beside = host.dir.path().join("beside");
    symlink(&target, &beside).unwrap();
    fs::rename(beside, &component).unwrap();
    until_scanned(&host).await;
    fs::write(&target, fs::read(source_of("flags").join("flags.wasm")).unwrap()).unwrap();
    eventually("the change of the target is noticed", || async {
        host.note("linked-component").await.contains("must be a handler")
    })
    .await;
}

#[tokio::test]
async fn a_component_that_is_built_later_is_loaded() {
    let host = watched("beside").await;
    let manifest = json!({
        "component": "target/out/echo.wasm",
        "routes": [{ "method": "get", "path": "who", "handler": "who" }],
    });
    host.dir.write("modules/later/module.json", manifest.to_string());
    eventually("it waits", || async { host.get("/api/later/who").await.status == 503 }).await;
    let component = fs::read(source_of("echo").join("echo.wasm")).unwrap();
    fs::create_dir_all(host.folder("later").join("target/out")).unwrap();
    until_scanned(&host).await;
    host.dir.write("modules/later/target/out/echo.wasm", component);
    host.until_served("/api/later/who").await;
}

#[tokio::test]
async fn a_startup_that_traps_rejects_the_generation() {
    let host = TestHost::empty().and_as("startup", "trapping").watched().start().await;
    let manifest = fs::read_to_string(host.folder("trapping").join("module.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    manifest["config"] = json!({ "mode": "traps", "worker": 1 });
    host.put_manifest("trapping", &manifest);
    eventually("the reload is rejected", || async { host.note("trapping").await.contains("files are refused") }).await;
    for worker in [0, 1] {
        let started = host.run(worker, "trapping", "started&method=GET", Value::Null).await;
        assert_eq!(started, json!(["warm StartupReason::Start"]), "the old instance keeps its memory");
    }
}

/// `swap.patience`, and `swap.poll`, because the system reports a series of changes late.
#[tokio::test]
pub async fn files_that_keep_changing_are_read_after_patience() {
    let host = TestHost::empty().and_as("echo", "restless").watched();
    let host = host.config(json!({ "swap": { "patience": "1s", "settle": "1m", "poll": "50ms" } })).start().await;
    eventually("the folder is read as it is", || async {
        host.put_manifest("restless", &with_route("new"));
        host.get("/api/restless/new").await.status == 200
    })
    .await;
}

/// `swap.settle`.
#[tokio::test]
pub async fn files_are_read_once_they_have_settled() {
    let host = TestHost::empty().and_as("echo", "settling").and_as("echo", "beside").watched();
    let host = host.config(json!({ "swap": { "settle": "1m" } })).start().await;
    host.put_manifest("settling", &with_route("new"));
    let reload = tokio::spawn(host.running().swapper().reload("settling", ReloadOptions::CHANGE));
    host.put_manifest("beside", &with_route("new"));
    assert_eq!(host.get("/api/settling/new").await.status, 404);
    assert!(!reload.is_finished());
    reload.abort();
}

#[tokio::test]
async fn an_empty_folder_that_is_filled_later_is_loaded() {
    let host = watched("beside").await;
    let folder = host.folder("filled");
    fs::create_dir(&folder).unwrap();
    until_scanned(&host).await;
    for file in ["echo.wasm", "module.json"] {
        fs::copy(source_of("echo").join(file), folder.join(file)).unwrap();
    }
    host.until_served("/api/filled/who").await;
}

#[tokio::test]
async fn a_folder_that_is_created_again_is_watched() {
    let host = watched("anew").await;
    let folder = host.folder("anew");
    let component = fs::read(folder.join("echo.wasm")).unwrap();
    // Some file systems give the new folder the inode of the old one.
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("echo.wasm"), component).unwrap();
    fs::write(folder.join("module.json"), with_route("one").to_string()).unwrap();
    host.until_served("/api/anew/one").await;
    fs::write(folder.join("module.json"), with_route("two").to_string()).unwrap();
    host.until_served("/api/anew/two").await;
}

#[tokio::test]
async fn rewriting_a_file_without_a_change_renews_nothing() {
    let host = with_second(TestHost::empty().and_as("echo", "same")).watched().start().await;
    assert_eq!(host.count("worker-0", "same").await, 1);
    let file = host.folder("same").join("module.json");
    host.rename_in(&file, fs::read(&file).unwrap());
    until_scanned(&host).await;
    assert_eq!(host.count("worker-0", "same").await, 2, "the same instance");
}

#[tokio::test]
async fn a_folder_with_an_invalid_name_is_rejected() {
    let host = watched("beside").await;
    let folder = host.folder("Bad_Name");
    fs::create_dir(&folder).unwrap();
    for file in ["echo.wasm", "module.json"] {
        fs::copy(source_of("echo").join(file), folder.join(file)).unwrap();
    }
    let listed = |name: &'static str| {
        let host = &host;
        async move {
            let status = host.status().await;
            status["modules"].as_array().unwrap().iter().find(|module| module["name"] == name).cloned()
        }
    };
    let is_refused = |module: &Value| module["state"] == "refused";
    eventually("it is refused", || async { listed("Bad_Name").await.is_some_and(|bad| is_refused(&bad)) }).await;
    let bad = listed("Bad_Name").await.unwrap();
    assert!(bad["reason"].as_str().unwrap().contains("rename the folder"), "{bad}");
    assert!(host.log.contains(&["Bad_Name", "module rejected", "rename the folder"]));
    fs::remove_dir_all(&folder).unwrap();
    eventually("it is no longer listed", || async { listed("Bad_Name").await.is_none() }).await;
}

#[tokio::test]
async fn a_module_without_its_component_is_listed_as_waiting_at_once() {
    let host = TestHost::empty().and_as("echo", "beside").watched();
    let host = host.config(json!({ "swap": { "removal": "1m" } })).start().await;
    fs::create_dir(host.folder("uncompiled")).unwrap();
    fs::copy(source_of("echo").join("module.json"), host.folder("uncompiled").join("module.json")).unwrap();
    eventually("it waits", || async {
        let status = host.status().await;
        let modules = status["modules"].as_array().unwrap();
        modules.iter().any(|module| module["name"] == "uncompiled" && module["state"] == "waiting")
    })
    .await;
    assert_eq!(host.operate("modules/uncompiled/reload").await["code"], "refused");
    assert_eq!(host.log.lines(&["uncompiled", "waiting for the component"]).len(), 1);
    fs::copy(source_of("echo").join("echo.wasm"), host.folder("uncompiled").join("echo.wasm")).unwrap();
    host.until_served("/api/uncompiled/who").await;
}

/// The watcher does not read a folder again while its modification time shows that it is still
/// empty.
#[tokio::test]
async fn a_folder_that_was_empty_for_long_is_loaded_once_it_is_filled() {
    let host = TestHost::empty().and_as("echo", "beside");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let host = host.config(json!({ "swap": { "watch": true, "poll": "50ms" } }));
    let host = host.file("modules/old/README", "").start().await;
    File::open(host.folder("old")).unwrap().set_modified(long_ago).unwrap();
    let dangling = host.folder("dangling");
    fs::create_dir(&dangling).unwrap();
    let manifest = host.dir.path().join("manifest.json");
    symlink(&manifest, dangling.join("module.json")).unwrap();
    fs::copy(source_of("echo").join("echo.wasm"), dangling.join("echo.wasm")).unwrap();
    File::open(&dangling).unwrap().set_modified(long_ago).unwrap();
    for path in ["one", "two"] {
        host.put_manifest("beside", &with_route(path));
        host.until_served(&format!("/api/beside/{path}")).await;
    }
    for file in ["echo.wasm", "module.json"] {
        fs::copy(source_of("echo").join(file), host.folder("old").join(file)).unwrap();
    }
    host.until_served("/api/old/who").await;
    fs::copy(source_of("echo").join("module.json"), &manifest).unwrap();
    host.until_served("/api/dangling/who").await;
}
