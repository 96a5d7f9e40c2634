//! The session of the call, other sessions, and the grant.

use super::*;

#[tokio::test]
async fn the_session_of_a_call_has_its_facts() {
    let host = granted().start().await;
    let mut socket = host.socket("facts/7?a=b").await;
    socket.send("hello").await;
    let facts = socket.json().await;
    let session = &facts["session"];
    let id = session["id"].as_str().unwrap();
    let (node, own) = id.split_once('/').unwrap();
    assert_eq!((own.len(), node.is_empty()), (20, false), "{id}");
    assert!(own.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{id}");
    assert_eq!(
        (&facts["kind"], &facts["name"], &facts["body"]),
        (&json!("client"), &json!("facts/{room}"), &json!("hello"))
    );
    assert_eq!(facts["origin"], format!("Origin::Session({id:?})"));
    assert_eq!((&facts["params"], &facts["query"]), (&json!([["room", "7"]]), &json!("a=b")));
    assert_eq!((&facts["messageSession"], &session["ip"]), (&json!(id), &json!("127.0.0.1")));
    assert_eq!(facts["isolate"], format!("worker-{}", session["worker"]));
    assert_eq!((&session["uid"], &session["claims"], &session["values"]), (&Value::Null, &Value::Null, &json!({})));
    assert!(session["sinceMs"].as_u64().unwrap() > 1_700_000_000_000, "{session}");
}

#[tokio::test]
async fn a_call_without_a_session_has_none() {
    let host = granted().start().await;
    assert_eq!(host.outside(json!({ "do": "current" })).await, Value::Null);
    for what in [
        json!({ "do": "get", "session": null, "key": "a" }),
        json!({ "do": "values", "session": null }),
        json!({ "do": "unbind", "session": null }),
        json!({ "do": "apply" }),
    ] {
        assert_eq!(error(&host.outside(what.clone()).await), "invalid", "{what}");
    }
}

#[tokio::test]
async fn without_the_grant_a_module_uses_only_the_session_of_its_call() {
    let host = ungranted().start().await;
    let ((mut own, own_id), (_other, other_id)) = (host.client().await, host.client().await);
    let about = |session: &str| {
        vec![
            json!({ "do": "look", "session": session }),
            json!({ "do": "get", "session": session, "key": "a" }),
            json!({ "do": "values", "session": session }),
            json!({ "do": "set", "session": session, "values": [["a", "1"]] }),
            json!({ "do": "remove", "session": session, "keys": ["a"] }),
            json!({ "do": "bind", "session": session, "uid": "ada", "taken": "refuse" }),
            json!({ "do": "unbind", "session": session }),
            json!({ "do": "join", "group": "g", "sessions": [session] }),
            json!({ "do": "leave", "group": "g", "sessions": [session] }),
            json!({ "do": "read", "session": session }),
            json!({ "do": "write", "session": session, "set": [], "remove": [] }),
        ]
    };
    for what in about(&own_id) {
        let done = own.ask(what.clone()).await;
        assert!(done.get("error").is_none(), "{what}: {done}");
    }
    for what in about(&other_id) {
        assert_eq!(error(&own.ask(what.clone()).await), "forbidden", "{what}");
    }
    for what in [
        json!({ "do": "bind", "session": null, "uid": "ada", "taken": "replace" }),
        json!({ "do": "find", "uid": "ada" }),
        json!({ "do": "findAll", "uid": "ada" }),
        json!({ "do": "members", "group": "g" }),
        json!({ "do": "send", "to": { "session": other_id }, "name": "a", "payload": null }),
        json!({ "do": "send", "to": { "uid": "ada" }, "name": "a", "payload": null }),
        json!({ "do": "send", "to": { "group": "g" }, "name": "a", "payload": null }),
        json!({ "do": "send", "to": "bound", "name": "a", "payload": null }),
        json!({ "do": "send", "to": "everyone", "name": "a", "payload": null }),
        json!({ "do": "push", "to": ["everyone"], "name": "a", "payload": null }),
        json!({ "do": "ask", "session": other_id, "name": "a", "payload": null, "timeout_ms": null }),
        json!({ "do": "disconnect", "session": other_id, "code": 1000, "reason": "" }),
    ] {
        let denied = own.ask(what.clone()).await;
        assert_eq!(error(&denied), "forbidden", "{what}");
        let message = denied["message"].as_str().unwrap();
        assert!(message.contains("add `\"sessions\": true` to capabilities"), "{message}");
    }
    assert_eq!(own.ask(json!({ "do": "count" })).await, json!([2, 0]));
}

#[tokio::test]
async fn with_the_grant_a_module_uses_every_session() {
    let host = granted().start().await;
    let (mut client, id) = host.client().await;
    let found = host.outside(json!({ "do": "look", "session": id })).await;
    assert_eq!(found["id"], id);
    assert_eq!(host.outside(json!({ "do": "set", "session": id, "values": [["a", "[1]"]] })).await, Value::Null);
    assert_eq!(client.ask(json!({ "do": "get", "session": null, "key": "a" })).await, "[1]");
    let read = host.outside(json!({ "do": "read", "session": id })).await;
    assert_eq!((&read["session"]["id"], &read["values"]), (&json!(id), &json!([["a", "[1]"]])));
    assert_eq!(host.outside(json!({ "do": "look", "session": "n/nobody" })).await, Value::Null);
    for what in [
        json!({ "do": "get", "session": "n/nobody", "key": "a" }),
        json!({ "do": "bind", "session": "n/nobody", "uid": "ada", "taken": "share" }),
        json!({ "do": "disconnect", "session": "n/nobody", "code": 1000, "reason": "" }),
        json!({ "do": "read", "session": "n/nobody" }),
        json!({ "do": "write", "session": "n/nobody", "set": [], "remove": [] }),
    ] {
        assert_eq!(error(&host.outside(what.clone()).await), "not-found", "{what}");
    }
    let long = format!("n/{}\u{1b}", "x".repeat(10_000));
    let denied = host.outside(json!({ "do": "values", "session": long })).await;
    let message = denied["message"].as_str().unwrap();
    assert!(message.len() < 1_000 && !message.contains('\u{1b}'), "{message}");
}

#[tokio::test]
async fn only_messages_of_clients_reach_a_route_with_the_middleware_session() {
    let host = granted().start().await;
    let answer = host.post("/api/sessions/echo", "hello").await;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.text().contains("only messages of connected clients reach it"), "{}", answer.text());
    let called = host.call("any", GUEST, "echo", "hello").await;
    assert_eq!(called["code"], "forbidden", "{called}");
}

#[tokio::test]
async fn a_call_goes_to_the_worker_of_a_session() {
    let host = TestHost::waits_for(&[]).and(GUEST).grant(GUEST, json!({ "sessions": true })).start().await;
    // A client for each worker.
    let (mut clients, mut ids) = (Vec::new(), [None, None]);
    while ids.contains(&None) {
        assert!(clients.len() < 100, "a worker gets no connections");
        let (mut client, id) = host.client().await;
        let worker = client.ask(json!({ "do": "current" })).await["worker"].as_u64().unwrap();
        ids[worker as usize] = Some(id);
        clients.push(client);
    }
    for (worker, id) in ids.iter().enumerate() {
        for from in 0..2 {
            let ended = host.nested(from, json!({ "route": "/who", "target": { "session": id } })).await;
            let body: Value = serde_json::from_str(ended["ok"]["payload"].as_str().unwrap()).unwrap();
            assert_eq!(body["isolate"], format!("worker-{worker}"), "{ended}");
        }
    }
    let nobody = host.nested(0, json!({ "route": "/who", "target": { "session": "n/nobody" } })).await;
    assert_eq!(nobody["error"]["kind"], "not-found", "{nobody}");
}

#[tokio::test]
async fn the_status_and_the_page_for_developers_show_clients_and_sockets() {
    let listeners = json!([{ "path": "/sc/", "module": GUEST, "protocol": 1 }]);
    let host = granted().manifest(GUEST, json!({ "filters": { "before": ["step"] } }));
    let host = host.config(json!({ "websocket": { "listeners": listeners, "maxClients": 7 } })).start().await;
    let (mut client, id) = host.client().await;
    let _other = host.socket("echo").await;
    client.ask(json!({ "do": "bind", "session": null, "uid": "ada", "taken": "share" })).await;
    client.ask(json!({ "do": "join", "group": "g", "sessions": [id] })).await;
    let status = host.status().await;
    let listener = json!({ "path": "/sc/", "protocol": 1, "module": GUEST });
    let expected = json!({ "open": 2, "max": 7, "bound": 1, "groups": 1, "listeners": [listener] });
    assert_eq!(status["clients"], expected);
    let module = &status["modules"][0];
    assert_eq!(module["filters"], json!({ "before": ["POST step"] }));
    let facts = json!({ "pattern": "facts/{room}", "route": "POST facts", "protocols": ["v2", "v1"] });
    assert!(module["sockets"].as_array().unwrap().contains(&facts), "{module}");
    let page = host.get("/").await;
    let (line, route) = (format!("ws://{}/api/sessions/facts/room", host.http), "/api/sessions/echo</code> <span");
    assert!(page.text().contains(&line) && page.text().contains(route), "{}", page.text());
    assert!(page.header("content-security-policy").unwrap().contains("connect-src 'self'"));
}
