//! One trace for a call and all that it causes, on every node.

use serde_json::{Value, json};

use super::sees;
use crate::cli::project::{Project, Serving};
use crate::harness::{Nats, TestHost, eventually, node};
use crate::rpc::end;

/// The lines of the log of a host that have this text.
fn lines(host: &Serving, text: &str) -> Vec<String> {
    host.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

#[tokio::test]
async fn calls_and_broadcasts_have_the_trace_of_their_cause_on_every_node() {
    let Some(nats) = Nats::start().await else { return };
    // The broadcast `noted` writes to the log. `b-1` has a log of its own.
    let noted = json!({ "broadcasts": { "wave": { "path": "hear" }, "noted": { "path": "log-around" } } });
    let rights = json!({ "rpc": ["echo", "serial", "counts"], "broadcast": ["counts"] });
    let project = Project::with(&["waits"]).config(node("b-1", "beta", &nats.url()));
    let project = project.config(json!({ "modules": { "waits": { "grants": rights } } }));
    let mut manifest: Value = serde_json::from_str(&project.read("modules/waits/module.json")).unwrap();
    manifest.as_object_mut().unwrap().extend(noted.as_object().unwrap().clone());
    let project = project.file("modules/waits/module.json", manifest.to_string());
    let b = project.serve(&[]).await;
    let a = TestHost::waits_for(&[]).manifest("waits", noted).config(nats.node("a-1", "alpha"));
    let a = a.start().await;
    sees(&a, &[("a-1", "waits"), ("b-1", "waits")]).await;
    let knows = || async { b.operator("GET", "/v1/nodes").await.json()["nodes"].as_array().unwrap().len() == 2 };
    eventually("b knows a", knows).await;

    let trace = |number: u128| format!("{:032x}", 0x77b3_4da6_a3ce_929d_0e0e_4736_0000_u128 + number);
    let send = async |path: &str, number: u128, body: Value| {
        let parent = format!("00-{}-00f067aa0ba902b7-01", trace(number));
        a.request("POST", &format!("/api/waits/{path}"), &[("traceparent", &parent)], body.to_string()).await
    };
    let noted = |text: &str| json!({ "route": "waits/log-around", "target": { "node": "b-1" }, "payload": text });
    let answer = send("nested", 1, noted("call of trace one")).await;
    assert_eq!(end(&answer.json()), "ok", "{}", answer.text());
    let answer = send("emit", 2, json!({ "name": "noted", "payload": "broadcast of trace two" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = send("gather", 3, json!({ "name": "noted", "payload": "gather of trace three" })).await;
    assert_eq!(answer.json().as_array().unwrap().len(), 4, "{}", answer.text());
    let notify =
        json!({ "route": "waits/log-around", "payload": "notification of trace four", "target": { "node": "b-1" } });
    let answer = send("notify", 4, notify).await;
    assert_eq!(answer.json()["ok"], 1, "{}", answer.text());
    // From a to b, and back to a.
    let back = json!({ "route": "waits/log-around", "target": { "node": "a-1" }, "payload": "back with trace five" });
    let through = json!({ "route": "waits/nested", "target": { "node": "b-1" }, "payload": back });
    assert_eq!(end(&send("nested", 5, through).await.json()), "ok");
    // What fails on b has the trace in the problem document of a.
    let fails = json!({ "route": "waits/relay", "target": { "node": "b-1" }, "payload": "x" });
    assert_eq!(end(&send("nested", 6, fails).await.json()), "failure");

    // Each call writes a line before it waits, and one after it.
    for (text, number, count) in [
        ("call of trace one", 1, 2),
        ("broadcast of trace two", 2, 4),
        ("gather of trace three", 3, 4),
        ("notification of trace four", 4, 2),
    ] {
        eventually(text, || async { lines(&b, text).len() == count }).await;
        let found = lines(&b, text);
        assert!(found.iter().all(|line| line.contains(&trace(number))), "{found:?}");
    }
    assert!(a.log.contains(&["after back with trace five", &trace(5)]));
    assert!(a.log.contains(&["after broadcast of trace two", &trace(2)]));
}
