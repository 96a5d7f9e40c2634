//! Targets and groups of calls.

use serde_json::{Value, json};

use super::{end, message, replied};
use crate::harness::{Connection, Gate, Started, TestHost, by_worker, ends, eventually};

/// The worker in which a nested call of `/who` ran.
async fn who(host: &Started, from: u32, target: Value) -> Value {
    replied(&host.nested(from, json!({ "route": "/who", "target": target })).await)["isolate"].clone()
}

#[tokio::test]
async fn any_is_the_callers_own_worker_if_it_is_ready() {
    let host = TestHost::waits_for(&[]).workers(3).start().await;
    for from in [0, 1, 2] {
        assert_eq!(who(&host, from, json!("any")).await, format!("worker-{from}"));
    }
}

#[tokio::test]
async fn any_is_another_worker_if_the_module_has_failed_in_the_callers() {
    let host = TestHost::waits_for(&["traps"]).config(json!({ "isolate": { "maxRestarts": 0 } })).start().await;
    host.call("worker-0", "traps", "trap", "").await;
    eventually("the module has failed there", || async { host.slot("traps", 0).await["state"] == "failed" }).await;
    let ended = host.nested(0, json!({ "route": "traps/who" })).await;
    assert_eq!(replied(&ended)["isolate"], "worker-1");
}

#[tokio::test]
async fn any_is_another_worker_while_the_callers_is_serial_and_busy() {
    let host = TestHost::waits_for(&["serial"]).start().await;
    let mut operator = Connection::open(host.admin).await;
    let hold = "/v1/modules/serial/call?target=worker-0&path=hold";
    tokio::spawn(async move { operator.send("POST", hold, &[], "").await });
    eventually("the instance is busy", || async { host.slot("serial", 0).await["inFlight"] == 1 }).await;
    let ended = host.nested(0, json!({ "route": "serial/who" })).await;
    assert_eq!(replied(&ended)["isolate"], "worker-1");
}

#[tokio::test]
async fn a_worker_target_is_that_worker() {
    let host = TestHost::waits_for(&[]).workers(3).start().await;
    for to in [0, 1, 2] {
        assert_eq!(who(&host, 1, json!({ "worker": to })).await, format!("worker-{to}"));
    }
}

#[tokio::test]
async fn the_own_node_and_its_server_type_are_any_of_its_workers() {
    let host =
        TestHost::waits_for(&[]).config(json!({ "node": { "id": "chat-server-1", "server": "chat" } })).start().await;
    assert_eq!(who(&host, 1, json!({ "node": "chat-server-1" })).await, "worker-1");
    assert_eq!(who(&host, 1, json!({ "server": "chat" })).await, "worker-1");
}

#[tokio::test]
async fn unknown_targets_are_not_found() {
    let host = TestHost::waits_for(&[]).config(json!({ "brokers": 0 })).start().await;
    let places = [
        (json!({ "worker": 2 }), "there is no worker-2: this node has 2 workers"),
        (json!({ "broker": 0 }), "there is no broker-0: this node has no brokers"),
        (json!("master"), "there is no module waits in master"),
        (json!({ "node": "elsewhere" }), "there is no node elsewhere"),
        (json!({ "server": "chat" }), "there is no node of the server type chat"),
        (json!({ "channel": "room/7" }), "this node has no brokers, where the routes of channels run: set brokers"),
        (json!({ "session": "n-1/7" }), "there is no session n-1/7"),
    ];
    for (target, why) in places {
        let ended = host.nested(0, json!({ "route": "/who", "target": target })).await;
        assert_eq!((end(&ended), message(&ended)), ("not-found", why));
    }
    for group in [json!("brokers"), json!({ "servers": "chat" })] {
        let ended = host.run(0, "waits", "every", json!({ "route": "/who", "group": group })).await;
        assert_eq!(end(&ended), "not-found", "{group}");
    }
}

#[tokio::test]
async fn unknown_kinds_of_targets_and_groups_are_invalid() {
    let host = TestHost::waits_for(&[]).start().await;
    // The message shortens the guest's text and escapes control characters.
    let names = ["planet", "", "\u{1b}[2J", &"x".repeat(10_000)];
    for kind in names {
        let other = json!({ "other": [kind, "mars"] });
        let calls = [
            ("nested", json!({ "route": "/who", "target": other })),
            ("notify", json!({ "route": "/who", "target": other })),
            ("every", json!({ "route": "/who", "group": other })),
            ("notify", json!({ "route": "/who", "group": other })),
        ];
        for (handler, wanted) in calls {
            let ended = host.run(0, "waits", handler, wanted).await;
            let why = message(&ended);
            assert_eq!(end(&ended), "invalid", "{handler}: {ended}");
            assert!(why.starts_with("unknown kind of ") && why.len() < 250 && !why.contains('\u{1b}'), "{why}");
        }
    }
    let ended = host.nested(0, json!({ "route": "/who", "target": { "other": ["planet", "mars"] } })).await;
    assert_eq!(message(&ended), "unknown kind of target: this version does not support `planet`");
    let group = json!({ "route": "/who", "group": { "other": ["planets", "inner"] } });
    let ended = host.run(0, "waits", "every", group).await;
    assert_eq!(message(&ended), "unknown kind of group: this version does not support `planets`");
    assert_eq!(host.slot("waits", 0).await["restarts"], 0);
}

#[tokio::test]
async fn without_a_cluster_this_node_is_the_only_one() {
    let host = TestHost::waits_for(&["echo"])
        .workers(3)
        .config(json!({ "node": { "id": "chat-server-1", "server": "chat" } }))
        .start()
        .await;
    let every =
        async |group: Value| host.run(1, "waits", "every", json!({ "route": "echo/who", "group": group })).await;
    assert_eq!(ends(&every(json!("cluster")).await), by_worker(&["reply", "reply", "reply"]));
    for group in [json!("nodes"), json!({ "servers": "chat" })] {
        let entries = every(group.clone()).await;
        assert_eq!(entries.as_array().map(Vec::len), Some(1), "{group}: {entries}");
        assert_eq!(
            replied(&entries[0]["outcome"])["isolate"],
            "worker-1",
            "the same worker as for any: {group}: {entries}"
        );
        assert_eq!(entries[0]["isolate"], "worker-1");
        let sent = host.run(1, "waits", "notify", json!({ "route": "echo/who", "group": group })).await;
        assert_eq!(sent["ok"], 1, "{sent}");
    }
    let absent = host.run(1, "waits", "every", json!({ "route": "serial/who", "group": "nodes" })).await;
    assert_eq!((&absent[0]["isolate"], end(&absent[0]["outcome"])), (&json!("worker-0"), "forbidden"), "{absent}");
}

#[tokio::test]
async fn every_worker_answers_once_in_index_order() {
    let host = TestHost::waits_for(&["echo"]).workers(3).start().await;
    let entries = host.run(1, "waits", "every", json!({ "route": "echo/who" })).await;
    assert_eq!(ends(&entries), by_worker(&["reply", "reply", "reply"]));
    for (index, entry) in entries.as_array().unwrap().iter().enumerate() {
        assert_eq!(replied(&entry["outcome"]), json!({ "isolate": format!("worker-{index}"), "count": 1 }));
        assert_eq!(entry["node"], Value::Null);
    }
}

#[tokio::test]
async fn every_worker_has_an_entry_even_if_some_have_failed() {
    let host =
        TestHost::waits_for(&["traps"]).workers(3).config(json!({ "isolate": { "maxRestarts": 0 } })).start().await;
    host.call("worker-1", "traps", "trap", "").await;
    eventually("the module has failed there", || async { host.slot("traps", 1).await["state"] == "failed" }).await;
    let entries = host.run(0, "waits", "every", json!({ "route": "traps/ok" })).await;
    assert_eq!(ends(&entries), by_worker(&["reply", "unavailable", "reply"]));
    let notified = host.run(0, "waits", "notify", json!({ "route": "traps/ok", "group": "workers" })).await;
    assert_eq!(notified, json!({ "ok": 2 }));
}

/// The payloads that `hear` has received in a worker.
async fn heard(host: &Started, worker: u32) -> Value {
    host.run(worker, "waits", "heard&method=GET", Value::Null).await
}

#[tokio::test]
async fn notify_queues_for_one_worker_or_for_all() {
    let host = TestHost::waits_for(&[]).start().await;
    let one = json!({ "route": "/hear", "payload": "one", "target": { "worker": 1 } });
    assert_eq!(host.run(0, "waits", "notify", one).await, json!({ "ok": 1 }));
    eventually("it arrives", || async { heard(&host, 1).await == json!(["one"]) }).await;
    let every = json!({ "route": "/hear", "payload": "every", "group": "workers" });
    assert_eq!(host.run(0, "waits", "notify", every).await, json!({ "ok": 2 }));
    eventually("it arrives there", || async { heard(&host, 1).await == json!(["one", "every"]) }).await;
    eventually("and here", || async { heard(&host, 0).await == json!(["every"]) }).await;
}

#[tokio::test]
async fn notify_does_not_wait_for_the_call() {
    let gate = Gate::before(|call| &*call.context.module == "echo");
    let host = TestHost::waits_for(&["echo"]).probe(gate.probe()).start().await;
    let notify = json!({ "route": "echo/who", "target": { "worker": 1 } });
    assert_eq!(host.run(0, "waits", "notify", notify).await, json!({ "ok": 1 }));
    eventually("it starts", || async { gate.reached() == 1 }).await;
    gate.open();
    eventually("it ends", || async { host.ended("echo", 1, "rpc", "ok").await == 1.0 }).await;
}

#[tokio::test]
async fn a_request_for_a_busy_serial_guest_goes_to_another_worker() {
    let host = TestHost::with("serial").start().await;
    let mut connection = Connection::open(host.http).await;
    let own = connection.send("GET", "/api/serial/who", &[], "").await.json()["isolate"].clone();
    let again = connection.send("GET", "/api/serial/who", &[], "").await.json();
    assert_eq!(again, json!({ "isolate": own, "count": 2 }), "a free instance serves the connections of its worker");

    let hold = format!("/v1/modules/serial/call?target={}&path=hold", own.as_str().unwrap());
    let mut operator = Connection::open(host.admin).await;
    tokio::spawn(async move { operator.send("POST", &hold, &[], "").await });
    let index = usize::from(own == "worker-1");
    eventually("the instance is busy", || async { host.slot("serial", index).await["inFlight"] == 1 }).await;
    let other = connection.send("GET", "/api/serial/who", &[], "").await.json();
    assert_eq!(other, json!({ "isolate": format!("worker-{}", 1 - index), "count": 1 }));
}
