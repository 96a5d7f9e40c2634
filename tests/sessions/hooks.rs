//! The hooks about clients.

use super::*;
use crate::harness::eventually;

fn hooked(config: Value) -> TestHost {
    let hook = json!({ "path": "step" });
    let hooks = json!({ "upgrade": hook, "connect": hook, "disconnect": hook });
    granted().manifest(GUEST, json!({ "hooks": hooks, "config": config }))
}

fn hook<'a>(seen: &'a [Value], name: &str) -> Vec<&'a Value> {
    seen.iter().filter(|one| one["hook"] == name).collect()
}

#[tokio::test]
async fn each_hook_runs_once_in_the_worker_of_the_socket() {
    let host = hooked(json!({})).start().await;
    let path = format!("/api/{GUEST}/use?from=test");
    let mut socket = WebSocket::open_with(host.http, &path, &[("x-test", "here")]).await;
    let current = socket.ask(json!({ "do": "current" })).await;
    socket.close(1000, "done").await;
    eventually("the hook runs", || async { !hook(&host.sessions_seen().await, "disconnect").is_empty() }).await;
    let seen = host.sessions_seen().await;
    let worker = format!("worker-{}", current["worker"]);
    assert!(seen.iter().all(|one| one["isolate"] == worker), "{seen:?}");
    let upgrade = hook(&seen, "upgrade");
    assert_eq!(
        (upgrade.len(), &upgrade[0]["origin"], &upgrade[0]["session"]),
        (1, &json!("Origin::Client"), &Value::Null)
    );
    assert_eq!((&upgrade[0]["header"], &upgrade[0]["query"]), (&json!("here"), &json!("from=test")));
    let connect = hook(&seen, "connect");
    assert_eq!((connect.len(), &connect[0]["session"]["id"]), (1, &current["id"]));
    let disconnect = hook(&seen, "disconnect");
    assert_eq!((disconnect.len(), &disconnect[0]["session"]["id"]), (1, &current["id"]));
    let body: Value = serde_json::from_str(disconnect[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, json!({ "code": 1000, "reason": "done" }));
}

#[tokio::test]
async fn the_hooks_have_the_parameters_and_the_query_of_the_sockets_url() {
    let host = hooked(json!({})).start().await;
    let mut socket = WebSocket::open(host.http, &format!("/api/{GUEST}/facts/7%2F8?from=test")).await;
    socket.close(1000, "done").await;
    eventually("the hook runs", || async { !hook(&host.sessions_seen().await, "disconnect").is_empty() }).await;
    let seen = host.sessions_seen().await;
    let names: Vec<_> = seen.iter().map(|one| one["hook"].as_str().unwrap()).collect();
    assert_eq!(names, ["upgrade", "connect", "disconnect"]);
    for one in &seen {
        assert_eq!((&one["params"], &one["query"]), (&json!([["room", "7/8"]]), &json!("from=test")), "{one}");
    }
}

#[tokio::test]
async fn the_hook_upgrade_refuses_with_its_status() {
    let host = hooked(json!({ "upgrade": "4000" })).start().await;
    let refused = WebSocket::try_open(host.http, &format!("/api/{GUEST}/use"), &[]).await.unwrap_err();
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("refuses"), "{}", refused.text());
    assert_eq!(host.outside(json!({ "do": "count" })).await, json!([0, 0]));
    assert!(hook(&host.sessions_seen().await, "disconnect").is_empty(), "there was no session");
}

#[tokio::test]
async fn a_request_with_a_body_calls_no_hook() {
    let host = hooked(json!({})).start().await;
    let fields = [("content-length", "1")];
    let refused = WebSocket::try_open(host.http, &format!("/api/{GUEST}/use"), &fields).await.unwrap_err();
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(host.sessions_seen().await.is_empty());
}

#[tokio::test]
async fn the_hook_connect_refuses_with_its_code() {
    let host = hooked(json!({ "connect": "4321" })).start().await;
    match WebSocket::try_open(host.http, &format!("/api/{GUEST}/use"), &[]).await {
        // A plain WebSocket may be refused before its response.
        Err(refused) => assert_eq!(refused.status, 403, "{}", refused.text()),
        Ok(mut socket) => assert_eq!(socket.closed().await, 4321),
    }
    eventually("no session is left", || async { host.outside(json!({ "do": "count" })).await == json!([0, 0]) }).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_its_hook_connect_runs_is_reported_if_the_hook_lets_it_in() {
    for lets_in in [true, false] {
        let routes = |text: String| {
            text.replacen(
                r#""routes": ["#,
                r#""routes": [
            { "path": "held", "handler": "hold", "middlewares": "inner" },"#,
                1,
            )
        };
        let hooks = json!({ "connect": { "path": "held" }, "disconnect": { "path": "step" } });
        let host = granted()
            .manifest_text(GUEST, routes)
            .manifest(GUEST, json!({ "hooks": hooks }))
            .config(json!({ "websocket": { "queue": { "events": 2 } } }))
            .workers(1)
            .start()
            .await;
        let (address, path) = (host.http, format!("/api/{GUEST}/use"));
        let opening = tokio::spawn(async move { WebSocket::try_open(address, &path, &[]).await });
        eventually("the hook runs", || async { host.run(0, GUEST, "holding", Value::Null).await == 1 }).await;
        // Meanwhile more messages arrive than may wait for the client.
        let everyone = json!({ "do": "send", "to": "everyone", "name": "n", "payload": "x" });
        eventually("the client is cut", || async {
            host.outside(everyone.clone()).await;
            host.outside(json!({ "do": "count" })).await == json!([0, 0])
        })
        .await;
        match lets_in {
            true => _ = host.run(0, GUEST, "release", Value::Null).await,
            false => _ = host.kill(0, false).await,
        }
        let opened = opening.await.unwrap();
        assert_eq!(opened.is_ok(), lets_in);
        if let Ok(mut socket) = opened {
            socket.ended().await;
        }
        let reported = async || {
            let seen = host.run(0, GUEST, "seen", Value::Null).await;
            hook(seen.as_array().unwrap(), "disconnect").len()
        };
        eventually("the hook disconnect runs", || async { !lets_in || reported().await > 0 }).await;
        assert_eq!(reported().await, usize::from(lets_in));
    }
}

#[tokio::test]
async fn a_session_ends_once_whatever_the_cause() {
    let host = hooked(json!({})).start().await;
    let (mut client, id) = host.client().await;
    client.ask(json!({ "do": "bind", "session": null, "uid": "ada", "taken": "share" })).await;
    client.ask(json!({ "do": "set", "session": null, "values": [["a", "1"]] })).await;
    let end = json!({ "do": "disconnect", "session": id, "code": 4000, "reason": "kicked" });
    assert_eq!(host.outside(end.clone()).await, Value::Null);
    drop(client);
    eventually("the session has ended", || async { host.outside(json!({ "do": "count" })).await == json!([0, 0]) })
        .await;
    eventually("the hook runs", || async { !hook(&host.sessions_seen().await, "disconnect").is_empty() }).await;
    let seen = host.sessions_seen().await;
    let disconnects = hook(&seen, "disconnect");
    let session = &disconnects[0]["session"];
    assert_eq!((disconnects.len(), &session["uid"], &session["values"]), (1, &json!("ada"), &json!({ "a": 1 })));
    assert_eq!(host.outside(json!({ "do": "find", "uid": "ada" })).await, json!([]));
    eventually("the session is gone", || async { host.outside(end.clone()).await["error"] == "not-found" }).await;
}

#[tokio::test]
async fn a_session_that_was_replaced_has_no_user_in_the_hook_disconnect() {
    let host = hooked(json!({})).start().await;
    let ((mut first, first_id), (mut second, _)) = (host.client().await, host.client().await);
    let bind = json!({ "do": "bind", "session": null, "uid": "ada", "taken": "replace" });
    assert_eq!(first.ask(bind.clone()).await, Value::Null);
    assert_eq!(second.ask(bind).await, Value::Null);
    assert_eq!(first.closed().await, 4010);
    eventually("the hook runs", || async { !hook(&host.sessions_seen().await, "disconnect").is_empty() }).await;
    let seen = host.sessions_seen().await;
    let disconnect = hook(&seen, "disconnect")[0];
    let session = &disconnect["session"];
    assert_eq!((&session["id"], &session["uid"]), (&json!(first_id), &Value::Null), "the user is connected");
    assert!(disconnect["body"].as_str().unwrap().contains("4010"), "{disconnect}");
    assert_eq!(second.ask(json!({ "do": "count" })).await, json!([1, 1]));
}

#[tokio::test]
async fn a_hook_that_sets_no_status_refuses_with_401_and_403() {
    for (hook, status) in [("upgrade", 401), ("connect", 403)] {
        let host = hooked(json!({ hook: "no status" })).start().await;
        let refused = WebSocket::try_open(host.http, &format!("/api/{GUEST}/use"), &[]).await.unwrap_err();
        assert_eq!(refused.status, status, "{hook}: {}", refused.text());
        let count = || async { host.outside(json!({ "do": "count" })).await == json!([0, 0]) };
        eventually("no session is left", count).await;
    }
}

#[tokio::test]
async fn a_client_waits_for_its_hooks_no_longer_than_limits_timeout_even_if_they_have_no_turn() {
    let held = r#""routes": [ { "path": "held", "handler": "hold" },"#;
    let routes = |text: String| text.replacen(r#""routes": ["#, held, 1);
    for name in ["upgrade", "connect"] {
        // A call beyond its deadline holds the only place for a minute.
        let limits = json!({ "timeout": "500ms", "abandonAfter": "1m", "concurrency": 1 });
        let host = granted()
            .manifest_text(GUEST, routes)
            .manifest(GUEST, json!({ "hooks": { name: { "path": "step" } }, "limits": limits }))
            .workers(1)
            .start()
            .await;
        assert_eq!(host.post(&format!("/api/{GUEST}/held"), "").await.status, 504);
        let late = WebSocket::try_open(host.http, &format!("/api/{GUEST}/use"), &[]).await.unwrap_err();
        assert_eq!(late.status, 504, "{name}: {}", late.text());
        assert_eq!(host.metric("fanfare_websocket_refused_total", &["reason=\"hook\""]).await, 1.0);
    }
}
