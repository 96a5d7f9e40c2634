//! Cases of `fanfare test` with connected clients.

use serde_json::{Value, json};

use super::Project;

/// A project with the guest `sessions`, which has these cases.
fn sessions(cases: Value) -> Project {
    let file = "modules/sessions/sessions.test.json";
    Project::with(&["sessions"]).file(file, json!({ "cases": cases }).to_string())
}

#[tokio::test]
async fn cases_connect_clients_and_expect_messages_refusals_and_ends() {
    let send = |to: Value| json!({ "do": "send", "to": to, "name": "note", "payload": "hello" });
    let cases = json!([
        { "name": "connects", "client": { "socket": "echo", "as": "ada" }, "expect": { "status": 101 } },
        { "name": "connects another", "client": { "socket": "facts/7?x=y", "as": "bob", "protocols": ["v0", "v1"] },
          "expect": { "headers": { "sec-websocket-protocol": "v1" } } },
        { "name": "a reply", "message": { "client": "ada", "body": "hi" }, "expect": { "received": { "ada": [{ "text": "hi" }] } } },
        { "name": "facts", "message": { "client": "bob", "body": { "a": 1 } },
          "expect": { "received": { "bob": [{ "has": { "params": [["room", "7"]], "query": "x=y" }, "contains": "client" }] } } },
        { "name": "a message to all", "call": { "path": "outside/use", "body": send(json!("everyone")) },
          "expect": { "json": 2, "received": { "ada": [{ "contains": "ell" }], "bob": [{ "text": "hello" }] } } },
        { "name": "refused", "client": { "socket": "nowhere" }, "expect": { "status": 404 } },
        { "name": "closes", "client": { "socket": "fail" } },
        { "name": "is closed", "message": { "client": "fail", "body": { "message": "go", "close-code": "4001" } },
          "expect": { "closed": { "fail": 4001 } } },
        { "name": "leaves", "client": { "close": "ada" } },
    ]);
    let count = cases.as_array().unwrap().len();
    let ran = sessions(cases).run(&["test", "modules/sessions"]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(&format!("{count} cases, 0 failed")), "{}", ran.out);
}

#[tokio::test]
async fn a_failed_expectation_of_a_client_names_the_message() {
    let cases = json!([
        { "name": "connects", "client": { "socket": "echo" } },
        { "name": "wrong", "message": { "client": "echo", "body": "hi" }, "expect": { "received": { "echo": [{ "text": "ho" }] } } },
        { "name": "unknown", "message": { "client": "nobody" } },
        { "name": "closed", "message": { "client": "echo", "body": "x" }, "expect": { "closed": { "echo": 1000 } } },
    ]);
    let ran = sessions(cases).run(&["test", "modules/sessions"]).await;
    assert_eq!(ran.code, 1, "{}", ran.out);
    for line in [
        r#"received.echo[0].text: expected "ho", found "hi""#,
        r#"no client "nobody" is connected: connect it in an earlier case, with `client`"#,
        r#"closed.echo: expected 1000, found "x""#,
    ] {
        assert!(ran.out.contains(line), "{line}: {}", ran.out);
    }
}

/// Cases of clients that speak a version of the protocol of SocketCluster.
fn socketcluster_cases(version: u32) -> Value {
    let everyone = json!({ "do": "send", "to": "everyone", "name": "news", "payload": r#"{"a":1}"# });
    let token = json!({ "do": "authenticate", "session": null, "claims": r#"{"name":"ada"}"#, "expires_ms": null });
    let failure = json!({ "name": "No", "message": "go", "close-code": "4321" });
    let session = format!("socketcluster/{version}");
    json!([
        { "name": "connects", "client": { "protocol": version, "as": "ada", "data": { "room": "7" } },
          "expect": { "status": 101, "has": { "isAuthenticated": false } } },
        { "name": "an answer", "message": { "client": "ada", "event": "facts", "body": { "a": 1 } },
          "expect": { "status": 200, "has": { "session": { "protocol": session }, "name": "facts", "wantsReply": true,
                                              "body": r#"{"a":1}"# } } },
        { "name": "no data", "message": { "client": "ada", "event": "sessions.echo" }, "expect": { "text": "" } },
        { "name": "a text", "message": { "client": "ada", "event": "echo", "body": "hi" }, "expect": { "json": "hi" } },
        { "name": "events before the answer", "message": { "client": "ada", "event": "burst", "body": 2 },
          "expect": { "json": "done", "received": { "ada": [{ "json": { "event": "burst", "data": 1 } },
                                                            { "json": { "event": "burst", "data": 2 } }] } } },
        { "name": "another client", "client": { "protocol": 3 - version, "as": "bob" } },
        { "name": "a plain one", "client": { "socket": "echo" } },
        { "name": "a message to all", "call": { "path": "outside/use", "body": everyone },
          "expect": { "json": 3, "received": { "ada": [{ "json": { "event": "news", "data": { "a": 1 } } }],
                                               "bob": [{ "has": { "event": "news" } }],
                                               "echo": [{ "text": "{\"a\":1}" }] } } },
        { "name": "a token", "message": { "client": "ada", "event": "use", "body": token },
          "expect": { "json": null, "received": { "ada": [{ "has": { "event": "#setAuthToken" } }] } } },
        { "name": "its claims", "message": { "client": "ada", "event": "facts" },
          "expect": { "has": { "session": { "claims": { "name": "ada" } } } } },
        { "name": "an error of the host", "message": { "client": "ada", "event": "nobody" },
          "expect": { "status": 400, "code": "NotFoundError", "has": { "code": "not-found" } } },
        { "name": "an error", "message": { "client": "ada", "event": "fail", "body": failure },
          "expect": { "code": "No", "json": { "name": "No", "message": "go" }, "closed": { "ada": 4321 } } },
        { "name": "raw", "message": { "client": "bob", "body": "hello" } },
        { "name": "leaves", "client": { "close": "bob" }, "expect": { "closed": { "bob": 1000 } } },
    ])
}

#[tokio::test]
async fn cases_connect_clients_of_socketcluster_and_see_their_answers() {
    // Neither the listener of another module nor a key that does not exist matters to the test.
    let auth = json!({ "keyVariable": "FANFARE_TEST_NOBODY_SETS_THIS" });
    let own = json!({ "path": "/own/", "protocol": 1, "module": "sessions" });
    let listeners = json!([{ "path": "/other/", "module": "other" }, own]);
    for version in [1, 2] {
        let cases = socketcluster_cases(version);
        let count = cases.as_array().unwrap().len();
        let websocket = json!({ "pingInterval": "20ms", "pingTimeout": "5s", "auth": auth, "listeners": listeners });
        let ran = sessions(cases).config(json!({ "websocket": websocket })).run(&["test", "modules/sessions"]).await;
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        assert!(ran.out.contains(&format!("{count} cases, 0 failed")), "{}", ran.out);
    }
}

#[tokio::test]
async fn a_client_of_socketcluster_that_is_refused_shows_the_error_and_the_close_code() {
    let route = r#""routes": [ { "path": "refuse", "handler": "fail", "middlewares": "inner" },"#;
    let data = json!({ "name": "Banned", "message": "no", "close-code": "4444" });
    let cases = json!([
        { "name": "refused", "client": { "protocol": 2, "as": "ada", "data": data },
          "expect": { "status": 400, "code": "Banned", "has": { "message": "no", "statusCode": 4444 },
                      "closed": { "ada": 4444 } } },
        { "name": "is gone", "message": { "client": "ada", "event": "echo" } },
    ]);
    let project = sessions(cases);
    let manifest = project.read("modules/sessions/module.json").replacen(r#""routes": ["#, route, 1);
    let mut module: Value = serde_json::from_str(&manifest).unwrap();
    module["hooks"] = json!({ "connect": { "path": "refuse" } });
    let ran = project.file("modules/sessions/module.json", module.to_string()).run(&["test", "modules/sessions"]).await;
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("ok    sessions: refused"), "{}", ran.out);
    assert!(ran.out.contains(r#"the connection of the client "ada" is closed"#), "{}", ran.out);
}

#[tokio::test]
async fn an_event_needs_a_client_with_a_protocol_of_events() {
    let cases = json!([
        { "name": "connects", "client": { "socket": "echo", "as": "ada" } },
        { "name": "an event", "message": { "client": "ada", "event": "echo" } },
        { "name": "another protocol", "client": { "protocol": 2, "as": "bob" }, "expect": { "status": 200 } },
    ]);
    let ran = sessions(cases).run(&["test", "modules/sessions"]).await;
    assert_eq!(ran.code, 1, "{}", ran.out);
    for line in [
        r#"the client "ada" is a plain WebSocket, whose messages have no names: remove `event`, or connect it with `protocol`"#,
        "status: expected 200, found 101",
    ] {
        assert!(ran.out.contains(line), "{line}: {}", ran.out);
    }
}
