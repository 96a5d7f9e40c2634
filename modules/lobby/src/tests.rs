use fanfare_sdk::prelude::*;
use fanfare_sdk::testing::Client;

use super::Module;

fn lobby(workers: u32) -> TestHost {
    TestHost::builder(Module).name("lobby").manifest(include_str!("../module.json")).workers(workers).start()
}

/// A client of SocketCluster that is signed in.
fn signed_in(host: &TestHost, worker: u32, uid: &str) -> Client {
    let client = host.connect().on(worker).open().unwrap();
    ask(&client, "sign-in", json!({ "token": format!("demo-{uid}") })).unwrap();
    client
}

/// Sends a request, and returns the reply or the name of the failure.
fn ask(client: &Client, name: &str, request: Value) -> Result<Value, String> {
    match client.request(name, request) {
        Ok(reply) => Ok(reply.json().unwrap()),
        Err(error) => Err(error.failure().map_or_else(|| error.kind().to_owned(), |failure| failure.name.clone())),
    }
}

fn join(client: &Client, group: &str) -> Value {
    ask(client, "join", json!({ "group": group })).unwrap()
}

/// The events that a client has received so far.
fn events(client: &Client) -> Vec<Value> {
    client.received().iter().map(|message| message.payload.json().unwrap()).collect()
}

fn last(client: &Client) -> Value {
    events(client).pop().unwrap_or_default()
}

#[test]
fn a_token_signs_in_its_user_and_no_other_token_signs_in_anyone() {
    let host = lobby(1);
    let client = host.connect().open().unwrap();
    for action in ["rename", "whisper", "join", "leave", "members", "say"] {
        let request = json!({ "name": "a", "to": "bob", "text": "hi", "group": "lobby" });
        assert_eq!(ask(&client, action, request), Err("not-signed-in".to_owned()), "{action}");
    }
    for token in ["", "ada", "demo-eve"] {
        assert_eq!(ask(&client, "sign-in", json!({ "token": token })), Err("unknown-token".to_owned()));
    }
    let ada = ask(&client, "sign-in", json!({ "token": "demo-ada" })).unwrap();
    assert_eq!(ada, json!({ "uid": "ada", "name": "ada", "groups": [] }));
    assert_eq!(client.session().uid.as_deref(), Some("ada"));
}

#[test]
fn a_user_who_signs_in_twice_replaces_the_old_session() {
    let host = lobby(2);
    let (old, bob) = (signed_in(&host, 0, "ada"), signed_in(&host, 1, "bob"));
    join(&old, "lobby");
    join(&bob, "lobby");
    let new = signed_in(&host, 1, "ada");
    host.settle();
    assert_eq!(old.closed().unwrap().0, 4010);
    assert_eq!(last(&bob)["event"], "left");
    join(&new, "lobby");
    assert_eq!(last(&bob), json!({ "event": "joined", "group": "lobby", "from": { "uid": "ada", "name": "ada" } }));
}

#[test]
fn the_config_can_share_or_refuse_a_user_who_signs_in_twice() {
    let host = lobby(1);
    host.set_config("sameUser", json!("refuse"));
    let first = signed_in(&host, 0, "ada");
    let second = host.connect().open().unwrap();
    let again = json!({ "token": "demo-ada" });
    assert_eq!(ask(&second, "sign-in", again.clone()), Err("signed-in".to_owned()));
    assert!(ask(&first, "sign-in", again.clone()).is_ok(), "the same session");

    host.set_config("sameUser", json!("share"));
    ask(&second, "sign-in", again).unwrap();
    let bob = signed_in(&host, 0, "bob");
    assert_eq!(ask(&bob, "whisper", json!({ "to": "ada", "text": "hi" })), Ok(json!({ "reached": 2 })));
    join(&first, "lobby");
    join(&second, "lobby");
    let members = json!([{ "uid": "ada", "name": "ada" }, { "uid": "bob", "name": "bob" }]);
    assert_eq!(join(&bob, "lobby"), json!({ "group": "lobby", "members": members, "sessions": 3 }));
    first.disconnect(1000, "");
    host.settle();
    assert_ne!(last(&bob)["event"], "left", "ada is still here");
    second.disconnect(1000, "");
    host.settle();
    assert_eq!(last(&bob)["event"], "left");
}

#[test]
fn a_private_message_reaches_only_its_user() {
    let host = lobby(3);
    let [ada, bob, cleo] = [("ada", 0), ("bob", 1), ("cleo", 2)].map(|(uid, worker)| signed_in(&host, worker, uid));
    assert_eq!(ask(&ada, "whisper", json!({ "to": "bob", "text": " psst " })), Ok(json!({ "reached": 1 })));
    let from = json!({ "uid": "ada", "name": "ada" });
    assert_eq!(events(&bob), [json!({ "event": "whispered", "from": from, "to": "bob", "text": "psst" })]);
    assert_eq!(bob.received()[0].name, "whispered");
    assert!(events(&ada).is_empty() && events(&cleo).is_empty());
    assert_eq!(ask(&ada, "whisper", json!({ "to": "dora", "text": "psst" })), Err("not-here".to_owned()));
}

#[test]
fn a_group_hears_who_joins_speaks_takes_another_name_and_leaves() {
    let host = lobby(2);
    let [ada, bob, cleo] = [("ada", 0), ("bob", 1), ("cleo", 0)].map(|(uid, worker)| signed_in(&host, worker, uid));
    join(&ada, "tea");
    join(&bob, " tea ");
    assert_eq!(ask(&bob, "say", json!({ "group": "tea", "text": "hello" })), Ok(json!({ "reached": 2 })));
    ask(&bob, "rename", json!({ "name": "Bob B." })).unwrap();
    ask(&bob, "leave", json!({ "group": "tea" })).unwrap();
    ask(&bob, "leave", json!({ "group": "tea" })).unwrap();
    let seen: Vec<Value> = events(&ada).iter().map(|it| json!([it["event"], it["from"]["name"], it["text"]])).collect();
    let expected = [
        json!(["joined", "ada", null]),
        json!(["joined", "bob", null]),
        json!(["said", "bob", "hello"]),
        json!(["renamed", "Bob B.", null]),
        json!(["left", "Bob B.", null]),
    ];
    assert_eq!(seen, expected);
    for action in ["say", "members"] {
        let request = json!({ "group": "tea", "text": "hello" });
        assert_eq!(ask(&cleo, action, request), Err("not-a-member".to_owned()), "{action}");
    }
    assert!(events(&cleo).is_empty());
}

#[test]
fn another_user_of_the_same_session_is_in_none_of_its_groups() {
    let host = lobby(1);
    let (client, bob) = (signed_in(&host, 0, "ada"), signed_in(&host, 0, "bob"));
    join(&client, "lobby");
    join(&bob, "lobby");
    ask(&client, "sign-in", json!({ "token": "demo-cleo" })).unwrap();
    assert_eq!(last(&bob), json!({ "event": "left", "group": "lobby", "from": { "uid": "ada", "name": "ada" } }));
    assert_eq!(ask(&bob, "say", json!({ "group": "lobby", "text": "hello" })), Ok(json!({ "reached": 1 })));
    assert_eq!(ask(&client, "members", json!({ "group": "lobby" })), Err("not-a-member".to_owned()));
}

#[test]
fn a_session_keeps_its_user_name_and_groups_over_a_swap_and_a_crash() {
    let host = lobby(2);
    let (ada, bob) = (signed_in(&host, 0, "ada"), signed_in(&host, 1, "bob"));
    ask(&ada, "rename", json!({ "name": "Ada L." })).unwrap();
    join(&ada, "lobby");
    join(&bob, "lobby");
    host.swap();
    host.restart(0);
    ask(&ada, "say", json!({ "group": "lobby", "text": "still here" })).unwrap();
    assert_eq!((&last(&bob)["from"]["name"], &last(&bob)["text"]), (&json!("Ada L."), &json!("still here")));
}

#[test]
fn names_and_texts_are_short_and_have_no_control_characters() {
    let host = lobby(1);
    let client = signed_in(&host, 0, "ada");
    join(&client, "lobby");
    for (action, key, max) in [("rename", "name", 40), ("join", "group", 40), ("whisper", "text", 1_000)] {
        for (text, is_valid) in
            [("é".repeat(max), true), ("é".repeat(max + 1), false), (" ".into(), false), ("a\nb".into(), false)]
        {
            let mut request = json!({ "to": "ada" });
            request[key] = json!(text);
            assert_eq!(
                ask(&client, action, request).err(),
                (!is_valid).then(|| "invalid".to_owned()),
                "{action} {text}"
            );
        }
    }
}

#[test]
fn a_plain_websocket_receives_answers_and_events_as_messages() {
    let host = lobby(1);
    let client = host.connect().socket("socket").open().unwrap();
    let ask = |message: Value| {
        client.send("", message).unwrap();
        last(&client)
    };
    let signed_in = ask(json!({ "do": "sign-in", "token": "demo-ada", "id": 1 }));
    assert_eq!(signed_in, json!({ "id": 1, "ok": { "uid": "ada", "name": "ada", "groups": [] } }));
    let refused = ask(json!({ "do": "sign-in", "token": "x", "id": "two" }));
    assert_eq!(refused["error"], json!({ "name": "unknown-token", "message": "nobody has this token" }));
    assert_eq!(refused["id"], "two");
    for bad in [json!({ "do": "dance", "id": 3 }), json!({ "id": 3 }), json!({ "do": "say", "id": 3 })] {
        assert_eq!((&ask(bad.clone())["error"]["name"], &last(&client)["id"]), (&json!("invalid"), &json!(3)), "{bad}");
    }
    assert_eq!(ask(json!([1]))["error"]["name"], "invalid");
    ask(json!({ "do": "join", "group": "lobby", "id": 4 }));
    let received = events(&client);
    let [.., event, answer] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!((&event["event"], &answer["id"]), (&json!("joined"), &json!(4)));
}

#[test]
fn the_page_may_load_only_its_own_files() {
    let host = lobby(1);
    for (path, content_type, part) in [
        ("", "text/html; charset=utf-8", "<main>"),
        ("style.css", "text/css; charset=utf-8", "prefers-color-scheme"),
        ("lobby.js", "text/javascript; charset=utf-8", "new WebSocket"),
    ] {
        let file = host.call(&format!("GET {path}"), ()).unwrap();
        assert_eq!(file.header("content-type"), Some(content_type));
        assert!(file.header("content-security-policy").unwrap().starts_with("default-src 'none';"));
        assert!(file.text().contains(part), "{path}");
    }
}
