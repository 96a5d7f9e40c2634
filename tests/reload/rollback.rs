//! Retained generations, rollbacks and pins.

use std::fs;

use super::*;

const NEVER: &str = "/api/echo/who";

/// A host that has served the routes `one` and then `two` of `echo`.
async fn two_generations() -> Started {
    let host = TestHost::with("echo").start().await;
    for path in ["one", "two"] {
        host.put_manifest("echo", &with_route(path));
        host.operate("modules/echo/reload").await;
        host.until_served(&format!("/api/echo/{path}")).await;
    }
    host
}

#[tokio::test]
async fn a_rollback_pins_the_previous_generation_until_the_folder_changes() {
    let host = two_generations().await;
    let back = host.operate("modules/echo/rollback").await;
    assert_eq!((&back["outcome"], &back["pinned"]), (&json!("swapped"), &json!(true)), "{back}");
    assert_eq!(host.get("/api/echo/one").await.status, 200);
    assert_eq!(host.get("/api/echo/two").await.status, 404);
    let note = host.note("echo").await;
    assert!(note.contains("pinned by a rollback") && note.ends_with("`fanfare reload echo --force`"), "{note}");
    let renewed = host.operate("modules/echo/reload").await;
    assert_eq!((&renewed["generation"], &renewed["pinned"]), (&back["generation"], &json!(true)));

    let host = TestHost::empty().again(host.leave().await).start().await;
    assert_eq!(host.get("/api/echo/one").await.status, 200, "after a restart");
    assert!(host.note("echo").await.contains("pinned by a rollback"));

    host.put_manifest("echo", &with_route("three"));
    let changed = host.operate("modules/echo/reload").await;
    assert_eq!(changed["pinned"], json!(false), "{changed}");
    assert_eq!(host.get("/api/echo/three").await.status, 200);
    eventually("the note is removed", || async { host.note("echo").await.is_empty() }).await;
}

#[tokio::test]
async fn the_log_tells_a_swap_a_restart_and_a_rollback_apart() {
    let host = TestHost::empty().and_as("echo", "logged").start().await;
    let generation = |answer: &Value| answer["generation"].as_str().unwrap().to_owned();
    let one = generation(&host.operate("modules/logged/reload").await);
    host.put_manifest("logged", &with_route("two"));
    let two = generation(&host.operate("modules/logged/reload").await);
    host.operate("modules/logged/rollback").await;
    for line in [
        format!("started generation {one}"),
        format!("restarted generation {one}: a reload was requested"),
        format!("swapped {one} -> {two}: a reload was requested"),
        format!("rolled back {two} -> {one}: the operator asked for a rollback"),
    ] {
        assert_eq!(host.log.lines(&["module=logged", &line]).len(), 1, "{line}");
    }
}

#[tokio::test]
async fn an_empty_generation_is_invalid() {
    let host = two_generations().await;
    let refused = host.admin("POST", "/v1/modules/echo/rollback?to=", "").await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid"));
    assert_eq!(host.get("/api/echo/two").await.status, 200, "nothing was rolled back");
}

#[tokio::test]
async fn a_forced_reload_loads_the_folder_again() {
    let host = two_generations().await;
    host.operate("modules/echo/rollback").await;
    let forced = host.operate("modules/echo/reload?force=true").await;
    assert_eq!(forced["pinned"], json!(false), "{forced}");
    assert_eq!(host.get("/api/echo/two").await.status, 200);
    assert_eq!(host.operate("modules/echo/reload").await["generation"], forced["generation"]);
    host.operate("modules/echo/rollback").await;
    let to = forced["generation"].as_str().unwrap();
    let there = host.operate(&format!("modules/echo/rollback?to={to}")).await;
    assert_eq!(there["pinned"], json!(false), "it is the generation in the folder: {there}");
    host.put_manifest("echo", &with_route("three"));
    assert_eq!(host.operate("modules/echo/reload").await["outcome"], "swapped");
}

#[tokio::test]
async fn a_pin_holds_while_a_file_is_being_written() {
    let host = two_generations().await;
    let back = host.operate("modules/echo/rollback").await;
    let component = host.folder("echo").join("echo.wasm");
    let bytes = fs::read(&component).unwrap();
    fs::write(&component, &bytes[..bytes.len() / 2]).unwrap();
    let reload = tokio::spawn(host.running().swapper().reload("echo", ReloadOptions::RENEW));
    // Once a later reload of another module has ended, this one has read the folder.
    fs::create_dir(host.folder("beside")).unwrap();
    for file in ["module.json", "echo.wasm"] {
        fs::copy(crate::harness::source_of("echo").join(file), host.folder("beside").join(file)).unwrap();
    }
    host.operate("modules/beside/reload").await;
    fs::write(&component, &bytes).unwrap();
    let reloaded = reload.await.unwrap().unwrap();
    assert_eq!((json!(reloaded.generation), reloaded.pinned), (back["generation"].clone(), true));
}

#[tokio::test]
async fn a_pinned_generation_without_its_grant_is_not_replaced_by_the_folder() {
    let host = TestHost::empty().and_as("echo", "pinned").watched();
    let host = host.config(json!({ "modules": { "pinned": { "grants": { "rpc": ["flags"] } } } })).start().await;
    let mut asking = with_route("asking");
    asking["capabilities"] = json!({ "rpc": ["flags"] });
    host.put_manifest("pinned", &asking);
    host.until_served("/api/pinned/asking").await;
    host.put_manifest("pinned", &with_route("plain"));
    host.until_served("/api/pinned/plain").await;
    host.operate("modules/pinned/rollback").await;
    host.configure(json!({ "modules": {} }));
    eventually("the reload is rejected", || async { host.note("pinned").await.contains("fanfare grant pinned") }).await;
    assert!(host.note("pinned").await.contains("`fanfare reload pinned --force` loads the folder instead"));
    assert_eq!(host.get("/api/pinned/asking").await.status, 200);
    assert_eq!(host.get("/api/pinned/plain").await.status, 404);
}

#[tokio::test]
async fn three_generations_are_retained_and_each_can_be_named() {
    let host = two_generations().await;
    let first = host.operate("modules/echo/rollback").await;
    let further = host.operate("modules/echo/rollback").await;
    assert_ne!(first["generation"], further["generation"], "the second rollback goes one further back");
    assert_eq!(host.get("/api/echo/echo").await.status, 405, "the generation of the start");
    let none = host.operate("modules/echo/rollback").await;
    assert!(
        none["detail"].as_str().unwrap().contains("has no previous generation; retained generations, newest first: "),
        "{none}"
    );
    let to = first["generation"].as_str().unwrap();
    let named = host.operate(&format!("modules/echo/rollback?to={to}")).await;
    assert_eq!(named["generation"], first["generation"]);
    let unknown = host.operate("modules/echo/rollback?to=zzz").await;
    assert!(unknown["detail"].as_str().unwrap().contains("no retained generation zzz"), "{unknown}");

    host.put_manifest("echo", &with_route("three"));
    host.operate("modules/echo/reload").await;
    let kept = fs::read_dir(host.dir.path().join("state/generations/echo")).unwrap().count();
    assert_eq!(kept, 1 + 2 * 3, "the index, three manifests and three components");
    assert_eq!(host.admin("POST", "/v1/modules/ghost/rollback", "").await.status, 404);
}

#[tokio::test]
async fn a_tampered_generation_is_rejected() {
    let host = two_generations().await;
    let folder = host.dir.path().join("state/generations/echo");
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            fs::write(path, fs::read(crate::harness::source_of("flags").join("flags.wasm")).unwrap()).unwrap();
        }
    }
    let refused = host.operate("modules/echo/rollback").await;
    assert!(refused["detail"].as_str().unwrap().contains("have changed since they were saved"), "{refused}");
    assert_eq!(host.get("/api/echo/two").await.status, 200);
}

#[tokio::test]
async fn a_start_with_a_broken_folder_serves_the_last_good_generation() {
    let host = two_generations().await;
    let dir = host.leave().await;
    dir.write("modules/echo/module.json", "{ broken");
    let host = TestHost::empty().again(dir).start().await;
    assert_eq!(host.get("/api/echo/two").await.status, 200);
    let note = host.note("echo").await;
    assert!(
        note.contains("the last good generation serves, because the module's files cannot be loaded")
            && note.contains("module.json:1:"),
        "{note}"
    );

    let dir = host.leave().await;
    dir.write("modules/echo/module.json", r#"{ "component": "echo.wasm", "rotues": [], "broadcats": {} }"#);
    let host = TestHost::empty().again(dir).start().await;
    let note = host.note("echo").await;
    assert!(note.contains("rotues") && note.contains("broadcats"), "every fault: {note}");

    let dir = host.leave().await;
    dir.write("modules/echo/module.json", with_route("two").to_string());
    fs::remove_file(dir.path().join("modules/echo/echo.wasm")).unwrap();
    let host = TestHost::empty().again(dir).start().await;
    assert_eq!(host.get("/api/echo/two").await.status, 200, "the same without the component");
    host.put_manifest("echo", &with_route("three"));
    fs::copy(crate::harness::source_of("echo").join("echo.wasm"), host.folder("echo").join("echo.wasm")).unwrap();
    host.operate("modules/echo/reload").await;
    assert_eq!(host.get("/api/echo/three").await.status, 200);
}

#[tokio::test]
async fn a_rejected_generation_is_not_retained() {
    let host = two_generations().await;
    host.put_manifest("echo", &json!({ "component": "echo.wasm", "routes": [{ "path": "x", "handler": "nothing" }] }));
    assert_eq!(host.operate("modules/echo/reload").await["code"], "refused");
    let back = host.operate("modules/echo/rollback").await;
    assert_eq!(back["outcome"], "swapped");
    assert_eq!(host.get("/api/echo/one").await.status, 200);
    assert_eq!(host.get(NEVER).await.status, 200);
}

#[tokio::test]
async fn a_rejected_folder_does_not_end_a_pin() {
    let host = two_generations().await;
    host.operate("modules/echo/rollback").await;
    host.rename_in(&host.folder("echo").join("module.json"), "{ broken");
    assert_eq!(host.operate("modules/echo/reload?force=true").await["code"], "refused");
    let host = TestHost::empty().again(host.leave().await).start().await;
    assert_eq!(host.get("/api/echo/one").await.status, 200, "the generation that served before the restart");
    assert_eq!(host.get("/api/echo/two").await.status, 404);
}

#[tokio::test]
async fn a_generation_is_retained_once_it_has_served() {
    let failing = json!({ "config": { "mode": "fails" } });
    let host = TestHost::empty().and_as("startup", "first").manifest("first", failing.clone());
    let host =
        host.and_as("startup", "next").manifest("next", failing).and_as("echo", "last").max_restarts(0).start().await;
    let away = |module: &str| host.dir.path().join("away").join(module);
    fs::create_dir(host.dir.path().join("away")).unwrap();
    for module in ["next", "last"] {
        fs::rename(host.folder(module), away(module)).unwrap();
        fs::remove_dir_all(host.dir.path().join("state/generations").join(module)).ok();
        assert_eq!(host.operate(&format!("modules/{module}/reload")).await["outcome"], "removed");
        fs::rename(away(module), host.folder(module)).unwrap();
        assert_eq!(host.operate(&format!("modules/{module}/reload")).await["outcome"], "started");
    }
    for module in ["first", "next"] {
        let none = host.operate(&format!("modules/{module}/rollback")).await;
        assert!(none["detail"].as_str().unwrap().contains("retained generations, newest first: none"), "{none}");
    }
    host.put_manifest("last", &with_route("two"));
    let swapped = host.operate("modules/last/reload").await;
    let back = host.operate("modules/last/rollback").await;
    assert_eq!((&back["generation"], &back["from"]), (&swapped["from"], &swapped["generation"]), "{back}");
}

#[tokio::test]
async fn a_pin_holds_when_the_folder_returns_to_what_it_was() {
    let host = two_generations().await;
    let back = host.operate("modules/echo/rollback").await;
    host.put_manifest("echo", &json!({ "component": "echo.wasm", "routes": [{ "path": "x", "handler": "nothing" }] }));
    assert_eq!(host.operate("modules/echo/reload").await["code"], "refused");
    host.put_manifest("echo", &with_route("two"));
    let again = host.operate("modules/echo/reload").await;
    assert_eq!((&again["generation"], &again["pinned"]), (&back["generation"], &json!(true)), "{again}");
}
