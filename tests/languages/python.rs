//! What only Python has: asyncio, random numbers, requests to other servers, and what must not end
//! the instance.

use serde_json::{Value, json};

use super::sdk::built;
use crate::harness::{Connection, Started, TestHost, WebServer, eventually};

const MANIFEST: &str = include_str!("../../sdk/python/conformance/own.json");
/// The origin in the manifest, which has no port.
const ORIGIN: &str = "http://127.0.0.1";

/// Starts a host with the module, which may reach an origin, if the module is built.
async fn start(origin: &str, change: impl FnOnce(TestHost) -> TestHost) -> Option<Started> {
    let component = built("python-sdk", "own")?;
    let host = TestHost::empty()
        .file("modules/own/module.json", MANIFEST.replace(ORIGIN, origin))
        .file("modules/own/own.wasm", component)
        .grant("own", json!({ "http": [origin], "env": ["REGION"] }))
        .config(json!({ "modules": { "own": { "env": { "REGION": "eu" } } } }))
        .limit("own", "memory", "128MiB")
        .limit("own", "timeout", "30s");
    Some(change(host).start().await)
}

/// Sends the same request several times at once. The body of each is its number.
async fn at_once(host: &Started, path: &'static str, count: usize) -> Vec<String> {
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..count {
        let address = host.http;
        calls.spawn(async move {
            let answer = Connection::open(address).await.send("POST", path, &[], number.to_string()).await;
            answer.text().to_owned()
        });
    }
    calls.join_all().await
}

#[tokio::test]
async fn everything_of_asyncio_that_waits_works() {
    let Some(host) = start(ORIGIN, |host| host.workers(1)).await else { return };
    let expected = json!(["slept", "timed out", "gave up", "one", "two", "first", "soon", [0, 1, 2]]);
    let waited = host.post("/api/own/waits", "").await;
    assert_eq!((waited.status, waited.json()), (200, expected), "{}", waited.text());
    assert_eq!(at_once(&host, "/api/own/share", 16).await, vec!["shared"; 16], "all wait for the task of one call");
    let mut own = at_once(&host, "/api/own/locked", 16).await;
    own.sort_by_key(|number| number.parse::<u32>().unwrap());
    let numbers: Vec<String> = (0..16).map(|number: u32| number.to_string()).collect();
    assert_eq!(own, numbers, "each call gets the lock in turn");
    assert_eq!(host.slot("own", 0).await["restarts"], 0);
}

/// The tasks continue after the answer. Each of their errors is logged once.
#[tokio::test]
async fn tasks_may_outlive_their_handler() {
    let Some(host) = start(ORIGIN, |host| host.workers(1)).await else { return };
    let answer = host.post("/api/own/leftovers", "").await;
    let own = format!("call={}", answer.text());
    for words in [
        &["INFO", "left over", &own][..],
        &["ERROR", "a task failed: ValueError: raised by a task at own.py:"],
        &["ERROR", "a task failed: SystemExit: 3 at own.py:"],
    ] {
        let words = [words, &["module=own"]].concat();
        let logged = || async { host.log.contains(&words) };
        eventually(&format!("a line with {words:?}"), logged).await;
    }
    let idle = || async { host.slot("own", 0).await["inFlight"] == 0 };
    eventually("the call ends", idle).await;
    assert_eq!(host.log.lines(&["a task failed"]).len(), 2);
    assert_eq!(host.slot("own", 0).await["restarts"], 0);
}

#[tokio::test]
async fn facts_of_failures_and_repeated_header_fields_arrive() {
    let Some(host) = start(ORIGIN, |host| host.workers(1)).await else { return };
    let answer = host.post("/api/own/refused", "").await;
    let cookies: Vec<&[u8]> = answer.headers.get_all("set-cookie").iter().map(|value| value.as_bytes()).collect();
    assert_eq!((answer.status, cookies), (200, vec![&b"a=1"[..], b"b=2"]), "{}", answer.text());
    assert_eq!(answer.json(), json!({ "fact": "1" }));
}

/// Everything that a handler starts belongs to its call.
#[tokio::test]
async fn tasks_and_timers_log_with_the_trace_of_their_call() {
    let Some(host) = start(ORIGIN, |host| host.workers(1)).await else { return };
    let trace = format!("0000000000005a75{:016x}", std::process::id());
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    assert_eq!(host.request("POST", "/api/own/says", &[("traceparent", &*parent)], "").await.status, 204);
    for place in ["call_soon", "call_later", "create_task", "gather", "TaskGroup", "wait_for"] {
        let line = format!("said in {place}");
        let logged = || async { host.log.contains(&[&*line, "module=own", &*trace]) };
        eventually(&format!("the line `{line}`, with its trace"), logged).await;
    }
}

#[tokio::test]
async fn an_error_of_save_or_load_keeps_the_old_generation() {
    let Some(component) = built("python-sdk", "raises") else { return };
    let routes = json!([{ "path": "in", "handler": "raise_in" }, { "path": "now", "handler": "raises_in" }]);
    let manifest = json!({ "component": "raises.wasm", "routes": routes });
    let host = TestHost::empty()
        .workers(1)
        .file("modules/raises/module.json", manifest.to_string())
        .file("modules/raises/raises.wasm", component)
        .limit("raises", "memory", "128MiB")
        .start()
        .await;
    for (place, says) in [
        ("save", "raises in worker-0: save failed: cannot be saved; "),
        ("load", "cannot load the state of generation "),
    ] {
        host.post("/api/raises/in", place).await;
        let refused = host.reload("raises").await;
        let detail = refused["detail"].as_str().unwrap_or_default();
        assert!(refused["status"] == 422 && detail.contains(says), "{refused}");
        assert_eq!(host.post("/api/raises/now", "").await.text(), place, "the old instance keeps serving");
        let words = [&*format!("{place} failed: ValueError: cannot be "), "raises.py:", "module=raises"];
        let logged = || async { host.log.contains(&words) };
        eventually(&format!("a line with {words:?}"), logged).await;
    }
    host.post("/api/raises/in", "").await;
    assert_eq!(host.reload("raises").await["outcome"], "swapped");
}

#[tokio::test]
async fn each_instance_of_python_has_its_own_random_numbers() {
    let Some(host) = start(ORIGIN, |host| host).await else { return };
    let numbers = host.post("/api/own/random", "").await.json();
    let each: Vec<&Value> = numbers.as_array().unwrap().iter().collect();
    assert_eq!(each.len(), 2, "one list for each worker: {numbers}");
    for worker in &each {
        assert_eq!(worker[0], true, "not the numbers of the build: {numbers}");
    }
    assert!((1..3).all(|number| each[0][number] != each[1][number]), "{numbers}");
}

/// Not those of the machine that has built the component.
#[tokio::test]
async fn the_variables_of_python_are_those_that_the_operator_grants() {
    let Some(host) = start(ORIGIN, |host| host.workers(1)).await else { return };
    assert_eq!(host.post("/api/own/variables", "").await.json(), json!({ "REGION": "eu" }));
}

#[tokio::test]
async fn python_sends_requests_to_origins_that_are_granted() {
    let server = WebServer::plain().await;
    let Some(host) = start(&format!("http://{}", server.addr), |host| host.workers(1)).await else { return };
    let fetch = async |url: String| host.post(&format!("/api/own/fetch?url={url}"), "").await.json();
    let sent = json!({ "a": "é".repeat(40_000) }).to_string().len();
    let expected = json!({ "status": 200, "text": sent.to_string() });
    assert_eq!(fetch(format!("http://{}/size?x", server.addr)).await, expected);
    assert_eq!(fetch("http://127.0.0.2:9/".to_owned()).await, json!({ "kind": "forbidden" }));
    assert_eq!(fetch("nothing".to_owned()).await, json!({ "kind": "invalid" }));
    assert_eq!(host.slot("own", 0).await["restarts"], 0);
}

#[tokio::test]
async fn what_raises_in_python_ends_no_instance() {
    let Some(host) = start(ORIGIN, |host| host.workers(1)).await else { return };
    for path in ["exits", "recurses", "threads", "imports", "fills"] {
        let answer = host.post(&format!("/api/own/{path}"), "").await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "error"), "{path}: {}", answer.text());
    }
    let deep = "[".repeat(20_000);
    let answer = host.post("/api/own/parses", deep).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid-body"), "{}", answer.text());
    let logged = || async { host.log.contains(&["No module named 'difflib'", "own.py:", "at the top of a file"]) };
    eventually("the line about the import", logged).await;
    assert_eq!(host.slot("own", 0).await["restarts"], 0);
}

#[tokio::test]
async fn output_of_python_is_in_the_log() {
    let Some(host) = start(ORIGIN, |host| host.workers(1)).await else { return };
    host.post("/api/own/mutters", "").await;
    for words in [["INFO", "to standard output"], ["WARN", "to standard error"]] {
        let logged = || async { host.log.contains(&words) };
        eventually(&format!("a line with {words:?}"), logged).await;
    }
}
