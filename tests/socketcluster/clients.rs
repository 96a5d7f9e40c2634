//! The released clients of both versions, side by side: `socketcluster-client` 14.3.2 and the
//! current release, which speaks both protocols.

use super::driver::{Client, clients};
use super::*;
use crate::harness::{Proxy, eventually};

async fn id(client: &mut Client) -> Value {
    client.data("use", json!({ "do": "current" })).await["id"].clone()
}

#[tokio::test]
async fn released_clients_connect_get_answers_errors_and_messages_and_stay_through_pings() {
    let host = with(json!({ "pingInterval": "200ms", "pingTimeout": "5s" })).start().await;
    let Some(mut clients) = clients(host.http).await else { return };
    for client in &mut clients {
        let name = client.name.clone();
        assert_eq!(client.data("echo", json!({ "a": [1, null] })).await, json!({ "a": [1, null] }), "{name}");
        assert_eq!(client.data("echo", Value::Null).await, Value::Null, "{name}");
        let own = json!({ "name": "MyError", "message": "nope", "data": { "code": "E_NOPE", "extra": { "a": [1] } } });
        let failed = client.call("fail", own).await;
        let expected = json!({ "message": "nope", "name": "MyError", "code": "E_NOPE", "extra": { "a": [1] } });
        assert_eq!(failed["error"], expected, "{name}");
        let silent = client.call("fail", json!({ "name": "x", "message": "y", "silent": "true" })).await;
        assert_eq!(silent["error"]["name"], "SilentMiddlewareBlockedError", "{name}");
        assert_eq!(client.call("nobody", Value::Null).await["error"]["code"], "not-found", "{name}");
        assert_eq!(client.data("burst", json!(2)).await, "done", "{name}");
        for number in [1, 2] {
            let event = client.wait("event").await;
            assert_eq!((&event["name"], &event["data"]), (&json!("burst"), &json!(number)), "{name}");
        }
    }
    let news = json!({ "do": "send", "to": "everyone", "name": "news", "payload": r#"{"b":2}"# });
    assert_eq!(host.ask_over_http(news).await, 3);
    let raw = json!({ "do": "send", "to": "everyone", "name": "raw", "payload": "hello raw" });
    assert_eq!(host.ask_over_http(raw).await, 3);
    for client in &mut clients {
        let event = client.wait("event").await;
        assert_eq!((&event["name"], &event["data"]), (&json!("news"), &json!({ "b": 2 })), "{}", client.name);
        assert_eq!(client.wait("raw").await["message"], "hello raw", "{}", client.name);
    }
    // A client that answered no pings would be closed before this one has got 30.
    let mut beside = open(&host, 1).await;
    for _ in 0..30 {
        while beside.text().await != "#1" {}
        beside.send("#2").await;
    }
    for client in &mut clients {
        assert_eq!(client.data("echo", json!("still here")).await, "still here");
        assert!(!client.has_skipped("close") && !client.has_skipped("error"), "{}", client.name);
    }
}

#[tokio::test]
async fn released_clients_answer_the_host() {
    let host = with(json!({})).start().await;
    let Some(mut clients) = clients(host.http).await else { return };
    for client in &mut clients {
        let id = id(client).await;
        let ask = |payload: Value| json!({ "do": "ask", "session": id, "name": "question", "payload": payload.to_string(), "timeout_ms": null });
        let good = host.ask_over_http(ask(json!({ "q": 1 }))).await;
        assert_eq!(good, json!({ "answer": r#"{"got":{"q":1}}"# }), "{}", client.name);
        let bad = host.ask_over_http(ask(json!({ "fail": "cannot" }))).await;
        assert_eq!(
            (&bad["error"], &bad["message"]),
            (&json!("failure"), &json!("ClientError: cannot")),
            "{}",
            client.name
        );
    }
}

#[tokio::test]
async fn released_clients_keep_their_token_and_return_with_it_after_a_cut() {
    let host = with(json!({})).start().await;
    let proxy = Proxy::to(host.http).await;
    let Some(mut clients) = clients(proxy.address).await else { return };
    let authenticate =
        json!({ "do": "authenticate", "session": null, "claims": r#"{"name":"bob"}"#, "expires_ms": null });
    for client in &mut clients {
        client.data("use", authenticate.clone()).await;
        assert_eq!(client.wait("authenticated").await["authToken"]["name"], "bob", "{}", client.name);
    }
    proxy.cut();
    for client in &mut clients {
        let back = client.wait("connect").await;
        assert_eq!((&back["isAuthenticated"], &back["authError"]), (&json!(true), &Value::Null), "{}", client.name);
        let facts = client.data("facts", Value::Null).await;
        assert_eq!(facts["session"]["claims"]["name"], "bob", "{}", client.name);
        client.data("use", json!({ "do": "deauthenticate", "session": null })).await;
        client.wait("unauthenticated").await;
        client.command(json!({ "do": "authenticate", "call": 1_000, "token": "abc" })).await;
        let refused = client.answer(1_000).await;
        let error = if refused["error"].is_null() { &refused["data"]["authError"] } else { &refused["error"] };
        assert_eq!(error["name"], "AuthTokenInvalidError", "{}: {refused}", client.name);
    }
}

#[tokio::test]
async fn released_clients_that_are_kicked_return_as_their_code_says() {
    let host = with(json!({})).start().await;
    let Some(mut clients) = clients(host.http).await else { return };
    for client in &mut clients {
        let session = id(client).await;
        let kick = |code: u32| json!({ "do": "disconnect", "session": session, "code": code, "reason": "the reason" });
        host.ask_over_http(kick(4321)).await;
        let closed = client.wait("close").await;
        assert_eq!((&closed["code"], &closed["reason"]), (&json!(4321), &json!("the reason")), "{}", client.name);
        client.wait("connect").await;
        let session = id(client).await;
        let kick = json!({ "do": "disconnect", "session": session, "code": 4555, "reason": "for good" });
        host.ask_over_http(kick).await;
        assert_eq!(client.wait("close").await["code"], 4555, "{}", client.name);
    }
    let count = json!({ "do": "count" });
    eventually("codes from 4500 on are for good", || async {
        host.ask_over_http(count.clone()).await == json!([0, 0])
    })
    .await;
    for client in &mut clients {
        client.command(json!({ "do": "connect" })).await;
        client.wait("connect").await;
        client.command(json!({ "do": "disconnect", "code": 4666, "reason": "bye" })).await;
        assert_eq!(client.wait("close").await["code"], 4666, "{}", client.name);
    }
    eventually("they have left", || async { host.ask_over_http(count.clone()).await == json!([0, 0]) }).await;
}
