//! Payloads, replies and failures arrive unchanged.

use serde_json::json;

use super::{end, message, replied};
use crate::harness::{TestHost, json_of};

#[tokio::test]
async fn guests_keep_the_kind_of_a_payload() {
    let host = TestHost::waits_for(&["echo"]).start().await;
    // `relay` forwards the payload to `echo` and returns the reply. The content type shows its
    // kind.
    let kinds: [(&str, &[u8], Option<&str>, u16); 4] = [
        ("text/plain", b"{ \"as\":  \"it\" , \"was\": 1.0e0 }", Some("text/plain; charset=utf-8"), 200),
        ("application/octet-stream", b"bytes that would be text", Some("application/octet-stream"), 200),
        ("application/octet-stream", b"\xff\0\xfe", Some("application/octet-stream"), 200),
        ("text/plain", b"", None, 204),
    ];
    for (sent, body, kind, status) in kinds {
        let answer = host.request("POST", "/api/waits/relay", &[("content-type", sent)], body).await;
        assert_eq!((answer.status, answer.header("content-type"), &*answer.body), (status, kind, body));
    }
}

#[tokio::test]
async fn status_and_payload_of_a_reply_are_kept() {
    let host = TestHost::waits_for(&["echo"]).start().await;
    let wanted = json!({ "status": 299, "body": "made" });
    let ended = host.nested(0, json!({ "route": "echo/status", "payload": wanted })).await;
    assert_eq!(ended["ok"], json!({ "status": 299, "payload": "made" }));
    let ended = host.nested(0, json!({ "route": "echo/echo" })).await;
    assert_eq!(ended["ok"], json!({ "status": 0, "payload": null }), "absent fields stay absent");
}

#[tokio::test]
async fn name_status_and_data_of_a_failure_are_kept() {
    let host = TestHost::waits_for(&["echo"]).start().await;
    let fail = json!({ "name": "out-of-tea", "message": "There is none.", "status": 418, "data": { "pots": 0 } });
    let ended = host.nested(0, json!({ "route": "echo/fail", "payload": fail })).await;
    let failure = &ended["error"]["failure"];
    assert_eq!(end(&ended), "failure");
    assert_eq!(*failure, json!({ "name": "out-of-tea", "status": 418, "data": r#"{"pots":0}"# }));
}

#[tokio::test]
async fn a_payload_over_the_limit_of_the_target_is_invalid() {
    let host = TestHost::waits_for(&["echo"]).limit("echo", "payload", 100).start().await;
    let send = async |size: usize| {
        let ended = host.nested(0, json!({ "route": "echo/echo", "payload": "x".repeat(size) })).await;
        end(&ended).to_owned()
    };
    assert_eq!((send(100).await.as_str(), send(101).await.as_str()), ("ok", "invalid"));
}

#[tokio::test]
async fn a_payload_over_the_limit_of_the_caller_is_invalid() {
    let host = TestHost::waits_for(&["echo", "counts"]).limit("waits", "payload", 1_000).start().await;
    // The request body is short, but the guest expands it.
    let send = async |handler: &str, what: &str, count: usize| {
        let body = format!(r#"{{{what},"payload":[{}]}}"#, vec!["1e9"; count].join(","));
        json_of(&host.call("worker-0", "waits", handler, body).await)
    };
    let (route, name) = (r#""route":"echo/who""#, r#""module":"counts","name":"append""#);
    for (handler, what) in [("nested", route), ("notify", route), ("emit", name), ("gather", name)] {
        let (under, over) = (send(handler, what, 50).await, send(handler, what, 100).await);
        assert!(under.get("error").is_none(), "{handler}: {under}");
        assert_eq!(end(&over), "invalid", "{handler}: {over}");
        assert!(message(&over).contains("limits.payload of waits allows 1000"), "{handler}: {over}");
    }
}

#[tokio::test]
async fn the_callee_gets_the_origin_and_the_subdomain() {
    let host = TestHost::waits_for(&["echo"]).config(json!({ "http": { "domain": "example.test" } })).start().await;
    let context = async |wanted: serde_json::Value| {
        let headers = [("host", "acme.example.test"), ("content-type", "application/json")];
        let answer = host.request("POST", "/api/waits/nested", &headers, wanted.to_string()).await;
        replied(&answer.json())
    };
    let there = context(json!({ "route": "echo/context", "target": { "worker": 1 } })).await;
    assert_eq!((&there["trigger"], &there["subdomain"]), (&json!("rpc"), &json!("acme")));
    let origin = there["origin"].as_str().unwrap();
    assert!(origin.contains("Guest") && origin.contains("waits"), "{origin}");
    let other = context(json!({ "route": "echo/context", "subdomain": "other" })).await;
    assert_eq!(other["subdomain"], "other");
}
