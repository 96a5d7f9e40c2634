//! The functions of `sessions-blocking`, which block the instance that calls them.

use super::*;

/// A host whose listener `/sc/` speaks SocketCluster.
fn listening() -> TestHost {
    granted().config(json!({ "websocket": { "listeners": [{ "path": "/sc/", "module": GUEST }] } }))
}

#[tokio::test]
async fn each_blocking_function_does_what_its_twin_does() {
    let host = granted().start().await;
    let (mut client, id) = host.client().await;
    let mut blocking = host.socket("blocking").await;
    client.ask(json!({ "do": "bind", "session": null, "uid": "ada", "taken": "share" })).await;
    let write = json!({ "do": "write", "session": id, "set": [["a", "1"], ["b", "2"]], "remove": [] });
    assert_eq!(blocking.ask(write).await, Value::Null);
    let write = json!({ "do": "write", "session": id, "set": [], "remove": ["b"] });
    assert_eq!(blocking.ask(write).await, Value::Null);
    let read = blocking.ask(json!({ "do": "read", "session": id })).await;
    assert_eq!((&read["session"]["uid"], &read["values"]), (&json!("ada"), &json!([["a", "1"]])));
    let found = blocking.ask(json!({ "do": "findAll", "uid": "ada" })).await;
    assert_eq!((found.as_array().unwrap().len(), &found[0]["id"]), (1, &json!(id)));
    assert_eq!(blocking.ask(json!({ "do": "apply" })).await, Value::Null);
    let to = json!([{ "uid": "ada" }, { "uid": "nobody" }]);
    let pushed = blocking.ask(json!({ "do": "push", "to": to, "name": "note", "payload": "x" })).await;
    assert_eq!((&pushed["reached"], &pushed["unknown"]), (&json!(1), &json!([r#"Recipient::Uid("nobody")"#])));
    assert_eq!(client.text().await, "x");
    let ask = json!({ "do": "ask", "session": id, "name": "q", "payload": null, "timeout_ms": null });
    assert_eq!(error(&blocking.ask(ask).await), "invalid", "a plain WebSocket has no answers");
}

#[tokio::test]
async fn without_the_grant_blocking_functions_use_only_the_session_of_the_call() {
    let host = ungranted().start().await;
    let (_client, id) = host.client().await;
    let mut blocking = host.socket("blocking").await;
    for what in [
        json!({ "do": "read", "session": id }),
        json!({ "do": "write", "session": id, "set": [], "remove": [] }),
        json!({ "do": "findAll", "uid": "ada" }),
        json!({ "do": "push", "to": ["everyone"], "name": "a", "payload": null }),
        json!({ "do": "ask", "session": id, "name": "a", "payload": null, "timeout_ms": null }),
    ] {
        assert_eq!(error(&blocking.ask(what.clone()).await), "forbidden", "{what}");
    }
}

#[tokio::test]
async fn a_blocked_instance_gets_the_answer_of_its_client() {
    let host = listening().start().await;
    let mut client = WebSocket::open(host.http, "/sc/").await;
    client.ask(json!({ "event": "#handshake", "data": {}, "cid": 1 })).await;
    let facts = client.ask(json!({ "event": "use", "data": { "do": "current" }, "cid": 2 })).await;
    let ask = |timeout: Value| json!({ "do": "ask", "session": facts["data"]["id"], "name": "q", "payload": "\"?\"", "timeout_ms": timeout });
    client.send(&json!({ "event": "blocking", "data": ask(Value::Null), "cid": 3 }).to_string()).await;
    let question = client.json().await;
    assert_eq!((&question["event"], &question["data"]), (&json!("q"), &json!("?")));
    // The next message waits for the instance, and does not keep the answer from it.
    client.send(&json!({ "event": "echo", "data": 1, "cid": 4 }).to_string()).await;
    client.send(&json!({ "rid": question["cid"], "data": "yes" }).to_string()).await;
    // Both end in the same turn, so their replies may come in any order.
    let mut replies = [client.json().await, client.json().await];
    replies.sort_by_key(|reply| reply["rid"].as_u64());
    let answer = json!({ "rid": 3, "data": { "answer": "\"yes\"" } });
    assert_eq!(replies, [answer, json!({ "rid": 4, "data": 1 })]);
    // Without an answer the instance continues after the timeout.
    client.send(&json!({ "event": "blocking", "data": ask(json!(1)), "cid": 5 }).to_string()).await;
    assert_eq!(client.json().await["event"], "q");
    let late = client.json().await;
    assert_eq!(late["data"]["error"], "timeout", "{late}");
}
