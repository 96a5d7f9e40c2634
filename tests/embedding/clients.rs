//! Connected clients of the program.

use std::time::Duration;

use fanfare::{CallError, Recipient, RunningHost};
use serde_json::{Value, json};

use crate::harness::{Started, TestHost, WebSocket, eventually};

const GUEST: &str = "sessions";

async fn started() -> Started {
    let listeners = json!([{ "path": "/sc/", "module": GUEST }]);
    let host = TestHost::with(GUEST).grant(GUEST, json!({ "sessions": true }));
    let limits = json!({ "max": { "payload": "4KiB" } });
    host.config(json!({ "websocket": { "listeners": listeners }, "limits": limits })).start().await
}

/// A client whose messages call functions of `sessions`, and the id of its session.
async fn client(host: &Started) -> (WebSocket, String) {
    let mut socket = WebSocket::open(host.http, &format!("/api/{GUEST}/use")).await;
    let id = socket.ask(json!({ "do": "current" })).await["id"].as_str().unwrap().to_owned();
    (socket, id)
}

fn ids(host: &RunningHost, uid: &str) -> Vec<String> {
    host.sessions_of(uid).iter().map(|session| session.id.to_string()).collect()
}

#[tokio::test]
async fn the_program_sends_to_sessions_users_and_groups() {
    let host = started().await;
    let running = host.running();
    let ((mut ada, ada_id), (mut bob, bob_id)) = (client(&host).await, client(&host).await);
    ada.ask(json!({ "do": "bind", "session": null, "uid": "ada", "taken": "share" })).await;
    bob.ask(json!({ "do": "join", "group": "g", "sessions": [bob_id] })).await;
    for (to, reached) in [
        (Recipient::Session(ada_id.clone()), [true, false]),
        (Recipient::Uid("ada".into()), [true, false]),
        (Recipient::Group("g".into()), [false, true]),
        (Recipient::Bound, [true, false]),
        (Recipient::Everyone, [true, true]),
        (Recipient::Uid("nobody".into()), [false, false]),
    ] {
        let text = format!("{to:?}");
        let sent = running.send_to_clients(to, "note", text.as_str()).unwrap();
        assert_eq!(sent as usize, reached.iter().filter(|is_for| **is_for).count(), "{text}");
        for (socket, is_for) in [(&mut ada, reached[0]), (&mut bob, reached[1])] {
            if is_for {
                assert_eq!(socket.text().await, text);
            }
        }
    }
    let (nobody, none) = (Recipient::Uid("nobody".into()), Recipient::Group("none".into()));
    let to = [Recipient::Bound, nobody.clone(), none.clone(), nobody.clone()];
    let pushed = running.push_to_clients(to, "note", "pushed").await.unwrap();
    assert_eq!((pushed.reached, pushed.unknown, pushed.silent.len()), (1, vec![nobody, none], 0));
    assert_eq!(ada.text().await, "pushed");
}

#[tokio::test]
async fn the_program_looks_at_sessions_and_ends_them() {
    let host = started().await;
    let running = host.running();
    let ((mut ada, id), (_bob, _)) = (client(&host).await, client(&host).await);
    ada.ask(json!({ "do": "bind", "session": null, "uid": "ada", "taken": "share" })).await;
    ada.ask(json!({ "do": "join", "group": "g", "sessions": [id] })).await;
    let session = running.session(&id).unwrap();
    assert_eq!((&*session.id, session.uid.as_deref(), &*session.protocol), (&*id, Some("ada"), "plain"));
    assert_eq!((ids(running, "ada"), ids(running, "bob").len()), (vec![id.clone()], 0));
    assert_eq!((running.group_members("g"), running.group_members("none").len()), (vec![id.clone()], 0));
    let pair = |name: &str, json: &str| (name.to_owned(), json.to_owned());
    running.set_session_values(&id, vec![pair("b", "2"), pair("a", "1")]).unwrap();
    assert_eq!(running.session_values(&id).unwrap(), [pair("a", "1"), pair("b", "2")]);
    assert_eq!(ada.ask(json!({ "do": "get", "session": null, "key": "b" })).await, "2");
    let clients = running.status().clients;
    assert_eq!((clients.open, clients.bound, clients.groups, &*clients.listeners[0].path), (2, 1, 1, "/sc/"));
    running.disconnect_client(&id, 4123, "bye").unwrap();
    assert_eq!(ada.closed().await, 4123);
    eventually("the session has ended", || async { running.session(&id).is_none() }).await;
    assert!(matches!(running.disconnect_client(&id, 4123, "bye"), Err(CallError::NotFound(_))));
    assert_eq!((ids(running, "ada").len(), running.group_members("g").len()), (0, 0));
}

#[tokio::test]
async fn the_program_asks_a_client_of_socketcluster() {
    let host = started().await;
    let running = host.running();
    let mut client = WebSocket::open(host.http, "/sc/").await;
    client.ask(json!({ "event": "#handshake", "data": {}, "cid": 1 })).await;
    let facts = client.ask(json!({ "event": "use", "data": { "do": "current" }, "cid": 2 })).await;
    let id = facts["data"]["id"].as_str().unwrap().to_owned();
    let answers = async {
        let question = client.json().await;
        assert_eq!((&question["event"], &question["data"]), (&json!("version"), &json!({ "a": 1 })));
        client.send(&json!({ "rid": question["cid"], "data": "1.2" }).to_string()).await;
    };
    let (answer, ()) = tokio::join!(running.ask_client(&id, "version", r#"{"a":1}"#, None), answers);
    assert_eq!(answer.unwrap().to_text(), r#""1.2""#);
    let late = running.ask_client(&id, "version", (), Some(Duration::from_millis(1))).await;
    assert_eq!(late, Err(CallError::Timeout(None)));
    let gone = running.ask_client("n/nobody", "version", (), None).await;
    assert!(matches!(gone, Err(CallError::NotFound(_))), "{gone:?}");
}

#[tokio::test]
async fn bad_messages_of_the_program_are_rejected() {
    let host = started().await;
    let running = host.running();
    let (_client, id) = client(&host).await;
    let me = || Recipient::Session(id.clone());
    let errors = [
        running.send_to_clients(me(), "", "x").unwrap_err(),
        running.send_to_clients(me(), "a\nb", "x").unwrap_err(),
        running.send_to_clients(me(), "n", "x".repeat(4_097)).unwrap_err(),
        running.send_to_clients(Recipient::Group(String::new()), "n", "x").unwrap_err(),
        running.send_to_clients(Recipient::Other("channel".into(), "a".into()), "n", "x").unwrap_err(),
        running.push_to_clients(vec![Recipient::Bound; 10_001], "n", "x").await.unwrap_err(),
        running.ask_client(&id, "n", (), None).await.unwrap_err(),
        running.set_session_values(&id, vec![("a".to_owned(), "{".to_owned())]).unwrap_err(),
        running.disconnect_client(&id, 1001, "").unwrap_err(),
        running.disconnect_client(&id, 1000, &"r".repeat(124)).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, CallError::Invalid(_)), "{error:?}");
    }
    assert_eq!(running.session_values(&id).unwrap(), []);
    running.destroy().await;
    assert!(matches!(running.send_to_clients(me(), "n", Value::Null.to_string()), Err(CallError::Unavailable(_))));
}
