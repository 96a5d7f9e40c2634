//! What only C has: calls of other modules, memory, the stack. `sdk.rs` has the tests of all SDKs.

use std::fs;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::cli::project::Project;
use crate::harness::{Started, TestHost, WebServer, eventually, not_run, root, section, vector};

/// The module of `sdk/cases` in C, if it is built.
fn component() -> Option<Vec<u8>> {
    built("c-sdk")
}

fn built(name: &str) -> Option<Vec<u8>> {
    let path = root().join(format!("target/languages/c-sdk/{name}.wasm"));
    if !path.exists() {
        not_run("c-sdk: build it with tests/guests/languages/build c-sdk");
        return None;
    }
    Some(fs::read(path).unwrap())
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn document(path: &str) -> Value {
    let text = text(path);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    serde_json::from_str(&lines.join("\n")).unwrap()
}

fn grants() -> Value {
    json!({ "sessions": true, "publish": ["redis:news"], "sse": ["*"], "reload": true })
}

/// The routes that only this module has.
fn own_routes() -> Vec<Value> {
    let names = ["peer", "relay", "greedy", "times", "overflow", "fetched"];
    names.map(|name| json!({ "path": name, "handler": name })).to_vec()
}

/// Starts a host with one worker, the module of the cases, and `peer`: the same component with
/// routes for the module to call.
async fn start() -> Option<Started> {
    start_granted(json!([]), |host| host).await
}

/// The same with a module that may send requests to these origins.
async fn start_granted(origins: Value, change: impl FnOnce(TestHost) -> TestHost) -> Option<Started> {
    let component = component()?;
    let mut manifest = document("sdk/cases/module.json");
    manifest["routes"].as_array_mut().unwrap().extend(own_routes());
    let capabilities = manifest["capabilities"].as_object_mut().unwrap();
    capabilities.extend([("rpc".to_owned(), json!(["peer"])), ("broadcast".to_owned(), json!(["peer"]))]);
    capabilities.insert("http".to_owned(), origins.clone());
    let gate = json!({ "path": "gated", "handler": "gated", "middlewares": "peer/gate?level=7" });
    for route in manifest["routes"].as_array_mut().unwrap() {
        if route["path"] == "gated" {
            *route = gate.clone();
        }
    }
    let peer = json!({
        "component": "peer.wasm",
        "routes": [
            { "path": "echo", "handler": "echo" },
            { "path": "reply", "handler": "made" },
            { "path": "fail", "handler": "fail" },
            { "path": "gate", "handler": "gate", "middlewares": "inner" },
            { "path": "inner/origin", "handler": "origin", "middlewares": "inner" },
            { "path": "inner/told", "handler": "told", "middlewares": "inner" },
        ],
        "broadcasts": { "told": { "path": "inner/told" } },
    });
    let mut granted = grants();
    granted["rpc"] = json!(["peer"]);
    granted["broadcast"] = json!(["peer"]);
    granted["http"] = origins;
    let host = TestHost::empty()
        .workers(1)
        .file("modules/peer/module.json", peer.to_string())
        .file("modules/peer/peer.wasm", &component)
        .file("modules/conformance/module.json", manifest.to_string())
        .file("modules/conformance/conformance.wasm", &component)
        .grant("conformance", granted)
        .config(json!({ "sse": {} }))
        .limit("conformance", "cpu", "1s");
    let host = change(host).start().await;
    let slot = host.slot("conformance", 0).await;
    assert_eq!(slot["state"], "ready", "{slot:?}");
    Some(host)
}

fn path(route: &str) -> String {
    format!("/api/conformance/{route}")
}

async fn calls_of(host: &Started) -> u64 {
    let answer = host.post(&path("state"), "").await;
    answer.json()["calls"].as_u64().unwrap_or_else(|| panic!("{}", answer.text()))
}

async fn restarted(host: &Started, times: u64) {
    let again = || async {
        let slot = host.slot("conformance", 0).await;
        slot["state"] == "ready" && slot["restarts"] == times
    };
    eventually("the instance starts again", again).await;
}

#[tokio::test]
async fn a_module_in_c_calls_other_modules() {
    let Some(host) = start().await else { return };
    let asked = host.post(&path("peer"), "hi").await;
    let told = json!({ "kind": "broadcast", "name": "told", "seq": 1, "mine": true, "body": "two" });
    let origin = json!({ "kind": "guest", "module": "conformance", "isolate": "worker-0", "trigger": "rpc" });
    let expected = json!({
        "status": 201, "json": { "made": true }, "color": "red", "echoed": "hi", "origin": origin,
        "failure": "no-such-flag", "failed": 404, "data": { "flag": "dark" }, "unknown": "not-found",
        "told": [told, "bad-word"],
    });
    assert_eq!((asked.status, asked.json()), (200, expected));
    let relayed = host.post(&path("relay"), "").await;
    assert_eq!((relayed.status, relayed.code().as_str()), (404, "no-such-flag"), "{}", relayed.text());
    let gated = host.request("POST", &path("gated"), &[("x-user", "ada")], "hi").await;
    assert_eq!(gated.status, 200, "{}", gated.text());
    assert_eq!((&gated.json()["payload"], gated.json()["level"].clone()), (&json!("HI"), Value::Null));
    assert_eq!(host.slot("conformance", 0).await["restarts"], 0);
}

#[tokio::test]
async fn a_module_in_c_keeps_its_state_over_a_swap_and_loses_it_in_a_crash() {
    let Some(host) = start().await else { return };
    for calls in 1..=2 {
        assert_eq!(calls_of(&host).await, calls);
    }
    let mut component = component().unwrap();
    let name = vector(b"next".iter().map(|byte| [*byte]));
    component.extend(section(0, [name, b"generation".to_vec()].concat()));
    host.dir.write("modules/conformance/conformance.wasm", component);
    let swapped = host.reload("conformance").await;
    assert_eq!(swapped["outcome"], "swapped", "{swapped}");
    assert_eq!(calls_of(&host).await, 3, "the state was handed over");
    assert_eq!(host.post(&path("warmed"), "").await.json(), json!({ "name": "warm", "reason": "swap" }));

    // A full stack is a trap, before it overwrites the data.
    assert_eq!(host.post(&path("overflow"), "").await.code(), "crashed");
    restarted(&host, 1).await;
    assert_eq!(host.post(&path("warmed"), "").await.json(), json!({ "name": "warm", "reason": "restart" }));
    assert_eq!(calls_of(&host).await, 1, "a crash loses the memory");
}

#[tokio::test]
async fn memory_of_a_call_in_c_is_limited_and_freed() {
    let Some(host) = start().await else { return };
    for _ in 0..20 {
        let answer = host.post(&path("greedy"), "").await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "out-of-memory"), "{}", answer.text());
    }
    // More than `limits.memory` in total.
    for _ in 0..20 {
        let answer = host.post(&path("greedy"), "half").await;
        assert_eq!((answer.status, answer.text()), (200, "there was enough"));
    }
    assert_eq!(calls_of(&host).await, 1);
    assert_eq!(host.slot("conformance", 0).await["restarts"], 0);
    let times = host.post(&path("times"), "").await.json();
    assert_eq!((&times["steady"], &times["random"]), (&json!(true), &json!(true)), "{times}");
    assert!(times["ms"].as_f64().unwrap() > 1.7e12, "{times}");
}

async fn fetched(host: &Started, url: &str, mut options: Value) -> Value {
    options["url"] = json!(url);
    host.post(&path("fetched"), options.to_string()).await.json()
}

#[tokio::test]
async fn a_module_in_c_sends_requests_to_servers_that_are_granted() {
    let server = WebServer::plain().await;
    let (origin, nobody) = (format!("http://{}", server.addr), "http://127.0.0.1:9".to_owned());
    let settings = json!({ "outgoing": { "maxRequest": "128KiB", "maxResponse": "20MiB" } });
    let Some(host) = start_granted(json!([origin, nobody]), |host| host.config(settings)).await else { return };
    let hello = fetched(&host, &format!("{origin}/?a=b#c"), json!({})).await;
    let found = (&hello["status"], &hello["size"], &hello["length"], &hello["location"], &hello["text"]);
    assert_eq!(found, (&json!(200), &json!(17), &json!("17"), &Value::Null, &json!("hello over HTTP/1")), "{hello}");
    let sent = json!({ "method": "POST", "body": 80_000 });
    assert_eq!(fetched(&host, &format!("{origin}/size"), sent).await["text"], "80000");
    let redirect = fetched(&host, &format!("{origin}/redirect"), json!({})).await;
    assert_eq!((&redirect["status"], &redirect["location"]), (&json!(302), &json!("http://127.0.0.1:1/elsewhere")));
    for (url, options, error, why) in [
        ("http://10.0.0.1/".into(), json!({}), "forbidden", "conformance lacks the grant \"http\" for http://10.0.0.1"),
        (nobody, json!({}), "unavailable", "127.0.0.1:9: the server refuses the connection"),
        (format!("{origin}/never"), json!({ "timeout": 50 }), "timeout", "no answer by the deadline"),
        (format!("{origin}/endless"), json!({}), "crashed", "the body of the response is larger than 20971520 bytes"),
        (format!("{origin}/size"), json!({ "body": 140_000 }), "invalid", "the request is larger than 131072 bytes"),
        (origin.replace("//", "//ada:secret@"), json!({}), "invalid", "the address of the request is malformed"),
        ("/relative".into(), json!({}), "invalid", "the URL `/relative` is not valid"),
        (origin.clone(), json!({ "headers": [["host", "other"]] }), "invalid", "the header `host` is not valid"),
    ] {
        let answer = fetched(&host, &url, options).await;
        assert_eq!(answer["error"], error, "{url}: {answer}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(why) && !message.contains("secret"), "{url}: {answer}");
    }
    // Larger than the memory of a call.
    let large = fetched(&host, &format!("{origin}/large"), json!({})).await;
    assert_eq!(large["code"], "out-of-memory", "{large}");
    assert_eq!(fetched(&host, &origin, json!({})).await["status"], 200);
    assert_eq!(host.slot("conformance", 0).await["restarts"], 0);
}

#[tokio::test]
async fn a_request_in_c_ends_with_the_deadline_of_its_call() {
    let server = WebServer::plain().await;
    let origin = format!("http://{}", server.addr);
    let limit = |host: TestHost| host.limit("conformance", "timeout", "300ms");
    let Some(host) = start_granted(json!([origin]), limit).await else { return };
    for path in ["never", "stalls"] {
        let answer = fetched(&host, &format!("{origin}/{path}"), json!({})).await;
        assert_eq!(answer["code"], "timeout", "{path}: {answer}");
        // The handler has continued, and the instance runs the next call.
        assert_eq!(fetched(&host, &origin, json!({})).await["status"], 200, "{path}");
    }
    assert_eq!(host.log.lines(&["module=conformance", "not fetched: timeout"]).len(), 2);
    let slot = host.slot("conformance", 0).await;
    assert_eq!((&slot["restarts"], &slot["replaced"]), (&json!(0), &json!(0)), "{slot}");
}

#[tokio::test]
async fn every_byte_and_field_of_a_request_in_c_arrives_and_returns() {
    let server = WebServer::plain().await;
    let origin = format!("http://{}", server.addr);
    let Some(host) = start_granted(json!([origin]), |host| host).await else { return };
    let bytes: Vec<u8> = (0..=255).collect();
    let request = json!({ "method": "PATCH", "body": bytes, "headers": [["X-A", "1"], ["x-a", "g\u{fc}n"]] });
    let echoed = fetched(&host, &format!("{origin}/echo?a=%20b&c#part"), request).await;
    assert_eq!(echoed["bytes"], json!(bytes));
    let fields = ["x-method: PATCH", "x-path: /echo?a=%20b&c", "x-a: 1", "x-a: g\u{fc}n"];
    assert_eq!(echoed["fields"], json!(fields));
}

/// The host drops the connection, so that the server notices it.
#[tokio::test]
async fn a_request_ends_with_its_instance() {
    let server = WebServer::plain().await;
    let origin = format!("http://{}", server.addr);
    let Some(host) = start_granted(json!([origin]), |host| host).await else { return };
    let never = format!("{origin}/never");
    let waits = fetched(&host, &never, json!({}));
    let kills = async {
        eventually("the request arrives", || async { server.paths.lock().unwrap().len() == 1 }).await;
        host.kill(0, true).await
    };
    let (ended, killed) = tokio::join!(waits, kills);
    assert_eq!(ended["code"], "crashed", "{ended} {killed}");
    eventually("the connection closes", || async { server.open.load(Ordering::SeqCst) == 0 }).await;
    assert_eq!(fetched(&host, &origin, json!({})).await["status"], 200);
}

/// The example `sdk/c/examples/limiter`, in front of a route of another module.
#[tokio::test]
async fn the_limiter_in_c_limits_a_route_of_another_module() {
    let (Some(limiter), Some(component)) = (built("limiter"), component()) else { return };
    let middleware = "limiter/check?rate=0.01&burst=3";
    let shop = json!({
        "component": "shop.wasm",
        "routes": [{ "method": "get", "path": "buy", "handler": "number", "middlewares": middleware }],
        "capabilities": { "rpc": ["limiter"] },
    });
    let host = TestHost::empty()
        .workers(1)
        .file("modules/limiter/module.json", text("sdk/c/examples/limiter/module.json"))
        .file("modules/limiter/limiter.wasm", limiter)
        .file("modules/shop/module.json", shop.to_string())
        .file("modules/shop/shop.wasm", component)
        .grant("shop", json!({ "rpc": ["limiter"] }))
        .start()
        .await;
    for _ in 0..3 {
        let answer = host.get("/api/shop/buy").await;
        assert_eq!((answer.status, answer.text()), (200, "42"));
    }
    let limited = host.get("/api/shop/buy").await;
    assert_eq!((limited.status, limited.code().as_str()), (429, "limited"), "{}", limited.text());
    assert_eq!(limited.header("retry-after"), Some("100"));
}

/// The SDK has the functions of a snapshot in every module. Only those that use them export it.
#[tokio::test]
async fn a_module_in_c_exports_a_snapshot_if_it_has_one() {
    let (Some(limiter), Some(component)) = (built("limiter"), component()) else { return };
    let project = Project::with(&[]).file("limiter.wasm", limiter).file("conformance.wasm", component);
    for (name, snapshot) in [("limiter", false), ("conformance", true)] {
        let inspected = project.run(&["inspect", "--json", &format!("{name}.wasm")]).await;
        let found: Value = serde_json::from_str(&inspected.out).unwrap();
        assert_eq!(found["snapshot"], json!(snapshot), "{name}: {found}");
    }
}
