//! Filters around the routes of clients' messages.

use super::*;
use crate::harness::root;

fn filtered(filters: Value, config: Value) -> TestHost {
    granted().manifest(GUEST, json!({ "filters": filters, "config": config }))
}

fn both() -> Value {
    json!({ "before": ["step", "step"], "after": ["step"] })
}

#[tokio::test]
async fn a_filter_before_passes_facts_to_the_next_steps() {
    let host = filtered(both(), json!({})).start().await;
    let mut socket = host.socket("facts/7").await;
    socket.send("hello").await;
    let facts = socket.json().await;
    assert_eq!(facts["extra"], json!([["sessions.step", "before"], ["sessions.step", "before"]]));
    assert_eq!((&facts["body"], &facts["params"]), (&json!("hello"), &json!([["room", "7"]])));
    let seen = host.sessions_seen().await;
    let extras: Vec<&Value> = seen.iter().map(|one| &one["extra"]).collect();
    assert_eq!(
        extras,
        [&json!([["for", "POST facts"]]), &json!([["sessions.step", "before"], ["for", "POST facts"]]), &json!([])]
    );
    let kinds: Vec<&Value> = seen.iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["client", "client", "after"]);
    assert!(seen.iter().all(|one| one["session"]["id"] == facts["session"]["id"]), "{seen:?}");
    assert_eq!(host.ended(GUEST, 0, "filter", "ok").await + host.ended(GUEST, 1, "filter", "ok").await, 3.0);
}

#[tokio::test]
async fn a_filter_before_replaces_the_message() {
    let host = filtered(json!({ "before": ["step"] }), json!({ "before": "replace" })).start().await;
    let mut socket = host.socket("echo").await;
    assert_eq!(socket.ask(json!("hello")).await, json!({ "by": "before", "was": "hello" }));
}

#[tokio::test]
async fn a_filter_before_answers_in_place_of_the_route() {
    let host = filtered(both(), json!({ "before": "reply" })).start().await;
    let mut socket = host.socket("echo").await;
    assert_eq!(socket.ask(json!("hello")).await, json!({ "by": "before", "was": "hello" }));
    assert_eq!(host.sessions_seen().await.len(), 1, "no other step runs");
}

#[tokio::test]
async fn a_filter_before_refuses() {
    let host = filtered(both(), json!({ "before": "4444" })).start().await;
    let mut socket = host.socket("echo").await;
    socket.send("hello").await;
    assert_eq!(socket.closed().await, 4444);
}

#[tokio::test]
async fn a_filter_after_replaces_or_refuses_the_reply() {
    for action in ["replace", "reply"] {
        let host = filtered(json!({ "after": ["step"] }), json!({ "after": action })).start().await;
        let mut socket = host.socket("echo").await;
        assert_eq!(socket.ask(json!("hello")).await, json!({ "by": "after", "was": "hello" }), "{action}");
    }
    let host = filtered(json!({ "after": ["step"] }), json!({ "after": "4445" })).start().await;
    let mut socket = host.socket("echo").await;
    socket.send("hello").await;
    assert_eq!(socket.closed().await, 4445, "the reply is withheld");
}

#[tokio::test]
async fn messages_with_filters_start_in_their_order() {
    let host = filtered(json!({ "before": ["step"] }), json!({})).start().await;
    let mut socket = host.socket("echo").await;
    for number in 0..50 {
        socket.send(&number.to_string()).await;
    }
    for _ in 0..50 {
        socket.text().await;
    }
    let seen = host.sessions_seen().await;
    let bodies: Vec<String> = seen.iter().map(|one| one["body"].as_str().unwrap().to_owned()).collect();
    assert_eq!(bodies, (0..50).map(|number: u32| number.to_string()).collect::<Vec<_>>());
}

/// A client of SocketCluster, of a host whose first filter asks the client before it passes.
async fn asked(filters: Value) -> (Started, WebSocket) {
    let listeners = json!([{ "path": "/sc/", "module": GUEST }]);
    let host = filtered(filters, json!({})).config(json!({ "websocket": { "listeners": listeners } }));
    let host = host.config(json!({ "swap": { "quiesce": "10ms" } })).start().await;
    let mut client = WebSocket::open(host.http, "/sc/").await;
    client.ask(json!({ "event": "#handshake", "data": {}, "cid": 1 })).await;
    (host, client)
}

/// Sends a message whose first filter waits, swaps the module, and lets the filter pass. Returns
/// the answer to the message.
async fn swap_between(host: &Started, client: &mut WebSocket, manifest: Value) -> Value {
    client.send(&json!({ "event": "facts", "data": "hello", "cid": 2 }).to_string()).await;
    let question = client.json().await;
    assert_eq!(question["event"], "ready");
    host.rewrite(GUEST, manifest);
    let swapped = host.reload(GUEST).await;
    assert_eq!(swapped["outcome"], "swapped", "{swapped}");
    client.send(&json!({ "rid": question["cid"], "data": "yes" }).to_string()).await;
    let answer = client.json().await;
    assert_eq!(answer["rid"], 2, "{answer}");
    answer
}

#[tokio::test]
async fn a_message_keeps_its_filters_when_a_swap_replaces_them() {
    let (host, mut client) = asked(json!({ "before": ["ready", "step"], "after": ["step"] })).await;
    let without = json!({ "filters": { "before": [], "after": [] }, "config": { "version": 2 } });
    let answer = swap_between(&host, &mut client, without).await;
    let facts = &answer["data"];
    assert_eq!((&facts["version"], &facts["body"]), (&json!(2), &json!("\"hello\"")), "{facts}");
    assert_eq!(facts["extra"], json!([["sessions.ready", "\"yes\""], ["sessions.step", "before"]]));
    let kinds: Vec<Value> = host.sessions_seen().await.iter().map(|one| one["kind"].clone()).collect();
    assert_eq!(kinds, ["client", "after"], "the new generation ran them");
    let next = client.ask(json!({ "event": "facts", "data": "next", "cid": 3 })).await;
    assert_eq!(next["data"]["extra"], json!([]), "the next message has those of the new generation: none");
}

#[tokio::test]
async fn a_message_fails_when_a_swap_removes_a_route_of_its_chain() {
    let module = std::fs::read_to_string(root().join("tests/guests/sessions/module.json")).unwrap();
    let module: Value = serde_json::from_str(&module).unwrap();
    for gone in ["step", "facts"] {
        let (host, mut client) = asked(json!({ "before": ["ready", "step"] })).await;
        let routes = module["routes"].as_array().unwrap().iter().filter(|route| route["path"] != gone);
        let (routes, sockets) = (routes.collect::<Vec<_>>(), json!({ "facts/{room}": { "path": "echo" } }));
        let manifest = json!({ "routes": routes, "sockets": sockets, "filters": { "before": ["ready"] } });
        let answer = swap_between(&host, &mut client, manifest).await;
        assert_eq!(answer["error"]["code"], "not-found", "{gone}: {answer}");
        assert_eq!(host.sessions_seen().await.len(), usize::from(gone == "facts"), "no step runs after the failure");
    }
    // A filter that became a route of clients is no filter any more.
    let (host, mut client) = asked(json!({ "before": ["ready", "step"] })).await;
    let mut routes = module["routes"].clone();
    for route in routes.as_array_mut().unwrap().iter_mut().filter(|route| route["path"] == "step") {
        route["middlewares"] = json!("session");
    }
    let answer =
        swap_between(&host, &mut client, json!({ "routes": routes, "filters": { "before": ["ready"] } })).await;
    assert_eq!(answer["error"]["code"], "forbidden", "{answer}");
}
