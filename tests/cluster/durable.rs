//! Durable broadcasts: what the stream has acknowledged runs in every worker of every node, in one
//! order, whatever is killed or cut.

mod copies;
pub mod faults;
mod leader;
pub mod limits;
mod parked;
mod refusals;
mod retries;

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use serde_json::{Value, json};

use super::cable::Cable;
use super::sees;
use crate::cli::project::{Project, Serving};
use crate::harness::{Nats, Started, TempDir, TestHost, eventually, eventually_within, node};

/// The guest of these tests.
const GUEST: &str = "durable";

pub fn grants() -> Value {
    json!({ "dirs": { "/seen": "rw" } })
}

/// A node with the guest.
fn host(nats: &str, id: &str) -> TestHost {
    TestHost::with(GUEST).grant(GUEST, grants()).config(node(id, "node", nats))
}

async fn start(nats: &Nats, id: &str) -> Started {
    let started = host(&nats.url(), id).start().await;
    reads(&started).await;
    started
}

/// Two nodes that see each other, and that the stream keeps broadcasts for.
async fn two(nats: &Nats) -> [Started; 2] {
    let both = [start(nats, "a-1").await, start(nats, "b-1").await];
    for host in &both {
        sees(host, &[("a-1", GUEST), ("b-1", GUEST)]).await;
    }
    both
}

/// Waits until the stream keeps broadcasts for a node.
pub async fn reads(host: &Started) {
    eventually("the node reads the stream", || async { is_reading(&durable(host).await) }).await;
}

fn is_reading(status: &Value) -> bool {
    status["modules"].as_array().unwrap().iter().any(|module| module["module"] == GUEST && module["reading"] == true)
}

/// Waits until a node knows that NATS is away.
async fn is_away(host: &Started) {
    let state = || async { host.admin("GET", "/v1/nodes", "").await.json()["state"].clone() };
    eventually("the node has noticed", || async { state().await == "down" }).await;
}

async fn durable(host: &Started) -> Value {
    host.admin("GET", "/v1/broadcasts", "").await.json()
}

/// Emits a broadcast in the guest, and waits for the stream.
pub async fn keep(host: &Started, text: &str) -> Value {
    host.run(0, GUEST, "keep", json!({ "name": "told", "payload": text })).await
}

/// Emits a broadcast in the guest, without waiting.
pub async fn emit(host: &Started, text: &str) -> Value {
    host.run(0, GUEST, "emit", json!({ "name": "told", "payload": text })).await
}

/// What a worker has heard.
async fn records(host: &Started, worker: u32) -> Vec<Value> {
    host.run(worker, GUEST, "heard", Value::Null).await.as_array().unwrap().clone()
}

/// The texts that a worker has heard.
async fn texts(host: &Started, worker: u32) -> Vec<String> {
    let text = |one: &Value| one["text"].as_str().unwrap().to_owned();
    records(host, worker).await.iter().map(text).collect()
}

/// Waits until each worker has heard exactly these texts, in this order.
pub async fn all_hear(host: &Started, expected: &[String]) {
    for worker in [0, 1] {
        eventually("the worker hears all", || async { texts(host, worker).await.len() >= expected.len() }).await;
        assert_eq!(texts(host, worker).await, expected, "worker {worker}");
    }
}

pub fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

async fn jetstream(nats: &Nats) -> Context {
    jetstream::new(nats.client().await)
}

/// The number of broadcasts in the stream.
pub async fn in_stream(nats: &Nats) -> u64 {
    let stream = jetstream(nats).await.get_stream("fanfare_broadcasts").await.unwrap();
    stream.cached_info().state.messages
}

/// A node with the guest in a process of its own.
fn process(nats: &str, id: &str) -> Project {
    let project = Project::with(&[GUEST]).config(node(id, "node", nats));
    project.config(json!({ "modules": { GUEST: { "grants": grants() } } }))
}

async fn serve(project: &Project) -> Serving {
    let serving = project.serve(&[]).await;
    let status = || async { serving.operator("GET", "/v1/broadcasts").await.json() };
    eventually("the node reads the stream", || async { is_reading(&status().await) }).await;
    serving
}

/// The texts that a worker of a process has recorded on disk, since the first start of its node.
fn recorded(project: &Project, id: &str, worker: u32) -> Vec<String> {
    recorded_in(project.path(), id, worker)
}

fn recorded_in(dir: &Path, id: &str, worker: u32) -> Vec<String> {
    let file = dir.join(format!("{}/dirs/{GUEST}/seen/{id}-{worker}", TempDir::STATE));
    // The first broadcast makes it.
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.split_once(' ')).map(|(_, text)| text.to_owned()).collect()
}

#[tokio::test]
async fn each_worker_of_each_node_runs_durable_broadcasts_once_in_one_order() {
    for nats in Nats::all().await {
        let [a, b] = two(&nats).await;
        let emits = async |host: &Started, name: &str| {
            for number in 0..50 {
                let receipt = keep(host, &format!("{name}{number}")).await;
                let position = receipt["seq"].as_u64().unwrap();
                assert_eq!(receipt["extra"]["position"], position.to_string(), "{receipt}");
                assert_eq!((&receipt["accepted"], &receipt["extra"]["nodes"]), (&json!(2), &json!("1")), "{receipt}");
            }
        };
        tokio::join!(emits(&a, "a"), emits(&b, "b"));
        eventually("the worker hears all", || async { records(&a, 0).await.len() >= 100 }).await;
        let all = texts(&a, 0).await;
        assert_eq!(all.len(), 100);
        for name in ["a", "b"] {
            let of: Vec<&String> = all.iter().filter(|text| text.starts_with(name)).collect();
            let expected: Vec<String> = (0..50).map(|number| format!("{name}{number}")).collect();
            assert_eq!(of, expected.iter().collect::<Vec<_>>());
        }
        let first = records(&a, 0).await[0].clone();
        assert_eq!((&first["seq"], &first["position"], &first["delivery"]), (&json!(1), &json!("1"), &json!("1")));
        for host in [&a, &b] {
            all_hear(host, &all).await;
        }
        // The emitting worker, and no other.
        for (host, worker, name) in [(&a, 0, Some("a")), (&a, 1, None), (&b, 0, Some("b")), (&b, 1, None)] {
            for one in records(host, worker).await {
                let own = name.is_some_and(|name| one["text"].as_str().unwrap().starts_with(name));
                assert_eq!(one["same"], own, "{worker}: {one}");
            }
        }
        assert_eq!(a.metric("fanfare_durable_kept_total", &[]).await, 50.0);
        assert_eq!(b.metric("fanfare_durable_run_total", &[]).await, 100.0);
    }
}

#[tokio::test]
async fn a_node_that_was_away_runs_what_it_missed_and_a_new_one_what_is_emitted_from_now_on() {
    for nats in Nats::all().await {
        let [a, b] = two(&nats).await;
        keep(&a, "0").await;
        all_hear(&b, &numbers(0..1)).await;
        let dir = b.leave().await;
        for text in numbers(1..40) {
            keep(&a, &text).await;
        }
        let c = start(&nats, "c-1").await;
        let again = host(&nats.url(), "b-1").again(dir).start().await;
        reads(&again).await;
        all_hear(&again, &numbers(1..40)).await;
        keep(&a, "40").await;
        all_hear(&c, &numbers(40..41)).await;
        all_hear(&again, &numbers(1..41)).await;
        all_hear(&a, &numbers(0..41)).await;
    }
}

#[tokio::test]
async fn a_node_without_the_module_emits_durable_broadcasts_for_it() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    let b = TestHost::with("echo").config(node("b-1", "other", &nats.url())).start().await;
    sees(&b, &[("a-1", GUEST), ("b-1", "echo")]).await;
    let receipt = b.emit(GUEST, "told", "far").await;
    assert_eq!((&receipt["accepted"], &receipt["position"], &receipt["seq"]), (&json!(0), &json!(1), &json!(1)));
    all_hear(&a, &["far".to_owned()]).await;
    assert_eq!(in_stream(&nats).await, 1);
}

#[tokio::test]
async fn a_startup_of_a_module_that_is_added_reaches_the_workers_of_its_own_node() {
    let Some(nats) = Nats::start().await else { return };
    // So that the stream is open long before it keeps broadcasts for the node.
    let cable = Cable::to(nats.address(), Duration::from_millis(30)).await;
    let far = node("a-1", "node", &format!("nats://{}", cable.address));
    let project = Project::with(&["echo"]).config(far);
    let project = project.config(json!({ "modules": { GUEST: { "grants": grants() } } }));
    let a = project.serve(&[]).await;
    let nodes = || async { a.operator("GET", "/v1/nodes").await.json() };
    eventually("it takes part", || async { nodes().await["state"] == "up" }).await;
    let source = crate::harness::root().join("tests/guests").join(GUEST);
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(source.join("module.json")).unwrap()).unwrap();
    manifest["startups"] = json!({ "greet": { "path": "greet" } });
    manifest["config"] = json!({ "greets": 300 });
    let component = std::fs::read(source.join("durable.wasm")).unwrap();
    let project = project.file("modules/durable/durable.wasm", component);
    let project = project.file("modules/durable/module.json", manifest.to_string());
    let added = a.operator("POST", &format!("/v1/modules/{GUEST}/reload")).await;
    assert_eq!(added.status, 200, "{}", added.text());
    for worker in [0, 1] {
        // Each of its workers has run the startup.
        let recorded = || async { recorded(&project, "a-1", worker) };
        eventually("it hears both", || async { recorded().await.len() >= 2 }).await;
        assert_eq!(recorded().await, ["started", "started"]);
    }
}

#[tokio::test]
async fn a_subdomain_travels_with_a_durable_broadcast() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    let what = json!({ "name": "told", "payload": "x", "subdomain": "acme" });
    a.run(0, GUEST, "keep", what).await;
    all_hear(&a, &["x".to_owned()]).await;
    assert_eq!(records(&a, 1).await[0]["subdomain"], "acme");
}

#[tokio::test]
async fn reloads_and_kills_lose_no_durable_broadcast() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    let emits = async {
        for text in numbers(0..100) {
            let receipt = keep(&a, &text).await;
            assert!(receipt["seq"].as_u64().is_some(), "{receipt}");
        }
    };
    let disturbs = async {
        for _ in 0..3 {
            let reloaded = a.admin("POST", &format!("/v1/modules/{GUEST}/reload?force=true"), "").await;
            assert_eq!(reloaded.status, 200, "{}", reloaded.text());
        }
    };
    tokio::join!(emits, disturbs);
    eventually("all have run", || async { a.metric("fanfare_durable_run_total", &[]).await >= 100.0 }).await;
    assert_eq!(a.metric("fanfare_durable_run_total", &[]).await, 100.0);
    for worker in [0, 1] {
        assert_eq!(recorded_in(a.dir.path(), "a-1", worker), numbers(0..100), "each once, in order");
    }
}
