//! Variables, secrets and configuration.

use serde_json::{Value, json};

use crate::harness::{Started, TestHost, eventually};

const SECRET: &str = "correct-horse-battery";

fn host(grants: Value) -> TestHost {
    TestHost::with("outside").manifest("outside", json!({ "capabilities": grants })).grant("outside", grants)
}

async fn get(host: &Started, path: &str, body: &str) -> Value {
    host.post(&format!("/api/outside/{path}"), body).await.json()
}

#[tokio::test]
async fn a_module_reads_the_variables_that_it_has() {
    let host = host(json!({ "env": ["REGION"] }))
        .config(json!({ "modules": { "outside": { "env": { "REGION": "eu", "OTHER": "x" } } } }))
        .start()
        .await;
    assert_eq!(get(&host, "variable", "REGION").await, "eu");
    for other in ["OTHER", "PATH", "HOME"] {
        assert_eq!(get(&host, "variable", other).await, Value::Null, "{other}");
    }
}

#[tokio::test]
async fn a_changed_variable_restarts_the_same_generation() {
    let own = json!({ "capabilities": { "env": ["REGION"] } });
    let host = TestHost::empty().and_as("outside", "moved").manifest("moved", own).watched();
    let settings = |region: &str| json!({ "grants": { "env": ["REGION"] }, "env": { "REGION": region } });
    let host = host.config(json!({ "modules": { "moved": settings("eu") } })).start().await;
    let region = async || host.post("/api/moved/variable", "REGION").await.json();
    assert_eq!(region().await, "eu");
    let generation = host.generation("moved").await;
    host.configure(json!({ "modules": { "moved": settings("us") } }));
    eventually("the new value takes effect", || async { region().await == "us" }).await;
    assert_eq!(host.generation("moved").await, generation);
    let restarted = format!("restarted generation {generation}: the module's files or settings changed");
    // The other worker may still have the old value.
    eventually("the log says so", || async { host.log.contains(&["INFO", "module=moved", &restarted]) }).await;
}

#[tokio::test]
async fn a_module_reads_its_secrets_and_nothing_of_the_host_shows_them() {
    let host = host(json!({ "secrets": ["hmac"] }))
        .file("hmac.txt", format!("{SECRET}\n"))
        .manifest("outside", json!({ "config": { "greeting": "hello", "limits": { "most": 3 } } }))
        .config(json!({ "modules": { "outside": { "secrets": { "hmac": { "file": "hmac.txt" } } } } }))
        .start()
        .await;
    let all = json!(["greeting=hello", "limits={\"most\":3}"]);
    let of = |own: Value, wasi: Value| json!({ "own": own, "wasi": wasi, "all": all });
    assert_eq!(get(&host, "config", "secrets/hmac").await, of(json!(SECRET), json!(SECRET)));
    assert_eq!(get(&host, "config", "greeting").await, of(json!("hello"), json!("hello")));
    assert_eq!(get(&host, "config", "limits/most").await, of(json!(3), json!("3")));
    for other in ["secrets", "secrets/", "secrets/other", ""] {
        let found = get(&host, "config", other).await;
        assert!(!found.to_string().contains(SECRET) && found["wasi"].is_null(), "{other}: {found}");
    }
    let why = "add \"other\" to capabilities.secrets in its module.json, then run `fanfare grant outside`";
    assert_eq!(host.log.lines(&["outside has no `secrets` capability for other", why]).len(), 1);
    for path in ["/v1/status", "/metrics", "/v1/modules"] {
        assert!(!host.admin("GET", path, "").await.text().contains(SECRET), "{path}");
    }
    assert!(!host.log.contains(&[SECRET]), "the log has the secret");
}

#[tokio::test]
async fn a_new_secret_takes_effect_with_a_reload() {
    let host = host(json!({ "secrets": ["rotating"] }))
        .file("rotating.txt", "one")
        .config(json!({ "modules": { "outside": { "secrets": { "rotating": { "file": "rotating.txt" } } } } }))
        .start()
        .await;
    assert_eq!(get(&host, "config", "secrets/rotating").await["own"], "one");
    host.dir.write("rotating.txt", "two");
    assert_eq!(host.admin("POST", "/v1/modules/outside/reload", "").await.status, 200);
    assert_eq!(get(&host, "config", "secrets/rotating").await["own"], "two");
}

#[tokio::test]
async fn a_secret_without_a_place_or_with_an_unreadable_one_is_refused_at_load() {
    let refused = async |host: TestHost| {
        let host = host.start().await;
        let status = host.admin("GET", "/v1/status", "").await.json();
        status["modules"][0]["reason"].as_str().unwrap_or_default().to_owned()
    };
    let why = refused(host(json!({ "secrets": ["lost"] }))).await;
    assert!(why.contains("modules.outside.secrets.lost: is required"), "{why}");
    let place = json!({ "modules": { "outside": { "secrets": { "lost": { "file": "none.txt" } } } } });
    let why = refused(host(json!({ "secrets": ["lost"] })).config(place)).await;
    assert!(why.contains("modules.outside.secrets.lost: cannot be read"), "{why}");
}

#[tokio::test]
async fn wasi_logging_writes_to_the_log_of_the_module() {
    let host = TestHost::with("outside").start().await;
    host.post("/api/outside/log", "logged by wasi").await;
    assert!(host.log.contains(&["ERROR", "logged by wasi context=the context", "module=outside"]));
}
