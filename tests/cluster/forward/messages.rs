//! Replies, errors, and messages to the client before the reply.

use serde_json::{Value, json};

use super::{all_see, call, chat, client, gate, here, node_of, pair, send};
use crate::cluster::sees;
use crate::harness::Nats;
use crate::socketcluster::PATHS;
use crate::socketcluster::driver::clients;

#[tokio::test]
async fn a_message_for_a_module_of_another_type_runs_there_and_its_reply_comes_back() {
    for nats in Nats::all().await {
        let (front, _back) = pair(&nats).await;
        let mut client = client(&front).await;
        for value in [json!(1), json!({ "a": ["ä", null] }), json!("text")] {
            assert_eq!(call(&mut client, "sessions.echo", value.clone()).await, json!({ "rid": 7, "data": value }));
        }
        let facts = call(&mut client, "sessions.facts?a=b", json!("x")).await["data"].clone();
        let own = here(&mut client, json!({ "do": "current" })).await;
        let id = own["id"].as_str().unwrap();
        assert!(id.starts_with("gate-1/"), "{id}");
        let told = ["version", "kind", "name", "wantsReply", "query", "body", "messageSession"];
        let expected = json!([1, "client", "sessions.facts?a=b", true, "a=b", "\"x\"", id]);
        assert_eq!(json!(told.map(|key| facts[key].clone())), expected, "{facts}");
        assert_eq!(facts["origin"], format!("Origin::Session(\"{id}\")"));
        for key in ["id", "worker", "ip", "protocol", "sinceMs", "uid"] {
            assert_eq!(facts["session"][key], own[key], "{key}");
        }
        assert_eq!(front.metric("fanfare_cluster_forwarded_total", &[]).await, 4.0);
    }
}

#[tokio::test]
async fn errors_of_the_other_node_are_those_of_the_ack() {
    let Some(nats) = Nats::start().await else { return };
    let (front, _back) = pair(&nats).await;
    let mut client = client(&front).await;
    let mut error = async |name: &str, data: Value| call(&mut client, name, data).await["error"].clone();
    let failed = error("sessions.fail", json!({ "name": "Out", "message": "go", "data": 3 })).await;
    assert_eq!((&failed["name"], &failed["message"]), (&json!("Out"), &json!("go")), "{failed}");
    for (name, expected, why) in [
        ("sessions.nothing", "NotFound", "there is no route sessions/nothing"),
        ("sessions/inside/echo", "Forbidden", "sessions/inside/echo"),
        ("sessions/outside/echo", "Forbidden", "sessions/outside/echo"),
        ("nowhere.echo", "NotFound", "nowhere"),
        ("sessions.trap", "Crashed", "traps on request"),
    ] {
        let error = error(name, Value::Null).await;
        assert!(error.to_string().to_lowercase().contains(&expected.to_lowercase()), "{name}: {error}");
        assert!(error.to_string().contains(why), "{name}: {error}");
    }
    assert_eq!(node_of(&mut client).await, 1, "it runs again");
}

#[tokio::test]
async fn messages_to_the_client_arrive_in_their_order_before_the_reply() {
    let Some(nats) = Nats::start().await else { return };
    let (front, _back) = pair(&nats).await;
    let mut client = client(&front).await;
    let first = call(&mut client, "sessions.burst", json!(100)).await;
    assert_eq!(first, json!({ "event": "burst", "data": 1 }));
    for number in 2..=100 {
        assert_eq!(client.json().await, json!({ "event": "burst", "data": number }));
    }
    assert_eq!(client.json().await, json!({ "rid": 7, "data": "done" }));
    // By its id, too.
    let id = here(&mut client, json!({ "do": "current" })).await["id"].clone();
    let hi = json!({ "do": "send", "to": { "session": id }, "name": "hi", "payload": "you" });
    assert_eq!(call(&mut client, "sessions.use", hi).await, json!({ "event": "hi", "data": "you" }));
    assert_eq!(client.json().await["data"], 1);
    let close = json!({ "do": "disconnect", "code": 4321, "reason": "enough" });
    send(&mut client, 8, "sessions.use", close).await;
    assert_eq!(client.closed().await, 4321);
}

#[tokio::test]
async fn released_clients_get_replies_errors_and_messages_of_another_node() {
    let Some(nats) = Nats::start().await else { return };
    let listeners =
        [json!({ "path": PATHS[0], "protocol": 1, "module": "gate" }), json!({ "path": PATHS[1], "module": "gate" })];
    let front = gate(&nats, "gate-1").config(json!({ "websocket": { "listeners": listeners } })).start().await;
    let back = chat(&nats, 1).start().await;
    all_see(&[&front, &back], &["chat-1"]).await;
    let Some(mut clients) = clients(front.http).await else { return };
    for client in &mut clients {
        let name = client.name.clone();
        assert_eq!(client.data("sessions.echo", json!({ "a": [1] })).await, json!({ "a": [1] }), "{name}");
        let failed = client.call("sessions.fail", json!({ "name": "MyError", "message": "nope" })).await;
        assert_eq!(
            (&failed["error"]["name"], &failed["error"]["message"]),
            (&json!("MyError"), &json!("nope")),
            "{name}"
        );
        assert_eq!(client.call("sessions.nothing", Value::Null).await["error"]["code"], "not-found", "{name}");
        assert_eq!(client.data("sessions.burst", json!(3)).await, "done", "{name}");
        for number in 1..=3 {
            let event = client.wait("event").await;
            assert_eq!((&event["name"], &event["data"]), (&json!("burst"), &json!(number)), "{name}");
        }
    }
}

#[tokio::test]
async fn a_message_has_one_trace_on_both_nodes() {
    let Some(nats) = Nats::start().await else { return };
    let back = chat(&nats, 1)
        .and_as("sessions", "traced-there")
        .grant("traced-there", json!({ "sessions": true }))
        .start()
        .await;
    let front = gate(&nats, "gate-1").start().await;
    sees(&front, &[("chat-1", "traced-there"), ("gate-1", "gate")]).await;
    let mut client = client(&front).await;
    let failed = call(&mut client, "traced-there.trap", Value::Null).await["error"].clone();
    assert_eq!(failed["code"], "crashed", "{failed}");
    let line = back.log.lines(&["a call failed", "traced-there"]).pop().expect("the failure is logged");
    let (_, rest) = line.split_once("trace=\"").expect("it has a trace");
    let (trace, _) = rest.split_once('"').expect("it ends");
    assert_eq!(trace.len(), 32, "{line}");
    assert!(front.log.contains(&["a message of a client runs on another node", "traced-there/trap", trace]), "{line}");
}
