//! Events of clients, and events to clients.

use super::*;
use crate::harness::eventually;

#[tokio::test]
async fn an_event_with_a_number_is_answered_and_one_without_is_not() {
    let host = with(json!({})).start().await;
    for version in [1, 2] {
        let mut client = open(&host, version).await;
        client.send(r#"{"event":"echo","data":1}"#).await;
        client.send(r#"{"event":"fail","data":{"message":"no"}}"#).await;
        client.send(r#"{"event":"echo","cid":"seven"}"#).await;
        assert_eq!(client.text().await, r#"{"rid":"seven"}"#);
        client.send(r#"{"event":"echo","data":null,"cid":8}"#).await;
        assert_eq!(client.text().await, r#"{"rid":8,"data":null}"#);
        let bytes = json!({ "base64": true, "data": "aGVsbG8=" });
        assert_eq!(call(&mut client, "echo", bytes.clone()).await["data"], bytes);
        assert_eq!(call(&mut client, "sessions.echo", json!(1)).await["data"], 1);
        assert_eq!(call(&mut client, "sessions/echo", json!(2)).await["data"], 2);
    }
}

#[tokio::test]
async fn an_error_has_the_fields_of_the_failure() {
    let host = with(json!({})).start().await;
    for version in [1, 2] {
        let mut client = open(&host, version).await;
        let mut error = async |name: &str, data: Value| call(&mut client, name, data).await["error"].clone();
        let own = json!({ "name": "MyError", "message": "nope", "data": { "code": "E_NOPE", "extra": { "a": [1] } } });
        let expected = json!({ "message": "nope", "name": "MyError", "code": "E_NOPE", "extra": { "a": [1] } });
        assert_eq!(error("fail", own).await, expected);
        let silent = error("fail", json!({ "name": "x", "message": "y", "silent": "true" })).await;
        assert_eq!(silent["name"], "SilentMiddlewareBlockedError");
        assert_eq!(silent["type"], if version == 1 { "emit" } else { "inbound" });
        for (name, kind, code) in [
            ("nobody", "NotFoundError", "not-found"),
            ("#nobody", "NotFoundError", "not-found"),
            ("", "NotFoundError", "not-found"),
            ("chat message", "NotFoundError", "not-found"),
            ("sessions/outside/echo", "ForbiddenError", "forbidden"),
            ("trap", "CrashedError", "crashed"),
        ] {
            let error = error(name, Value::Null).await;
            assert_eq!((&error["name"], &error["code"]), (&json!(kind), &json!(code)), "{name}: {error}");
        }
        assert_eq!(call(&mut client, "echo", json!(1)).await["data"], 1);
    }
}

#[tokio::test]
async fn a_failure_with_a_close_code_closes_after_its_answer() {
    let host = with(json!({})).start().await;
    let mut client = open(&host, 2).await;
    let refused = call(&mut client, "fail", json!({ "name": "Out", "message": "go", "close-code": "4321" })).await;
    assert_eq!(refused["error"], json!({ "message": "go", "name": "Out" }));
    assert_eq!(client.closed().await, 4321);
}

#[tokio::test]
async fn a_batch_is_answered_one_by_one_and_other_elements_are_raw() {
    let host = with(json!({})).start().await;
    for version in [1, 2] {
        let mut client = open(&host, version).await;
        let batch = r#"[{"event":"append","data":1,"cid":2},{"event":"append","data":2,"cid":3},"x",{"event":"append","data":3,"cid":4},[1]]"#;
        client.send(batch).await;
        for (cid, length) in [(2, 1), (3, 2), (4, 3)] {
            assert_eq!(client.json().await, json!({ "rid": cid, "data": length }));
        }
        client.send("[]").await;
        assert_eq!(call(&mut client, "append", Value::Null).await["data"], json!([1, 2, 3]));
    }
}

#[tokio::test]
async fn a_raw_message_is_the_event_raw_of_the_module() {
    let routes = |routes: String| {
        routes.replacen(
            r#""routes": ["#,
            r#""routes": [ { "path": "raw", "handler": "append", "middlewares": "session" },"#,
            1,
        )
    };
    let host = with(json!({})).manifest_text(GUEST, routes).start().await;
    for version in [1, 2] {
        let mut client = open(&host, version).await;
        // As texts, because the guest reads JSON.
        for raw in ["5", r#""text""#, "{}", r#"{"a":1}"#, "#1"] {
            client.send(raw).await;
        }
        let expected = json!([5, "text", {}, { "a": 1 }]);
        assert_eq!(call(&mut client, "append", Value::Null).await["data"], expected);
    }
    let plain = with(json!({})).start().await;
    let mut client = open(&plain, 1).await;
    client.send("nobody hears this").await;
    assert_eq!(call(&mut client, "echo", json!(1)).await["data"], 1);
}

#[tokio::test]
async fn messages_to_clients_arrive_before_the_answer() {
    let host = with(json!({})).start().await;
    for version in [1, 2] {
        let mut client = open(&host, version).await;
        client.send(r#"{"event":"burst","data":3,"cid":2}"#).await;
        for number in 1..=3 {
            assert_eq!(client.json().await, json!({ "event": "burst", "data": number }));
        }
        assert_eq!(client.json().await, json!({ "rid": 2, "data": "done" }));
    }
}

#[tokio::test]
async fn one_message_reaches_clients_of_every_protocol_in_its_form() {
    let host = with(json!({})).start().await;
    let (mut one, mut two) = (open(&host, 1).await, open(&host, 2).await);
    let mut plain = WebSocket::open(host.http, &format!("/api/{GUEST}/echo")).await;
    let send = |name: &str, payload: Value| json!({ "do": "send", "to": "everyone", "name": name, "payload": payload });
    for (payload, data) in [
        (json!("plain text"), json!("plain text")),
        (json!(r#"{"a":1}"#), json!({ "a": 1 })),
        (json!([104, 105]), json!({ "base64": true, "data": "aGk=" })),
    ] {
        assert_eq!(host.ask_over_http(send("news", payload.clone())).await, 3);
        let expected = json!({ "event": "news", "data": data });
        assert_eq!((one.json().await, two.json().await), (expected.clone(), expected));
        match payload {
            Value::String(text) => assert_eq!(plain.text().await, text),
            _ => assert_eq!(plain.next().await, crate::harness::Received::Bytes(b"hi".to_vec())),
        }
    }
    host.ask_over_http(send("empty", Value::Null)).await;
    assert_eq!(one.json().await, json!({ "event": "empty" }));
    host.ask_over_http(send("raw", json!("hello raw"))).await;
    assert_eq!((one.text().await, two.json().await), ("hello raw".to_owned(), json!({ "event": "empty" })));
    assert_eq!(two.text().await, "hello raw");
}

#[tokio::test]
async fn answers_come_as_soon_as_they_exist() {
    let host = with(json!({})).start().await;
    let mut client = open(&host, 2).await;
    client.send(r#"{"event":"hold","data":"late","cid":2}"#).await;
    assert_eq!(call(&mut client, "echo", json!("early")).await, json!({ "rid": 7, "data": "early" }));
    eventually("the message is released", || async {
        host.run(0, GUEST, "release", Value::Null).await == 1 || host.run(1, GUEST, "release", Value::Null).await == 1
    })
    .await;
    assert_eq!(client.json().await, json!({ "rid": 2, "data": "late" }));
}

#[tokio::test]
async fn a_query_in_the_name_of_an_event_replaces_that_of_the_url() {
    let host = with(json!({})).start().await;
    let mut client = WebSocket::open(host.http, &format!("{}?from=url", PATHS[1])).await;
    greet(&mut client, Value::Null).await;
    assert_eq!(call(&mut client, "facts", Value::Null).await["data"]["query"], "from=url");
    assert_eq!(call(&mut client, "facts?from=name", Value::Null).await["data"]["query"], "from=name");
    assert_eq!(call(&mut client, "sessions.facts?a.b=c", Value::Null).await["data"]["query"], "a.b=c");
}
