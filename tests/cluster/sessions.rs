//! Sessions of other nodes: `sessions-await.read`, `write`, `ask` and `find`.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::pushes::{bind, host, is_down, meet, outside, plain, process, push, socketcluster, two};
use crate::harness::{Nats, Started, WebSocket, eventually};

fn read(session: &str) -> Value {
    json!({ "do": "read", "session": session })
}

fn write(session: &str, set: Value, remove: Value) -> Value {
    json!({ "do": "write", "session": session, "set": set, "remove": remove })
}

fn ask(session: &str, timeout: u32) -> Value {
    json!({ "do": "ask", "session": session, "name": "question", "payload": "?", "timeout_ms": timeout })
}

fn find(uid: &str) -> Value {
    json!({ "do": "findAll", "uid": uid })
}

/// Calls a function, and returns its error and its message.
async fn refused(host: &Started, what: Value) -> (String, String) {
    let result = host.uses(what.clone()).await;
    let text = |name: &str| result[name].as_str().unwrap_or_else(|| panic!("{what}: {result}")).to_owned();
    (text("error"), text("message"))
}

#[tokio::test]
async fn a_session_of_another_node_is_read_written_asked_and_found() {
    for nats in Nats::all().await {
        let (a, b) = two(&nats).await;
        let (mut client, id) = socketcluster(b.http).await;
        bind(&b, &id, "ada").await;
        let values = json!([["_secret", "1"], ["gone", "2"], ["name", r#""Ada""#]]);
        assert_eq!(b.uses(json!({ "do": "set", "session": id, "values": values })).await, Value::Null);

        let looked = b.uses(json!({ "do": "look", "session": id })).await;
        let found = a.uses(read(&id)).await;
        assert_eq!(found["session"], looked);
        assert_eq!(found["values"], json!([["gone", "2"], ["name", r#""Ada""#]]), "`_secret` stays on its node");
        assert_eq!(a.uses(write(&id, json!([["level", "7"]]), json!(["gone"]))).await, Value::Null);
        let values = json!([["_secret", "1"], ["level", "7"], ["name", r#""Ada""#]]);
        assert_eq!(b.uses(json!({ "do": "values", "session": id })).await, values);
        // All of it, or nothing.
        let large = json!([["level", "8"], ["large", format!("\"{}\"", "x".repeat(64 * 1_024))]]);
        let (kind, why) = refused(&a, write(&id, large, json!(["name"]))).await;
        assert!(kind == "invalid" && why.contains("websocket.sessionSize"), "{kind}: {why}");
        assert_eq!(b.uses(json!({ "do": "values", "session": id })).await, values);

        let (answer, ()) = tokio::join!(a.uses(ask(&id, 4_000)), async {
            let question = client.json().await;
            assert_eq!((&question["event"], &question["data"]), (&json!("question"), &json!("?")));
            client.send(&json!({ "rid": question["cid"], "data": "yes" }).to_string()).await;
        });
        assert_eq!(answer, json!({ "answer": "\"yes\"" }));
        let (failed, ()) = tokio::join!(refused(&a, ask(&id, 4_000)), async {
            let question = client.json().await;
            let error = json!({ "name": "no", "message": "not today" });
            client.send(&json!({ "rid": question["cid"], "error": error }).to_string()).await;
        });
        assert_eq!(failed.0, "failure", "{failed:?}");
        assert_eq!(refused(&a, ask(&id, 50)).await.0, "timeout");
        assert_eq!(client.json().await["event"], "question");

        let (mut other, other_id) = plain(a.http).await;
        bind(&a, &other_id, "ada").await;
        let own = a.uses(json!({ "do": "look", "session": other_id })).await;
        assert_eq!(a.uses(find("ada")).await, json!([own, looked]));
        assert_eq!(b.uses(find("ada")).await, json!([looked, own]));
        assert_eq!(a.uses(find("bob")).await, json!([]));
        assert_eq!(refused(&b, ask(&other_id, 4_000)).await.0, "invalid", "a plain WebSocket has no answers");
        // The functions that block the instance.
        let blocking = other.ask(json!({ "do": "current" })).await;
        assert_eq!(blocking, own);
        let mut blocking = WebSocket::open(a.http, "/api/sessions/blocking").await;
        assert_eq!(blocking.ask(find("ada")).await, json!([own, looked]));
        assert_eq!(blocking.ask(read(&id)).await["session"], looked);
        let pushed = blocking.ask(push(json!({ "session": id }), "blocked")).await;
        assert_eq!(pushed["reached"], 1, "{pushed}");

        // What returns at once sees the sessions of its node.
        assert_eq!(a.uses(json!({ "do": "look", "session": id })).await, Value::Null);
        assert_eq!(a.uses(json!({ "do": "join", "group": "g", "sessions": [id] })).await, 0);
        for what in [
            json!({ "do": "get", "session": id, "key": "name" }),
            json!({ "do": "bind", "session": id, "uid": "eve", "taken": "share" }),
            json!({ "do": "disconnect", "session": id, "code": 4000, "reason": "" }),
        ] {
            assert_eq!(refused(&a, what).await.0, "not-found");
        }
    }
}

#[tokio::test]
async fn a_session_that_no_node_has_is_not_found() {
    let Some(nats) = Nats::start().await else { return };
    let (a, _b) = two(&nats).await;
    for id in ["a-1/nobody", "b-1/nobody", "c-1/nobody", "nobody"] {
        for what in [read(id), write(id, json!([]), json!([])), ask(id, 1_000)] {
            let (kind, why) = refused(&a, what.clone()).await;
            assert!(kind == "not-found" && why.contains(&format!("`{id}`")), "{what}: {kind}: {why}");
        }
    }
}

#[tokio::test]
async fn only_the_node_of_the_caller_checks_its_grants() {
    let Some(nats) = Nats::start().await else { return };
    let a = host("a-1", &nats.url()).grant("sessions", json!({ "sessions": false }));
    let a = a.manifest("sessions", json!({ "capabilities": { "sessions": false } })).start().await;
    let b = host("b-1", &nats.url()).start().await;
    meet(&[&a, &b], &["a-1", "b-1"]).await;
    let (_client, id) = plain(b.http).await;
    let (_other, other_id) = plain(a.http).await;
    for what in [
        read(&id),
        write(&id, json!([]), json!([])),
        ask(&id, 1_000),
        find("ada"),
        push(json!({ "session": id }), "x"),
        push(json!("everyone"), "x"),
    ] {
        assert_eq!(refused(&a, what.clone()).await.0, "forbidden", "{what}");
    }
    assert_eq!(a.metric("fanfare_cluster_sent_total", &[]).await, 0.0);
    // The module of `b-1` may use the sessions of a node where it has no grant.
    assert_eq!(b.uses(read(&other_id)).await["session"]["id"], json!(other_id));
}

#[tokio::test]
async fn without_nats_a_session_of_another_node_is_unavailable() {
    let Some(mut nats) = Nats::start().await else { return };
    let (a, b) = two(&nats).await;
    let (mut client, id) = socketcluster(b.http).await;
    let (_own, own_id) = plain(a.http).await;
    let (lost, ()) = tokio::join!(refused(&a, ask(&id, 10_000)), async {
        assert_eq!(client.json().await["event"], "question");
        nats.kill();
    });
    assert_eq!(lost.0, "crashed", "the client has received the question: {lost:?}");
    eventually("a has noticed", || is_down(&a)).await;
    for gone in [false, true] {
        if gone {
            meet(&[&a], &["a-1"]).await;
        }
        for what in [read(&id), write(&id, json!([]), json!([])), ask(&id, 1_000), find("ada")] {
            let (kind, why) = refused(&a, what.clone()).await;
            assert_eq!(kind, "unavailable", "{what}: {why}");
            assert!(why.starts_with("this node is not connected to NATS"), "{what}: {why}");
        }
        assert_eq!(a.uses(read(&own_id)).await["session"]["id"], json!(own_id));
        assert_eq!(a.uses(write(&own_id, json!([["k", "1"]]), json!([]))).await, Value::Null);
    }
    nats.run().await;
    meet(&[&a, &b], &["a-1", "b-1"]).await;
    assert_eq!(a.uses(read(&id)).await["session"]["id"], json!(id));
}

#[tokio::test]
async fn the_sessions_of_a_node_that_fails_end_as_their_errors_say() {
    let Some(nats) = Nats::start().await else { return };
    let a = host("a-1", &nats.url()).start().await;
    let (_project, b) = process("b-1", &nats.url()).await;
    meet(&[&a], &["a-1", "b-1"]).await;
    let (mut client, id) = socketcluster(b.http).await;
    let ada = json!({ "do": "bind", "session": id, "uid": "ada", "taken": "share" });
    assert_eq!(outside(b.http, ada).await, Value::Null);
    b.freeze().await;
    let (kind, _) = refused(&a, read(&id)).await;
    assert!(matches!(&*kind, "timeout" | "unavailable"), "{kind}");
    b.signal(Signal::CONT);
    meet(&[&a], &["a-1", "b-1"]).await;
    eventually("b answers again", || async { a.uses(find("ada")).await[0]["id"] == json!(id) }).await;
    let (lost, ()) = tokio::join!(refused(&a, ask(&id, 10_000)), async {
        assert_eq!(client.json().await["event"], "question");
        b.signal(Signal::KILL);
    });
    assert_eq!(lost, ("unavailable".to_owned(), "node b-1 was lost, and its sessions with it".to_owned()));
    for what in [read(&id), write(&id, json!([]), json!([])), ask(&id, 1_000)] {
        assert_eq!(refused(&a, what).await.0, "unavailable");
    }
    assert_eq!(a.uses(find("ada")).await, json!([]), "a node that is gone has no sessions");
    meet(&[&a], &["a-1"]).await;
    for what in [read(&id), write(&id, json!([]), json!([])), ask(&id, 1_000)] {
        assert_eq!(refused(&a, what).await.0, "unavailable");
    }
    assert_eq!(a.uses(find("ada")).await, json!([]));
}

#[tokio::test]
async fn a_node_that_is_gone_has_no_sessions_although_it_is_listed() {
    let Some(nats) = Nats::start().await else { return };
    let slow = json!({ "cluster": { "goneAfter": "1m" } });
    let a = host("a-1", &nats.url()).config(slow).start().await;
    let (_project, mut b) = process("b-1", &nats.url()).await;
    meet(&[&a], &["a-1", "b-1"]).await;
    b.signal(Signal::KILL);
    b.ended().await;
    // NATS says at once that nobody receives.
    assert_eq!(a.uses(find("ada")).await, json!([]));
    meet(&[&a], &["a-1", "b-1"]).await;
}

#[tokio::test]
async fn a_read_that_is_on_its_way_when_the_connection_is_lost_is_unavailable() {
    for finds in [false, true] {
        let Some(mut nats) = Nats::start().await else { return };
        // It ends neither because the node is gone nor at its deadline.
        let slow = json!({
            "cluster": { "goneAfter": "1m" },
            "modules": { "sessions": { "limits": { "timeout": "1m" } } },
        });
        let a = host("a-1", &nats.url()).config(slow).start().await;
        let (_project, b) = process("b-1", &nats.url()).await;
        meet(&[&a], &["a-1", "b-1"]).await;
        let (_client, id) = socketcluster(b.http).await;
        b.freeze().await;
        let what = if finds { find("ada") } else { read(&id) };
        let (lost, ()) = tokio::join!(refused(&a, what), async {
            eventually("it waits", || async { a.metric("fanfare_cluster_waiting", &[]).await == 1.0 }).await;
            nats.kill();
        });
        assert_eq!(lost, ("unavailable".to_owned(), "the connection to NATS was lost".to_owned()));
    }
}
