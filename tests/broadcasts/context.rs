//! The context of a broadcast: whether this worker emitted it, and the subdomain.

use serde_json::{Value, json};

use super::{heard, heard_all};
use crate::harness::{Started, TestHost, json_of};

/// `sameAsCaller` of the only broadcast in each of the first two workers.
async fn same_as_caller(host: &Started) -> [bool; 2] {
    let one = async |worker| heard_all(host, worker, 1).await[0].same_as_caller;
    [one(0).await, one(1).await]
}

async fn subdomains(host: &Started) -> [Option<String>; 2] {
    let last = async |worker| heard(host, worker).await.last().unwrap().subdomain.clone();
    [last(0).await, last(1).await]
}

#[tokio::test]
async fn same_as_caller_is_true_in_the_emitting_worker_only() {
    let host = TestHost::with("counts").start().await;
    host.run(1, "counts", "emit", "x".into()).await;
    assert_eq!(same_as_caller(&host).await, [false, true]);
}

#[tokio::test]
async fn same_as_caller_works_for_a_broadcast_of_another_module() {
    let host = TestHost::waits_for(&["counts"]).start().await;
    let receipt = host.run(0, "waits", "emit", json!({ "module": "counts", "name": "append" })).await;
    assert_eq!(receipt["ok"]["accepted"], 2, "{receipt}");
    assert_eq!(same_as_caller(&host).await, [true, false]);
}

#[tokio::test]
async fn same_as_caller_is_false_for_the_operator_and_cannot_be_forged() {
    let host = TestHost::with("counts").start().await;
    let forged = r#"{"sameAsCaller":true,"same-as-caller":true,"same_as_caller":true}"#;
    let path = "/v1/modules/counts/broadcasts/append?sameAsCaller=true&same-as-caller=true";
    assert_eq!(host.admin("POST", path, forged).await.status, 202);
    assert_eq!(same_as_caller(&host).await, [false, false]);
    assert_eq!(heard(&host, 0).await[0].payload.as_deref(), Some(forged), "the payload arrives unchanged");
}

#[tokio::test]
async fn a_gather_sets_same_as_caller_too() {
    let host = TestHost::waits_for(&[]).start().await;
    let entries = host.run(1, "waits", "gather", json!({ "name": "wave" })).await;
    let said = |index: usize| {
        let payload = entries[index]["outcome"]["ok"]["payload"].as_str().unwrap();
        serde_json::from_str::<Value>(payload).unwrap()["sameAsCaller"].clone()
    };
    assert_eq!((said(0), said(1)), (json!(false), json!(true)), "{entries}");
}

fn with_domain(host: TestHost) -> TestHost {
    host.config(json!({ "http": { "domain": "example.test" } }))
}

#[tokio::test]
async fn a_broadcast_carries_the_subdomain_of_the_host_header() {
    let host = with_domain(TestHost::with("counts")).start().await;
    let hosts = [("acme.example.test", Some("acme")), ("example.test", None), ("acme.example.com", None)];
    for (count, (name, expected)) in (1..).zip(hosts) {
        let answer = host.request("POST", "/api/counts/emit", &[("host", name)], "x").await;
        assert_eq!(answer.status, 200);
        for worker in [0, 1] {
            heard_all(&host, worker, count).await;
        }
        assert_eq!(subdomains(&host).await, [(); 2].map(|()| expected.map(str::to_owned)), "{name}");
    }
}

#[tokio::test]
async fn without_a_domain_there_is_no_subdomain() {
    let host = TestHost::with("counts").start().await;
    host.request("POST", "/api/counts/emit", &[("host", "acme.example.test")], "x").await;
    for worker in [0, 1] {
        heard_all(&host, worker, 1).await;
    }
    assert_eq!(subdomains(&host).await, [None, None]);
}

#[tokio::test]
async fn a_subdomain_can_be_set_on_emit() {
    let host = with_domain(TestHost::waits_for(&["counts"])).start().await;
    let emit = json!({ "module": "counts", "name": "append", "subdomain": "other" }).to_string();
    host.request("POST", "/api/waits/emit", &[("host", "acme.example.test")], emit).await;
    host.admin("POST", "/v1/modules/counts/broadcasts/append?subdomain=operated", "").await;
    for worker in [0, 1] {
        let heard = heard_all(&host, worker, 2).await;
        let subdomains: Vec<_> = heard.iter().map(|heard| heard.subdomain.as_deref().unwrap()).collect();
        assert_eq!(subdomains, ["other", "operated"]);
    }
}

#[tokio::test]
async fn calls_from_a_broadcast_inherit_its_subdomain() {
    let relay = json!({ "broadcasts": { "relay": { "path": "nested" } } });
    let host = with_domain(TestHost::waits_for(&["echo"])).manifest("waits", relay).start().await;
    let gather = json!({ "name": "relay", "payload": { "route": "echo/context" } }).to_string();
    let entries = host.request("POST", "/api/waits/gather", &[("host", "acme.example.test")], gather).await.json();
    for entry in entries.as_array().unwrap() {
        let context = json_of(&json_of(&entry["outcome"]["ok"])["ok"]);
        assert_eq!(context["subdomain"], "acme", "{entry}");
    }
}
