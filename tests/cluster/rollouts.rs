//! Reloads and rollbacks over the nodes.

use std::time::Duration;

use fanfare::SwapError;
use fanfare::api::Reloaded;
use fanfare::tooling::ReloadOptions;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::cable::Cable;
use super::faults::process;
use super::{sees, start, three};
use crate::harness::{Connection, Nats, Started, TestHost, eventually, node};
use crate::reload::canary::canary_manifest;
use crate::reload::never_compiled;

/// A manifest of `echo` with a route more.
pub fn manifest(path: &str) -> Value {
    let route = |path: &str| json!({ "method": "get", "path": path, "handler": "who" });
    json!({ "component": "echo.wasm", "routes": [route("who"), route(path)] })
}

/// A manifest whose generation no node can load.
fn broken() -> Value {
    json!({ "component": "echo.wasm", "routes": [{ "path": "a", "handler": "not-there" }] })
}

/// What the watcher does when the files of `echo` have changed.
pub fn changed(host: &Started) -> JoinHandle<Result<Reloaded, SwapError>> {
    tokio::spawn(host.running().swapper().reload("echo", ReloadOptions::CHANGE))
}

pub async fn generation(host: &Started) -> String {
    host.generations("echo").await[0].as_str().unwrap().to_owned()
}

/// Two nodes with `echo`.
async fn two(nats: &Nats) -> (Started, Started) {
    let (a, b) = super::two(nats, &["echo"]).await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "echo"), ("b-1", "echo")]).await;
    }
    (a, b)
}

/// The times of the events of a type about `echo`.
async fn times(host: &Started, name: &str) -> Vec<u64> {
    let events = host.events_named(&[name]).await;
    let times = events.iter().filter(|event| event["module"] == "echo").map(|event| event["time"].as_u64().unwrap());
    times.collect()
}

#[tokio::test]
async fn a_reload_of_the_operator_goes_from_node_to_node() {
    for nats in Nats::all().await {
        let all = three(&nats).await;
        let before = generation(&all[0]).await;
        for host in &all {
            host.put_manifest("echo", &manifest("new"));
        }
        let reloaded = all[0].reload("echo").await;
        let new = reloaded["generation"].clone();
        assert_ne!(new, json!(before), "{reloaded}");
        let node = |id: &str| json!({ "node": id, "outcome": "swapped", "generation": new });
        assert_eq!(reloaded["nodes"], json!([node("b-1"), node("c-1")]), "{reloaded}");
        let mut committed = 0;
        for host in &all {
            assert_eq!(json!(generation(host).await), new);
            let (started, ended) = (times(host, "swapStarted").await, times(host, "swapCommitted").await);
            assert_eq!((started.len(), ended.len()), (1, 1));
            assert!(started[0] >= committed, "one node after another");
            committed = ended[0];
        }
        // So does the reload of all modules.
        let entries = all[1].operate("reload").await;
        let echo = entries.as_array().unwrap().iter().find(|entry| entry["module"] == "echo").unwrap();
        let nodes: Vec<&Value> = echo["nodes"].as_array().unwrap().iter().map(|node| &node["node"]).collect();
        assert_eq!(nodes, ["a-1", "c-1"], "{entries}");
    }
}

#[tokio::test]
async fn a_reload_that_a_node_rejects_stops_there() {
    let Some(nats) = Nats::start().await else { return };
    let [a, b, c] = three(&nats).await;
    let before = generation(&c).await;
    a.put_manifest("echo", &manifest("new"));
    b.put_manifest("echo", &broken());
    c.put_manifest("echo", &manifest("new"));
    let reloaded = a.reload("echo").await;
    assert_eq!((&reloaded["outcome"], &reloaded["nodes"][0]["node"]), (&json!("swapped"), &json!("b-1")));
    assert!(reloaded["nodes"][0]["reason"].as_str().unwrap().contains("not-there"), "{reloaded}");
    assert_eq!(reloaded["nodes"][1]["reason"], "not asked, because b-1 did not reload");
    assert_eq!((generation(&b).await, generation(&c).await), (before.clone(), before));
}

#[tokio::test]
async fn nodes_change_a_module_one_after_another_and_one_canary_is_enough() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = two(&nats).await;
    for host in [&a, &b] {
        host.put_manifest("echo", &canary_manifest("new", "1s", 0));
    }
    let on_a = a.start_canary("echo").await;
    let before = generation(&b).await;
    let on_b = changed(&b);
    eventually("b waits for its turn", || async {
        b.log.contains(&["waits for another node to change the module", "a-1"])
    })
    .await;
    assert_eq!(generation(&b).await, before);
    let (on_a, on_b) = (on_a.await.unwrap().unwrap(), on_b.await.unwrap().unwrap());
    assert_eq!(on_a.generation, on_b.generation);
    let (promoted, started) = (times(&a, "canaryEnded").await, times(&b, "swapStarted").await);
    assert!(promoted[0] <= started[0], "{promoted:?} {started:?}");
    assert_eq!(times(&b, "canaryStarted").await, [0; 0]);
}

#[tokio::test]
async fn a_generation_that_one_node_has_rejected_is_tried_on_no_other() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = two(&nats).await;
    let before = generation(&b).await;
    for host in [&a, &b] {
        host.put_manifest("echo", &broken());
    }
    assert!(changed(&a).await.unwrap().unwrap_err().to_string().contains("not-there"));
    let refused = changed(&b).await.unwrap().unwrap_err().to_string();
    assert!(refused.starts_with("node a-1 rejected generation "), "{refused}");
    assert!(refused.ends_with("`fanfare reload echo --force` tries it here"), "{refused}");
    assert_eq!(generation(&b).await, before);
    // A node that starts does not try it either.
    let dir = b.leave().await;
    let b = TestHost::waits_for(&["echo"]).again(dir).config(nats.node("b-1", "beta")).start().await;
    assert_eq!(generation(&b).await, before);
    assert!(b.module("echo").await["note"].as_str().unwrap().contains("node a-1 rejected generation"));
    // What the operator asks for is tried.
    let tried = b.reload("echo").await;
    let detail = tried["detail"].as_str().unwrap();
    assert!(detail.contains("not-there") && !detail.contains("a-1"), "{tried}");
    // Other files are another generation.
    for host in [&a, &b] {
        host.put_manifest("echo", &manifest("good"));
        changed(host).await.unwrap().unwrap();
    }
    assert_eq!(generation(&a).await, generation(&b).await);
}

#[tokio::test]
async fn a_rollback_reaches_every_node_also_one_that_was_away() {
    let Some(nats) = Nats::start().await else { return };
    let [a, b, c] = three(&nats).await;
    let before = generation(&a).await;
    for host in [&a, &b, &c] {
        host.put_manifest("echo", &manifest("new"));
    }
    a.reload("echo").await;
    let dir = c.leave().await;
    sees(&a, &[("a-1", "echo"), ("b-1", "echo")]).await;
    let back = a.operate("modules/echo/rollback").await;
    assert_eq!((&back["generation"], &back["nodes"][0]["generation"]), (&json!(before), &json!(before)), "{back}");
    assert_eq!(generation(&b).await, before);
    let c = TestHost::waits_for(&["echo"]).again(dir).config(nats.node("c-1", "alpha")).start().await;
    assert_eq!(generation(&c).await, before);
    assert!(c.module("echo").await["note"].as_str().unwrap().contains("pinned"));
    // A later generation ends the rollback for all.
    for host in [&a, &b, &c] {
        host.put_manifest("echo", &manifest("later"));
        changed(host).await.unwrap().unwrap();
    }
    let dir = c.leave().await;
    let c = TestHost::waits_for(&["echo"]).again(dir).config(nats.node("c-1", "alpha")).start().await;
    assert_eq!(generation(&c).await, generation(&a).await);
}

#[tokio::test]
async fn a_node_without_nats_changes_a_module_alone_and_follows_later() {
    let Some(mut nats) = Nats::start().await else { return };
    let (a, b) = two(&nats).await;
    let before = generation(&a).await;
    for host in [&a, &b] {
        host.put_manifest("echo", &manifest("new"));
    }
    a.reload("echo").await;
    nats.kill();
    eventually("b has noticed", || async { b.admin("GET", "/v1/nodes", "").await.json()["state"] == "down" }).await;
    b.put_manifest("echo", &manifest("alone"));
    assert_eq!(changed(&b).await.unwrap().unwrap().from, Some(generation(&a).await));
    b.put_manifest("echo", &manifest("new"));
    changed(&b).await.unwrap().unwrap();
    nats.run().await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "echo"), ("b-1", "echo")]).await;
    }
    eventually("a is connected", || async { a.admin("GET", "/v1/nodes", "").await.json()["state"] == "up" }).await;
    // Whether b has its connection again or not: it follows at the latest when it has.
    assert_eq!(a.operate("modules/echo/rollback").await["generation"], json!(before));
    eventually("b follows", || async { generation(&b).await == before }).await;
}

#[tokio::test]
async fn a_node_that_did_not_notice_its_absence_follows_a_rollback() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let a = start(&nats, "a-1", "alpha", &["echo"]).await;
    let mut patient = node("b-1", "beta", &format!("nats://{}", cable.address));
    patient["cluster"]["goneAfter"] = json!("10s");
    let b = TestHost::waits_for(&["echo"]).config(patient).start().await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "echo"), ("b-1", "echo")]).await;
        host.put_manifest("echo", &manifest("new"));
    }
    let before = generation(&a).await;
    a.reload("echo").await;
    assert_ne!(generation(&b).await, before);
    cable.pull();
    sees(&a, &[("a-1", "echo")]).await;
    a.operate("modules/echo/rollback").await;
    cable.plug_in();
    eventually("b follows", || async { generation(&b).await == before }).await;
    assert!(b.events_named(&["natsDown"]).await.is_empty(), "its connection was never lost");
}

#[tokio::test]
async fn a_node_that_was_cut_off_follows_a_rollback() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let a = start(&nats, "a-1", "alpha", &["echo"]).await;
    let b =
        TestHost::waits_for(&["echo"]).config(node("b-1", "beta", &format!("nats://{}", cable.address))).start().await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "echo"), ("b-1", "echo")]).await;
        host.put_manifest("echo", &manifest("new"));
    }
    let before = generation(&a).await;
    a.reload("echo").await;
    assert_ne!(generation(&b).await, before);
    cable.pull();
    sees(&a, &[("a-1", "echo")]).await;
    let back = a.operate("modules/echo/rollback").await;
    assert_eq!((&back["generation"], &back["nodes"]), (&json!(before), &Value::Null), "{back}");
    cable.plug_in();
    eventually("b follows", || async { generation(&b).await == before }).await;
}

#[tokio::test]
async fn the_turn_of_a_killed_node_goes_to_another_one() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1", "alpha", &["echo"]).await;
    let (project, b) = process(&nats.url(), "b-1").await;
    sees(&a, &[("a-1", "echo"), ("b-1", "echo")]).await;
    project.dir.write("modules/echo/module.json", canary_manifest("new", "1h", 0).to_string());
    let admin = b.admin().parse().unwrap();
    let reload =
        tokio::spawn(
            async move { Connection::open(admin).await.send("POST", "/v1/modules/echo/reload", &[], "").await },
        );
    eventually("the canary runs", || async { b.status("echo").await["note"].is_string() }).await;
    a.put_manifest("echo", &manifest("other"));
    let on_a = changed(&a);
    eventually("a waits", || async { a.log.contains(&["waits for another node to change the module", "b-1"]) }).await;
    b.signal(Signal::KILL);
    eventually("a has the turn", || async { on_a.is_finished() }).await;
    assert_eq!(on_a.await.unwrap().unwrap().outcome, fanfare::api::ReloadOutcome::Swapped);
    reload.abort();
}

#[tokio::test]
async fn a_node_whose_turn_was_taken_over_does_not_swap() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let a = start(&nats, "a-1", "alpha", &["echo"]).await;
    let b = TestHost::waits_for(&["echo"]).config(node("b-1", "beta", &format!("nats://{}", cable.address)));
    let b = b.gated_compiler("echo").start().await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "echo"), ("b-1", "echo")]).await;
    }
    a.put_manifest("echo", &canary_manifest("new", "1s", 0));
    let on_a = a.start_canary("echo").await;
    b.put_manifest("echo", &manifest("late"));
    let (before, on_b) = (generation(&b).await, changed(&b));
    eventually("b waits", || async { b.log.contains(&["waits for another node to change the module", "a-1"]) }).await;
    // When it has its turn, it has to compile other files.
    b.put("echo", "echo.wasm", &never_compiled("echo"));
    on_a.await.unwrap().unwrap();
    eventually("b compiles", || async { b.dir.path().join("reached").exists() }).await;
    cable.pull();
    a.put_manifest("echo", &manifest("other"));
    let on_a = changed(&a);
    eventually("a has the turn", || async { on_a.is_finished() }).await;
    cable.plug_in();
    eventually("b is connected", || async { b.admin("GET", "/v1/nodes", "").await.json()["state"] == "up" }).await;
    b.dir.write("open", "");
    let refused = on_b.await.unwrap().unwrap_err().to_string();
    assert!(refused.contains("has taken over the turn to change the module"), "{refused}");
    assert_eq!(generation(&b).await, before);
    // The next one has a turn of its own.
    changed(&b).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_guest_reloads_a_module_on_every_node() {
    let Some(nats) = Nats::start().await else { return };
    let node = async |id: &str, server: &str| {
        TestHost::waits_for(&["echo"]).and("test-party").config(nats.node(id, server)).start().await
    };
    let (a, b) = (node("a-1", "alpha").await, node("b-1", "beta").await);
    for host in [&a, &b] {
        sees(host, &[("a-1", "test-party"), ("b-1", "test-party")]).await;
    }
    assert_eq!(a.post("/api/test-party/test/feat/reload", "").await.status, 200);
    for host in [&a, &b] {
        let swapped = || async { host.events_named(&["swapCommitted"]).await.len() == 1 };
        eventually("the node has reloaded", swapped).await;
    }
}
