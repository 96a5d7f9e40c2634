//! The configuration of a module under each subdomain.

use serde_json::{Value, json};

use crate::harness::{TestHost, json_of};

/// A host with `echo`, which replies with its configuration, and `waits`, which calls it.
fn host() -> TestHost {
    let manifest = json!({
        "config": { "plan": "free", "seats": 1 },
        "broadcasts": { "settings": { "path": "settings" } },
    });
    let operator = json!({
        "config": { "seats": 2 },
        "subdomains": { "acme": { "config": { "plan": "gold" } }, "eu.acme": { "config": { "seats": null } } },
    });
    let config = json!({ "http": { "domain": "example.test" }, "modules": { "echo": operator } });
    TestHost::waits_for(&["echo"]).manifest("echo", manifest).config(config)
}

/// The expected configuration for each host name.
fn expected() -> [(&'static str, Value); 5] {
    let usual = || json!({ "plan": "free", "seats": 2 });
    [
        ("acme.example.test", json!({ "plan": "gold", "seats": 2 })),
        ("eu.acme.example.test", json!({ "plan": "free" })),
        ("other.example.test", usual()),
        ("example.test", usual()),
        ("acme.example.com", usual()),
    ]
}

#[tokio::test]
async fn the_host_header_selects_the_configuration() {
    let host = host().start().await;
    for (name, expected) in expected() {
        let answer = host.request("GET", "/api/echo/settings", &[("host", name)], "").await;
        assert_eq!(answer.json(), expected, "{name}");
    }
}

#[tokio::test]
async fn nested_calls_have_the_configuration_of_the_same_subdomain() {
    let host = host().start().await;
    for (name, expected) in expected() {
        let wanted = json!({ "route": "echo/settings" }).to_string();
        let answer = host.request("POST", "/api/waits/nested", &[("host", name)], wanted).await;
        assert_eq!(json_of(&answer.json()["ok"]), expected, "{name}");
    }
}

#[tokio::test]
async fn broadcasts_have_the_configuration_of_the_same_subdomain_in_every_worker() {
    let host = host().start().await;
    for (name, expected) in expected() {
        let wanted = json!({ "module": "echo", "name": "settings" }).to_string();
        let entries = host.request("POST", "/api/waits/gather", &[("host", name)], wanted).await.json();
        assert_eq!(entries.as_array().unwrap().len(), 2, "{entries}");
        for worker in [0, 1] {
            assert_eq!(json_of(&entries[worker]["outcome"]["ok"]), expected, "{name}");
        }
    }
}
