//! Changes of `fanfare.json` while the host runs.

use std::fs;

use super::*;

impl Started {
    /// Replaces top-level keys of `fanfare.json`.
    pub fn configure(&self, keys: Value) {
        let mut settings = self.settings.clone();
        settings.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        self.rename_in(&self.dir.path().join("fanfare.json"), settings.to_string());
    }
}

#[tokio::test]
async fn a_changed_module_section_takes_effect() {
    let host = TestHost::empty().and_as("echo", "section").and_as("echo", "section-beside").watched().start().await;
    assert_eq!(host.count("worker-0", "section-beside").await, 1);
    host.configure(
        json!({ "modules": { "section": { "config": { "greeting": "hi" }, "limits": { "payload": "1KiB" } } } }),
    );
    eventually("the module has the value", || async {
        host.run(0, "section", "settings", Value::Null).await == json!({ "greeting": "hi" })
    })
    .await;
    assert_eq!(host.post("/api/section/echo", vec![b'x'; 2000]).await.status, 413, "the limit applies too");
    assert_eq!(host.count("worker-0", "section-beside").await, 2, "an unchanged module is not renewed");
}

#[tokio::test]
async fn a_module_starts_when_its_missing_grant_is_added() {
    let ask = json!({ "capabilities": { "broadcast": ["flags"] } });
    let host = TestHost::empty().and_as("echo", "asks").manifest("asks", ask).watched().start().await;
    assert_eq!(host.get("/api/asks/who").await.status, 503);
    host.configure(json!({ "modules": { "asks": { "grants": { "broadcast": ["flags"] } } } }));
    host.until_served("/api/asks/who").await;
    // Without the grant the reload is rejected, and the module keeps serving.
    host.configure(json!({ "modules": {} }));
    eventually("the reload is rejected", || async { host.note("asks").await.contains("fanfare grant asks") }).await;
    assert_eq!(host.get("/api/asks/who").await.status, 200);
    // It still has the capability, and everybody who looks sees that.
    let kept = "keeps capabilities that fanfare.json no longer grants: broadcast: flags; to end the access, remove";
    assert!(host.note("asks").await.contains(kept), "{}", host.note("asks").await);
    assert!(host.log.contains(&["module=asks", kept]));
    assert!(host.get("/").await.text().contains(kept), "the page for developers");
    host.configure(json!({ "modules": { "asks": { "grants": { "broadcast": ["flags"] } } } }));
    eventually("the note is removed", || async { host.note("asks").await.is_empty() }).await;
    assert!(host.log.contains(&["INFO", "module=asks", "are those of the generation that serves again"]));
}

#[tokio::test]
async fn a_changed_ceiling_takes_effect() {
    let host =
        TestHost::empty().and_as("echo", "ceiling").manifest("ceiling", json!({ "limits": { "timeout": "50s" } }));
    let host = host.watched().start().await;
    host.configure(json!({ "limits": { "max": { "timeout": "40s" } } }));
    eventually("the reload is rejected", || async { host.note("ceiling").await.contains("limits.max.timeout") }).await;
}

#[tokio::test]
async fn other_changed_keys_are_named_and_take_effect_after_a_restart() {
    let host = TestHost::empty().and_as("echo", "named").watched().start().await;
    host.configure(json!({
        "calls": { "maxDepth": 7 },
        "modulesDir": "elsewhere",
        "modules": { "named": { "config": { "greeting": "hi" } } },
    }));
    eventually("the log names the keys", || async {
        host.log.contains(&["changed settings that take effect after a restart: calls.maxDepth, modulesDir"])
    })
    .await;
    eventually("the other keys take effect", || async {
        host.run(0, "named", "settings", Value::Null).await == json!({ "greeting": "hi" })
    })
    .await;
}

#[tokio::test]
async fn with_faults_the_previous_settings_stay_in_effect() {
    let host = TestHost::empty().and_as("echo", "faulty").watched().start().await;
    let file = host.dir.path().join("fanfare.json");
    host.rename_in(&file, r#"{ "modules": { "faulty": { "confg": {} } } }"#);
    eventually("the log names the fault", || async {
        host.log.contains(&["the previous settings stay in effect", "fanfare.json:1:", "confg", "config"])
    })
    .await;
    let refused = host.admin("POST", "/v1/modules/faulty/reload", "").await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert_eq!(host.get("/api/faulty/who").await.status, 200);
    fs::remove_file(&file).unwrap();
    let refused = host.operate("modules/faulty/reload").await;
    assert!(refused["detail"].as_str().unwrap().contains("was removed: restore it"), "{refused}");
}

#[tokio::test]
async fn a_half_written_settings_file_is_not_read() {
    let host = TestHost::empty().and_as("echo", "half-config").and_as("echo", "half-beside").watched();
    let host = host.config(json!({ "swap": { "removal": "1m" } })).start().await;
    fs::write(host.dir.path().join("fanfare.json"), r#"{ "modules": { "half-config": { "config": { "gree"#).unwrap();
    for path in ["one", "two"] {
        host.put_manifest("half-beside", &with_route(path));
        host.until_served(&format!("/api/half-beside/{path}")).await;
    }
    let file = host.dir.path().join("fanfare.json");
    assert!(
        !host.log.contains(&["the previous settings stay in effect", file.to_str().unwrap()]),
        "the half file is not read"
    );
    host.configure(json!({ "modules": { "half-config": { "config": { "greeting": "hi" } } } }));
    eventually("the complete file is read", || async {
        host.run(0, "half-config", "settings", Value::Null).await == json!({ "greeting": "hi" })
    })
    .await;
}

#[tokio::test]
async fn without_the_settings_file_the_previous_settings_stay_in_effect() {
    let host = TestHost::empty().and_as("echo", "deleted").config(json!({
        "modules": { "deleted": { "config": { "greeting": "hi" } } },
        "swap": { "removal": "0ms", "poll": "50ms" },
    }));
    let host = host.watched().config(json!({ "swap": { "poll": "50ms" } })).start().await;
    let file = host.dir.path().join("fanfare.json");
    fs::remove_file(&file).unwrap();
    let notes = || async { host.status().await["notes"].to_string() };
    eventually("the status notes it", || async { notes().await.contains("fanfare.json") }).await;
    assert!(notes().await.contains("the previous settings stay in effect"), "{}", notes().await);
    assert_eq!(host.operate("modules/deleted/reload").await["code"], "refused");
    assert_eq!(host.run(0, "deleted", "settings", Value::Null).await, json!({ "greeting": "hi" }));
    let name = host.dir.path().file_name().unwrap().to_str().unwrap();
    let told = host.log.lines(&["the previous settings stay in effect", name]);
    assert_eq!(told.len(), 1, "{told:?}");
    host.configure(json!({ "modules": { "deleted": { "config": { "greeting": "again" } } } }));
    eventually("the file is read again", || async {
        host.run(0, "deleted", "settings", Value::Null).await == json!({ "greeting": "again" })
    })
    .await;
    assert_eq!(notes().await, "[]");
}

#[tokio::test]
async fn settings_of_a_module_that_does_not_exist_are_reported_until_it_does() {
    let host = TestHost::empty().and_as("echo", "here").watched();
    let host = host.config(json!({ "modules": { "elsewhere": {} } })).start().await;
    let notes = || async { host.status().await["notes"].to_string() };
    assert!(notes().await.contains("modules.elsewhere: there is no such module in "), "{}", notes().await);
    assert!(host.log.contains(&["WARN", "modules.elsewhere: there is no such module in "]));
    fs::create_dir(host.folder("elsewhere")).unwrap();
    for file in ["echo.wasm", "module.json"] {
        fs::copy(host.folder("here").join(file), host.folder("elsewhere").join(file)).unwrap();
    }
    eventually("the module exists", || async { notes().await == "[]" }).await;
    host.configure(json!({ "modules": { "nowhere": {} } }));
    eventually("the changed settings are reported", || async { notes().await.contains("modules.nowhere: ") }).await;
    assert!(host.log.contains(&["WARN", "modules.nowhere: there is no such module in "]));
}
