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
