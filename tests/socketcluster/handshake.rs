//! The beginning and the end of sessions.

use super::*;
use crate::harness::{Received, eventually};

#[tokio::test]
async fn a_handshake_opens_a_session_in_both_versions() {
    let host = with(json!({ "pingTimeout": "33s" })).start().await;
    for version in [1, 2] {
        let mut client = silent(&host, version).await;
        let greeted = greet(&mut client, Value::Null).await;
        let id = greeted["data"]["id"].as_str().unwrap().to_owned();
        assert_eq!(id.len(), 20, "{greeted}");
        assert_eq!(greeted, json!({ "rid": 1, "data": { "id": id, "pingTimeout": 33_000, "isAuthenticated": false } }));
        let facts = call(&mut client, "facts", json!({ "a": 1 })).await;
        let session = &facts["data"]["session"];
        assert!(session["id"].as_str().unwrap().ends_with(&format!("/{id}")), "{facts}");
        assert_eq!(session["protocol"], format!("socketcluster/{version}"));
        assert_eq!((&facts["data"]["name"], &facts["data"]["wantsReply"]), (&json!("facts"), &json!(true)));
        // A second handshake is ignored.
        client.send(r##"{"event":"#handshake","data":{},"cid":9}"##).await;
        assert_eq!(call(&mut client, "echo", json!(5)).await, json!({ "rid": 7, "data": 5 }));
    }
}

#[tokio::test]
async fn a_handshake_needs_neither_data_nor_a_number() {
    let host = with(json!({})).start().await;
    for version in [1, 2] {
        for handshake in [r##"{"event":"#handshake"}"##, r##"{"event":"#handshake","data":null}"##] {
            let mut client = silent(&host, version).await;
            client.send(handshake).await;
            assert_eq!(call(&mut client, "echo", json!(1)).await, json!({ "rid": 7, "data": 1 }));
        }
        let mut client = silent(&host, version).await;
        client.send_bytes(br##"[{"event":"#handshake","cid":1},{"event":"echo","data":"x","cid":2}]"##).await;
        assert_eq!(client.json().await["rid"], 1);
        assert_eq!(client.json().await, json!({ "rid": 2, "data": "x" }));
    }
}

#[tokio::test]
async fn anything_before_the_handshake_closes_with_4009() {
    let host = with(json!({})).start().await;
    for version in [1, 2] {
        for first in ["#2", "", "x", "null", "[]", "[{\"event\":", r#"{"event":"hi","cid":1}"#, r#"{"rid":1}"#] {
            let mut client = silent(&host, version).await;
            client.send(first).await;
            assert_eq!(client.closed().await, 4009, "{first:?}");
        }
    }
    let mut other = open(&host, 2).await;
    assert_eq!(call(&mut other, "echo", json!(1)).await["data"], 1, "other clients do not notice");
}

#[tokio::test]
async fn both_versions_have_their_pings_and_a_silent_client_is_closed_with_4001() {
    let host = with(json!({ "pingInterval": "40ms", "pingTimeout": "2s" })).start().await;
    for (version, ping, pong) in [(1, "#1", "#2"), (2, "", "")] {
        let mut client = open(&host, version).await;
        for _ in 0..3 {
            assert_eq!(client.text().await, ping);
            client.send(pong).await;
        }
        loop {
            match client.next().await {
                Received::Text(text) => assert_eq!(text, ping),
                end => {
                    assert_eq!(end, Received::Close(4001, String::new()));
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_client_disconnects_with_an_event_or_a_close_frame() {
    let hook = json!({ "path": "step" });
    let host = with(json!({})).manifest(GUEST, json!({ "hooks": { "disconnect": hook } })).start().await;
    for (event, code) in [
        (json!({ "code": 4555, "data": "bye" }), 4555),
        (json!({ "code": 99, "data": "bye" }), 1000),
        (json!(null), 1000),
    ] {
        let mut client = open(&host, 1).await;
        client.send(&json!({ "event": "#disconnect", "data": event }).to_string()).await;
        assert_eq!(client.closed().await, code);
    }
    let seen = async || {
        let mut seen = Vec::new();
        for worker in 0..2 {
            let of_worker = host.run(worker, GUEST, "seen", Value::Null).await;
            seen.extend(of_worker.as_array().unwrap().iter().map(|one| one["body"].as_str().unwrap().to_owned()));
        }
        seen
    };
    eventually("the hook has run", || async { seen().await.len() == 3 }).await;
    assert!(seen().await.contains(&r#"{"code":4555,"reason":"bye"}"#.to_owned()));
}

#[tokio::test]
async fn a_module_disconnects_a_client_after_what_it_has_sent() {
    let host = with(json!({})).start().await;
    for version in [1, 2] {
        let mut client = open(&host, version).await;
        let id = sessions(&mut client, json!({ "do": "current" })).await["id"].clone();
        let to = json!({ "session": id });
        host.ask_over_http(json!({ "do": "send", "to": to, "name": "last", "payload": "1" })).await;
        host.ask_over_http(json!({ "do": "disconnect", "session": id, "code": 4321, "reason": "the reason" })).await;
        assert_eq!(client.json().await, json!({ "event": "last", "data": 1 }));
        assert_eq!(client.next().await, Received::Close(4321, "the reason".to_owned()));
    }
}

#[tokio::test]
async fn the_hook_connect_refuses_with_4008_or_its_own_code() {
    let hook = json!({ "path": "step" });
    for (config, code) in [("4321", 4321), ("no code", 4008)] {
        let manifest = json!({ "hooks": { "connect": hook, "disconnect": hook }, "config": { "connect": config } });
        let host = with(json!({})).manifest(GUEST, manifest).start().await;
        for version in [1, 2] {
            let mut client = silent(&host, version).await;
            let refused = greet(&mut client, Value::Null).await;
            assert_eq!((&refused["rid"], &refused["error"]["name"]), (&json!(1), &json!("refused")), "{refused}");
            let told = if version == 1 { &refused["data"]["code"] } else { &refused["error"]["statusCode"] };
            assert_eq!(told, code, "{refused}");
            assert_eq!(client.next().await, Received::Close(code, String::new()));
        }
        let count = json!({ "do": "count" });
        eventually("no session is left", || async { host.ask_over_http(count.clone()).await == json!([0, 0]) }).await;
        let refused = host.metric("fanfare_websocket_refused_total", &["reason=\"hook\""]).await;
        assert_eq!(refused, 2.0);
    }
}

#[tokio::test]
async fn a_handshake_waits_for_the_hook_connect_no_longer_than_limits_timeout() {
    // A call beyond its deadline holds the only place for a minute.
    let limits = json!({ "timeout": "500ms", "abandonAfter": "1m", "concurrency": 1 });
    let held = r#""routes": [ { "path": "held", "handler": "hold" },"#;
    let host = with(json!({}))
        .manifest_text(GUEST, |text| text.replacen(r#""routes": ["#, held, 1))
        .manifest(GUEST, json!({ "hooks": { "connect": { "path": "step" } }, "limits": limits }))
        .workers(1)
        .start()
        .await;
    assert_eq!(host.post(&format!("/api/{GUEST}/held"), "").await.status, 504);
    for version in [1, 2] {
        let mut client = silent(&host, version).await;
        let late = greet(&mut client, Value::Null).await;
        assert_eq!((&late["rid"], &late["error"]["code"]), (&json!(1), &json!("timeout")), "{late}");
        assert_eq!(client.next().await, Received::Close(4008, String::new()));
    }
}

#[tokio::test]
async fn a_silent_refusal_of_a_handshake_or_a_token_tells_nothing() {
    let route = r#""routes": [ { "path": "refuse", "handler": "fail", "middlewares": "inner" },"#;
    let refusing = |hook: &str| {
        with(json!({}))
            .manifest_text(GUEST, |text| text.replacen(r#""routes": ["#, route, 1))
            .manifest(GUEST, json!({ "hooks": { hook: { "path": "refuse" } } }))
    };
    let secret = json!({ "name": "Banned", "message": "a secret", "silent": "true", "data": { "code": 7 } });
    let error =
        |message: &str, kind: &str| json!({ "message": message, "name": "SilentMiddlewareBlockedError", "type": kind });
    let host = refusing("connect").start().await;
    for (version, mut expected) in [
        (1, error("Action was silently blocked by handshakeSC middleware", "handshakeSC")),
        (2, error("The handshakeSC AGAction was blocked by handshake middleware", "handshake")),
    ] {
        if version == 2 {
            expected["statusCode"] = json!(4008);
        }
        let mut client = silent(&host, version).await;
        let refused = client.ask(json!({ "event": "#handshake", "data": secret, "cid": 1 })).await;
        assert_eq!(refused["error"], expected);
        assert_eq!(client.closed().await, 4008);
    }
    let host = refusing("authenticate").start().await;
    for (version, mut expected) in [
        (1, error("Action was silently blocked by authenticate middleware", "authenticate")),
        (2, error("The authenticate AGAction was blocked by inbound middleware", "inbound")),
    ] {
        if version == 2 {
            expected["isBadToken"] = json!(false);
        }
        let mut client = open(&host, version).await;
        let token = super::tokens::token(&mut client, secret.clone()).await;
        let refused = client.ask(json!({ "event": "#authenticate", "data": token, "cid": 4 })).await;
        assert_eq!(refused, json!({ "rid": 4, "data": { "isAuthenticated": false, "authError": expected } }));
    }
}

#[tokio::test]
async fn the_hooks_upgrade_and_connect_see_the_request_and_the_handshake() {
    let hook = json!({ "path": "step" });
    let host = with(json!({})).manifest(GUEST, json!({ "hooks": { "upgrade": hook, "connect": hook } })).start().await;
    let path = format!("{}?from=test", PATHS[1]);
    let mut client = WebSocket::open_with(host.http, &path, &[("x-test", "here")]).await;
    greet(&mut client, Value::Null).await;
    let mut seen = Vec::new();
    for worker in 0..2 {
        seen.extend(host.run(worker, GUEST, "seen", Value::Null).await.as_array().unwrap().clone());
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    for (one, name, body) in [(&seen[0], "upgrade", json!("")), (&seen[1], "connect", json!(r#"{"authToken":null}"#))] {
        assert_eq!((&one["hook"], &one["header"], &one["query"]), (&json!(name), &json!("here"), &json!("from=test")));
        assert_eq!(one["body"], body);
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_its_hook_connect_runs_is_reported_to_the_module() {
    let wait = r#""routes": [ { "path": "wait", "handler": "hold", "middlewares": "inner" },"#;
    let host = with(json!({}))
        .manifest_text(GUEST, |text| text.replacen(r#""routes": ["#, wait, 1))
        .manifest(GUEST, json!({ "hooks": { "connect": { "path": "wait" }, "disconnect": { "path": "step" } } }))
        .workers(1)
        .start()
        .await;
    let mut client = silent(&host, 2).await;
    client.send(r##"{"event":"#handshake","cid":1}"##).await;
    eventually("the hook runs", || async { host.run(0, GUEST, "holding", Value::Null).await == 1 }).await;
    drop(client);
    let count = json!({ "do": "count" });
    eventually("the session has ended", || async { host.ask_over_http(count.clone()).await == json!([0, 0]) }).await;
    assert_eq!(host.run(0, GUEST, "release", Value::Null).await, 1);
    eventually("the module is told", || async {
        let seen = host.run(0, GUEST, "seen", Value::Null).await;
        seen[0]["hook"] == "disconnect" && seen[0]["session"]["id"].is_string()
    })
    .await;
}

#[tokio::test]
async fn an_unknown_path_and_a_foreign_origin_are_refused() {
    let host = with(json!({ "origins": ["https://app.example.test"] })).start().await;
    let origin = async |origin: &str| {
        let opened = WebSocket::try_open(host.http, PATHS[1], &[("origin", origin)]).await;
        opened.map_or_else(|answer| answer.status, |_| 101)
    };
    assert_eq!(origin("https://app.example.test").await, 101);
    assert_eq!(origin("http://evil.example").await, 403);
    for path in ["/socketcluster", "/v1", "/socketcluster/x"] {
        let refused = WebSocket::try_open(host.http, path, &[]).await.unwrap_err();
        assert_eq!(refused.status, 404, "{path}");
    }
    assert_eq!(host.get(PATHS[1]).await.status, 426);
}
