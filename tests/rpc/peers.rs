//! Calls and broadcasts between two nodes that exchange JSON text.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use fanfare::tooling::{BoxFuture, CallError, Dispatch, GatherEntry, Peer, PeerBroadcast, PeerCall, Peers, Reached};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{end, message, replied};
use crate::failures::steps::assert_names;
use crate::harness::{Started, TestHost, eventually};

/// Connects one node to the others.
#[derive(Default)]
struct Loopback {
    others: Mutex<Vec<(Peer, Weak<Dispatch>)>>,
    /// Whether calls to other nodes are lost.
    loses: AtomicBool,
}

/// Serialises and deserialises a value, as sending it does.
fn crossed<T: Serialize + DeserializeOwned>(sent: &T) -> T {
    serde_json::from_str(&serde_json::to_string(sent).unwrap()).unwrap()
}

impl Loopback {
    fn connect(&self, id: &str, server: &str, host: &Started) {
        let dispatch = host.running().dispatch();
        let workers = u32::try_from(dispatch.workers().len()).unwrap();
        let peer = Peer { id: id.into(), server: server.into(), workers };
        self.others.lock().unwrap().push((peer, Arc::downgrade(dispatch)));
    }

    fn to(&self, node: &str) -> Arc<Dispatch> {
        let others = self.others.lock().unwrap();
        others.iter().find(|(peer, _)| *peer.id == *node).and_then(|(_, dispatch)| dispatch.upgrade()).unwrap()
    }
}

impl Peers for Loopback {
    fn nodes(&self) -> Vec<Peer> {
        self.others.lock().unwrap().iter().map(|(peer, _)| peer.clone()).collect()
    }

    fn call(&self, node: &str, call: PeerCall) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        if self.loses.load(Ordering::Acquire) {
            return Box::pin(std::future::pending());
        }
        let answered = self.to(node).on_peer_call(crossed(&call));
        Box::pin(async move { answered.await.map(|entries| crossed(&entries)).map_err(|error| crossed(&error)) })
    }

    fn notify(&self, node: &str, call: PeerCall) -> Result<(), CallError> {
        // The sender does not get the result.
        let _ = self.to(node).on_peer_notify(crossed(&call));
        Ok(())
    }

    fn holders(&self, _: &str) -> Vec<Peer> {
        self.nodes()
    }

    fn broadcast(&self, broadcast: PeerBroadcast) -> Reached {
        let nodes = self.nodes();
        for peer in &nodes {
            let _ = self.to(&peer.id).on_peer_broadcast(crossed(&broadcast));
        }
        Reached { nodes: u32::try_from(nodes.len()).unwrap(), skipped: Vec::new() }
    }

    fn gather(&self, broadcast: PeerBroadcast) -> BoxFuture<Vec<GatherEntry>> {
        let gathers = self.nodes().into_iter().map(|peer| {
            let gathered = self.to(&peer.id).on_peer_gather(crossed(&broadcast));
            async move {
                let mut entries = gathered.await.unwrap();
                entries.iter_mut().for_each(|entry| entry.node = Some(peer.id.to_string()));
                entries
            }
        });
        let all = futures_util::future::join_all(gathers);
        Box::pin(async move { all.await.concat() })
    }
}

/// Two nodes, `a-1` of the server type `alpha` and `b-1` of `beta`, and the connection from the
/// first to the second.
async fn two(modules: &[&str], configured: impl Fn(TestHost) -> TestHost) -> (Started, Started, Arc<Loopback>) {
    let ways = [Arc::<Loopback>::default(), Arc::default()];
    let start = async |id: &str, server: &str, way: &Arc<Loopback>| {
        let node = json!({ "node": { "id": id, "server": server } });
        configured(TestHost::waits_for(modules)).config(node).peers(way.clone()).start().await
    };
    let (a, b) = (start("a-1", "alpha", &ways[0]).await, start("b-1", "beta", &ways[1]).await);
    let [to_b, to_a] = ways;
    to_b.connect("b-1", "beta", &b);
    to_a.connect("a-1", "alpha", &a);
    (a, b, to_b)
}

fn unchanged(host: TestHost) -> TestHost {
    host
}

fn on_b(route: &str) -> Value {
    json!({ "route": route, "target": { "node": "b-1" } })
}

/// A call of `waits` on `b-1` that makes the call `wanted` from there.
fn through_b(wanted: &Value) -> Value {
    json!({ "route": "waits/nested", "target": { "node": "b-1" }, "payload": wanted })
}

#[tokio::test]
async fn a_call_to_another_node_carries_its_context() {
    let (a, _b, _) = two(&["echo"], unchanged).await;
    for target in [json!({ "node": "b-1" }), json!({ "server": "beta" })] {
        let wanted = json!({ "route": "echo/context", "target": target, "timeoutMs": 700, "subdomain": "acme" });
        let context = replied(&a.nested(1, wanted).await);
        assert_eq!((&context["whoami"]["node"], &context["whoami"]["server"]), (&json!("b-1"), &json!("beta")));
        assert_eq!((&context["trigger"], &context["subdomain"]), (&json!("rpc"), &json!("acme")));
        let left = context["deadlineMs"].as_u64().unwrap();
        assert!((1..=700).contains(&left), "{left}");
        let origin = context["origin"].as_str().unwrap();
        assert!(["waits", "Worker(1)", "a-1"].iter().all(|part| origin.contains(part)), "{origin}");
    }
    let operated = a.running().dispatch();
    let name = fanfare::tooling::RouteName::parse("GET echo/context").unwrap();
    let (target, options) = (fanfare::tooling::Target::Node("b-1".into()), Default::default());
    let reply = operated.call(&fanfare::tooling::Actor::Operator, target, &name, Default::default(), options).await;
    let context: Value = serde_json::from_slice(reply.unwrap().payload.as_bytes()).unwrap();
    assert_eq!((&context["whoami"]["node"], &context["origin"]), (&json!("b-1"), &json!("Origin::Operator")));
}

#[tokio::test]
async fn every_outcome_of_a_call_returns_from_another_node() {
    let (a, b, to_b) = two(&["echo", "traps"], unchanged).await;
    let fails = json!({ "name": "no", "message": "not today", "status": 418, "data": "why" });
    let failed = json!({ "route": "echo/fail", "target": { "node": "b-1" }, "payload": fails });
    let failed = a.nested(0, failed).await;
    let failure = json!({ "name": "no", "status": 418, "data": "\"why\"" });
    assert_eq!((end(&failed), &failed["error"]["failure"]), ("failure", &failure), "{failed}");
    let crashed = a.nested(0, on_b("traps/trap")).await;
    assert_eq!(end(&crashed), "crashed");
    assert!(message(&crashed).starts_with("the instance of traps in worker-"), "{crashed}");
    let missing = a.nested(0, on_b("echo/nothing")).await;
    assert_eq!((end(&missing), message(&missing)), ("not-found", "there is no route echo/nothing"));
    assert_eq!(end(&a.nested(0, on_b("serial/ok")).await), "forbidden", "the caller's node checks the grants");

    let late = json!({ "route": "traps/hold", "target": { "node": "b-1" }, "timeoutMs": 100 });
    assert_eq!(end(&a.nested(0, late.clone()).await), "timeout");
    eventually("the call times out on that node too", || async {
        b.metric("fanfare_calls_total", &["module=\"traps\"", "trigger=\"rpc\"", "outcome=\"timeout\""]).await == 1.0
    })
    .await;
    to_b.loses.store(true, Ordering::Release);
    assert_eq!(end(&a.nested(0, late).await), "timeout", "also when the call is lost");

    let elsewhere = json!({ "route": "echo/who", "target": { "node": "c-1" } });
    assert_eq!(message(&a.nested(0, elsewhere).await), "there is no node c-1");
}

#[tokio::test]
async fn a_call_that_returns_to_a_waiting_serial_guest_would_deadlock() {
    let serial = |workers: u32| {
        let rights = json!({ "rpc": ["waits"] });
        move |host: TestHost| {
            let host = host.grant("serial", rights.clone()).workers(workers);
            host.manifest("serial", json!({ "capabilities": rights }))
        }
    };
    let back = json!({ "route": "serial/who", "target": { "node": "a-1" } });
    let (a, b, _) = two(&["serial"], serial(1)).await;
    let ended = replied(&a.run(0, "serial", "nested", through_b(&back)).await);
    assert_eq!(end(&ended), "would-deadlock", "{ended}");
    assert!(message(&ended).starts_with("serial in worker-0 runs call "), "{ended}");
    // A call from outside this chain does not deadlock.
    assert_eq!(end(&replied(&a.nested(0, through_b(&back)).await)), "ok");
    assert_eq!(end(&b.nested(0, back.clone()).await), "ok");

    let (a, _b, _) = two(&["serial"], serial(2)).await;
    let ended = replied(&a.run(0, "serial", "nested", through_b(&back)).await);
    assert_eq!(replied(&ended)["isolate"], "worker-1", "any resolves to the other worker: {ended}");
}

#[tokio::test]
async fn depth_counts_across_nodes() {
    let (a, _b, _) = two(&["echo"], |host| host.config(json!({ "calls": { "maxDepth": 2 } }))).await;
    let who = json!({ "route": "echo/who", "target": { "node": "a-1" } });
    assert_eq!(end(&replied(&a.nested(0, through_b(&who)).await)), "ok");
    let further = json!({ "route": "waits/nested", "target": { "node": "a-1" }, "payload": who });
    let ended = replied(&replied(&a.nested(0, through_b(&further)).await));
    assert_eq!(message(&ended), "a call of echo would be 3 calls deep, but calls.maxDepth allows 2");
}

#[tokio::test]
async fn groups_reach_other_nodes() {
    let (a, b, _) = two(&["echo"], unchanged).await;
    let places = async |group: Value| {
        let entries = a.run(1, "waits", "every", json!({ "route": "echo/who", "group": group })).await;
        let place = |entry: &Value| {
            assert_eq!(replied(&entry["outcome"])["isolate"], entry["isolate"], "{entry}");
            (entry["node"].as_str().unwrap_or("here").to_owned(), entry["isolate"].as_str().unwrap().to_owned())
        };
        entries.as_array().unwrap().iter().map(place).collect::<Vec<_>>()
    };
    let all = [("here", "worker-0"), ("here", "worker-1"), ("b-1", "worker-0"), ("b-1", "worker-1")];
    assert_eq!(places(json!("cluster")).await, all.map(|(node, isolate)| (node.to_owned(), isolate.to_owned())));
    let nodes: Vec<String> = places(json!("nodes")).await.into_iter().map(|(node, _)| node).collect();
    assert_eq!(nodes, ["here", "b-1"]);
    let beta: Vec<String> = places(json!({ "servers": "beta" })).await.into_iter().map(|(node, _)| node).collect();
    assert_eq!(beta, ["b-1"]);

    let before = a.running().dispatch().workers().len();
    let notify = json!({ "route": "/hear", "payload": "note", "group": "cluster" });
    assert_eq!(a.run(0, "waits", "notify", notify).await, json!({ "ok": before + 2 }));
    for host in [&a, &b] {
        for worker in [0, 1] {
            let heard =
                || async { host.run(worker, "waits", "heard&method=GET", Value::Null).await == json!(["note"]) };
            eventually("the notification arrives everywhere", heard).await;
        }
    }
}

#[tokio::test]
async fn a_broadcast_runs_once_in_every_worker_of_every_node() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = seen.clone();
    let (a, b, _) = two(&["echo"], |host| {
        let notes = notes.clone();
        host.probe(Arc::new(move |call| {
            if let fanfare::tooling::Trigger::Broadcast(broadcast) = &call.trigger {
                notes.lock().unwrap().push((broadcast.id, broadcast.same_as_caller, call.context.subdomain.clone()));
            }
        }))
    })
    .await;
    let emission = json!({ "name": "wave", "payload": "hello", "subdomain": "acme" });
    let receipt = a.run(0, "waits", "emit", emission).await;
    assert_eq!(receipt["ok"]["accepted"], 2, "the receipt counts the workers of the own node: {receipt}");
    for host in [&a, &b] {
        for worker in [0, 1] {
            let heard =
                || async { host.run(worker, "waits", "heard&method=GET", Value::Null).await == json!(["hello"]) };
            eventually("the broadcast runs once in every worker", heard).await;
        }
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen.iter().all(|(id, ..)| receipt["ok"]["id"] == *id), "the id is the same everywhere: {seen:?}");
    assert_eq!(seen.iter().filter(|(_, same, _)| *same).count(), 1, "{seen:?}");
    assert!(seen.iter().all(|(.., subdomain)| subdomain.as_deref() == Some("acme")), "{seen:?}");
    // Each node numbers broadcasts in its own order.
    assert_eq!(b.emit("waits", "wave", "again").await["seq"], 2);
    eventually("the broadcast arrives on the first node", || async {
        a.run(1, "waits", "heard&method=GET", Value::Null).await == json!(["hello", "again"])
    })
    .await;
}

#[tokio::test]
async fn calls_from_a_startup_or_of_another_version_are_answered_at_once() {
    let host = TestHost::with("traps").workers(1).config(json!({ "isolate": { "restartBackoff": "1h" } }));
    let host = host.config(json!({ "isolate": { "restartBackoffMax": "1h" } })).start().await;
    let answer = async |version: u8, in_startup: bool| {
        let trace = "0123456789abcdef0123456789abcdef";
        let envelope = json!({
            "version": version, "origin": "host", "chain": [], "depth": 1, "inStartup": in_startup,
            "leftMicros": 200_000, "trace": trace, "subdomain": null,
        });
        let call = json!({ "envelope": envelope, "address": { "one": "any" }, "route": "traps/ok", "payload": "none" });
        let ended = host.running().dispatch().on_peer_call(serde_json::from_value(call).unwrap()).await;
        ended.and_then(|mut entries| entries.remove(0).outcome).map_err(|error| error.to_string())
    };
    assert!(answer(2, true).await.is_ok());
    assert_eq!(
        answer(1, false).await,
        Err("the call has version 1 of the envelope, but this node reads only version 2".to_owned())
    );
    // The first restart is immediate, the second waits for the backoff.
    for _ in 0..2 {
        host.call("any", "traps", "trap", "").await;
    }
    host.until("traps", 0, "state", "restarting").await;
    assert_eq!(answer(2, true).await, Err("traps is not ready in worker-0".to_owned()));
    let waits = answer(2, false).await.unwrap_err();
    assert_names(
        &waits.into(),
        &[
            "no answer by the deadline; traps in worker-0 restarts after a crash, its next instance starts in 3",
            "unreachable",
        ],
    );
}
