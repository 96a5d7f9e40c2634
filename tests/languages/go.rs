//! The package for Go (`sdk/go`), with its module in `sdk/go/conformance`.

use std::fs;

use serde_json::{Value, json};

use super::sdk::built;
use crate::cli::project::Project;
use crate::harness::{Nats, Started, TestHost, WebServer, eventually, root};

fn text(file: &str) -> String {
    fs::read_to_string(root().join("sdk/go/conformance").join(file)).unwrap()
}

/// Starts a host with one worker, the module under the name `go`, a second one under the name
/// `peer`, and grants for these origins.
async fn start(origins: Value) -> Option<Started> {
    start_in(json!({}), origins).await
}

/// The same, with these settings.
async fn start_in(settings: Value, origins: Value) -> Option<Started> {
    let component = built("go-sdk", "go-sdk")?;
    let mut manifest: Value = serde_json::from_str(&text("module.json")).unwrap();
    manifest["capabilities"] = json!({ "rpc": ["peer"], "http": origins });
    let peer = json!({
        "component": "go.wasm",
        "routes": [
            { "path": "show", "handler": "show" },
            { "path": "fail", "handler": "fail" },
            { "path": "pass", "handler": "pass", "middlewares": "inner" },
        ],
    });
    // A module that runs one call at a time cannot wait for its own middleware.
    let passed = json!({ "path": "passed", "handler": "show", "middlewares": "peer/pass" });
    manifest["routes"].as_array_mut().unwrap().push(passed);
    let host = TestHost::empty()
        .workers(1)
        .file("modules/go/module.json", manifest.to_string())
        .file("modules/go/go.wasm", &component)
        .file("modules/peer/module.json", peer.to_string())
        .file("modules/peer/go.wasm", &component)
        .grant("go", json!({ "rpc": ["peer"], "http": origins }))
        .config(json!({ "sse": {}, "http": { "domain": "example.test" }, "outgoing": { "connectTimeout": "1s" } }))
        .config(settings)
        .limit("go", "timeout", "5s")
        .start()
        .await;
    assert_eq!(host.slot("go", 0).await["state"], "ready", "{:?}", host.slot("go", 0).await);
    Some(host)
}

async fn post(host: &Started, route: &str, body: impl Into<String>) -> Value {
    let answer = host.post(&format!("/api/go/{route}"), body.into()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn every_kind_of_call_reaches_a_module_in_go() {
    let Some(component) = built("go-sdk", "go-sdk") else { return };
    let project = Project::with(&[])
        .file("modules/go/module.json", text("module.json"))
        .file("modules/go/go.test.json", text("go.test.json"))
        .file("modules/go/go.wasm", component);
    let ran = project.run(&["test", "go"]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[tokio::test]
async fn a_module_in_go_learns_where_a_durable_broadcast_is_in_the_stream() {
    let Some(nats) = Nats::start().await else { return };
    let Some(host) = start_in(nats.node("a-1", "node"), json!([])).await else { return };
    eventually("the node is connected", || async { host.admin("GET", "/v1/nodes", "").await.json()["state"] == "up" })
        .await;
    for place in 1..=2 {
        let mut kept = post(&host, "keep", "hi").await;
        // The node has just connected.
        while place == 1 && kept["kept"] == "unavailable" {
            kept = post(&host, "keep", "hi").await;
        }
        assert_eq!(kept, json!({ "kept": place, "told": "invalid" }));
    }
    let seqs = std::sync::Mutex::new(Vec::new());
    eventually("both have run", || async {
        let seen = post(&host, "seen", "").await;
        let ran = seen.as_array().unwrap().iter().filter(|one| one["Name"] == "kept").map(|one| one["Seq"].clone());
        seqs.lock().unwrap().extend(ran);
        *seqs.lock().unwrap() == [json!(1), json!(2)]
    })
    .await;
}

#[tokio::test]
async fn a_module_in_go_calls_other_modules() {
    let Some(host) = start(json!([])).await else { return };
    let asked = post(&host, "ask", "peer/show").await;
    assert_eq!((&asked["status"], &asked["type"]), (&json!(0), &json!("application/json")), "{asked}");
    let called: Value = serde_json::from_str(asked["body"].as_str().unwrap()).unwrap();
    assert_eq!((&called["body"], &called["trigger"]), (&json!("grüße"), &json!({ "Kind": "rpc" })), "{called}");
    let failed = post(&host, "ask", "peer/fail").await;
    let failure = &failed["failure"];
    assert_eq!((&failed["kind"], &failure["Name"]), (&json!("failure"), &json!("no-such-flag")), "{failed}");
    assert_eq!((&failure["Status"], &failure["Data"]), (&json!(404), &json!("{\"flag\":\"dark\"}")), "{failed}");
    let relayed = host.post("/api/go/relay", "peer/fail").await;
    assert_eq!((relayed.status, relayed.code().as_str()), (404, "no-such-flag"), "{}", relayed.text());
    assert_eq!(relayed.json()["data"], json!({ "flag": "dark" }), "the data is passed on too");

    // A middleware in Go passes a fact and another payload.
    let fields = [("x-user", "ada"), ("x-a", "red"), ("x-a", "blue"), ("host", "acme.example.test")];
    let passed = host.request("POST", "/api/go/passed", &fields, "hi").await.json();
    assert_eq!((&passed["body"], &passed["color"]), (&json!("HI"), &json!("red, blue")), "{passed}");
    assert_eq!((&passed["subdomain"], &passed["user"]), (&json!("acme"), &json!("ada")), "{passed}");
    assert_eq!(host.slot("go", 0).await["restarts"], 0);
}

#[tokio::test]
async fn a_module_in_go_sends_requests_to_servers_that_are_granted() {
    let server = WebServer::plain().await;
    let origin = format!("http://{}", server.addr);
    let Some(host) = start(json!([origin])).await else { return };
    let fetch = async |path: &str, options: Value| {
        let mut request = options;
        request["URL"] = if path.starts_with('/') { json!(format!("{origin}{path}")) } else { json!(path) };
        post(&host, "fetch", request.to_string()).await
    };
    let hello = fetch("/?a=b", json!({})).await;
    assert_eq!((&hello["status"], &hello["body"]), (&json!(200), &json!("hello over HTTP/1")), "{hello}");
    let sent = json!({ "Method": "PATCH", "Body": { "a": 1 }, "Headers": [{ "Name": "x-a", "Value": "grün" }] });
    let echoed = fetch("/echo", sent).await;
    assert_eq!(echoed["body"], json!("{\"a\":1}"), "{echoed}");
    let fields: Vec<&Value> = echoed["fields"].as_array().unwrap().iter().map(|field| &field["Value"]).collect();
    for value in ["PATCH", "grün"] {
        assert!(fields.contains(&&json!(value)), "{echoed}");
    }
    for (path, options, kind) in [
        ("/never", json!({ "TimeoutMs": 50 }), "timeout"),
        ("http://10.0.0.1/", json!({}), "forbidden"),
        ("relative", json!({}), "invalid"),
    ] {
        let refused = fetch(path, options).await;
        assert_eq!(refused["kind"], json!(kind), "{path}: {refused}");
        assert_ne!(refused["message"], json!(""), "{path}");
    }
    assert_eq!(host.slot("go", 0).await["restarts"], 0);
}

/// The garbage collector also runs while the host passes data, when it allows no calls of its
/// functions.
#[tokio::test]
async fn the_garbage_collector_of_go_runs_at_any_time() {
    let Some(host) = start(json!([])).await else { return };
    let body = "x".repeat(48 << 10);
    for _ in 0..400 {
        let shown = post(&host, "show", &*body).await;
        assert_eq!(shown["body"].as_str().unwrap().len(), body.len());
        let asked = post(&host, "ask", "peer/show").await;
        assert_eq!(asked["kind"], Value::Null, "{asked}");
    }
    assert_eq!(host.slot("go", 0).await["restarts"], 0);
    assert_eq!(host.slot("peer", 0).await["restarts"], 0);
}

#[tokio::test]
async fn a_module_in_go_keeps_its_state_over_a_swap_and_loses_it_in_a_crash() {
    let Some(host) = start(json!([])).await else { return };
    let calls = async || host.post("/api/go/seen", "").await.header("x-calls").unwrap().to_owned();
    let entries = host.gather("go", "told", "hi".to_owned()).await;
    assert_eq!(entries[0]["error"], Value::Null, "{entries:?}");
    assert_eq!(calls().await, "2", "the startup and the broadcast");
    host.rewrite("go", json!({ "config": { "a": 1 } }));
    assert_eq!(host.reload("go").await["outcome"], "swapped");
    assert_eq!(calls().await, "2", "the state replaces what the startup of the new instance has counted");

    let panicked = host.post("/api/go/panic", "").await;
    assert_eq!((panicked.status, panicked.code().as_str()), (500, "error"), "{}", panicked.text());
    let line = text("main.go").lines().position(|line| line.contains("panic(\"out of cheese\")")).unwrap() + 1;
    let place = format!("main.go:{line}");
    let logged = || async { host.log.contains(&["ERROR", "out of cheese", &place, "module=go"]) };
    eventually("the panic is logged with its place", logged).await;
    assert_eq!(calls().await, "2", "the instance has kept its memory");

    assert_eq!(host.post("/api/go/exit", "").await.code(), "crashed");
    let restarted = || async {
        let slot = host.slot("go", 0).await;
        slot["state"] == "ready" && slot["restarts"] == 1
    };
    eventually("the instance starts again", restarted).await;
    assert_eq!(calls().await, "1", "only its startup");
}
