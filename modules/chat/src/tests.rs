use fanfare_sdk::prelude::*;
use fanfare_sdk::testing::{Builder, Client, OutgoingCall};

use super::Module;

const TEA: &str = "chat/room/tea";

fn builder() -> Builder {
    TestHost::builder(Module).name("chat").manifest(include_str!("../module.json"))
}

fn chat(workers: u32) -> TestHost {
    builder().workers(workers).start()
}

/// Returns the outcome, or the name of the failure.
fn outcome<T>(result: Result<T, CallError>) -> Result<T, String> {
    result.map_err(|error| error.failure().map_or_else(|| error.kind().to_owned(), |failure| failure.name.clone()))
}

fn sign_in(client: &Client, name: &str, secret: &str) -> Result<Value, String> {
    outcome(client.request("sign-in", json!({ "name": name, "secret": secret }))).map(|reply| reply.json().unwrap())
}

/// A client with a name, in the room `tea`.
fn in_the_room(host: &TestHost, name: &str) -> Client {
    let client = host.connect().open().unwrap();
    sign_in(&client, name, &format!("the secret of {name}")).unwrap();
    client.subscribe(TEA, ()).unwrap();
    client
}

fn say(client: &Client, text: &str) -> Result<(), String> {
    outcome(client.publish(TEA, json!({ "text": text, "key": "k" })))
}

/// What a client has received in a channel.
fn received(client: &Client, channel: &str) -> Vec<Value> {
    let messages = client.received();
    let messages = messages.iter().filter(|message| message.name == "#publish");
    let messages = messages.map(|message| message.payload.json::<Value>().unwrap());
    messages.filter(|message| message["channel"] == channel).map(|mut message| message["data"].take()).collect()
}

#[test]
fn a_message_reaches_the_room_with_the_name_of_its_sender() {
    let host = chat(2);
    let (ada, bob) = (in_the_room(&host, "Ada"), in_the_room(&host, "Bob"));
    say(&ada, "  hello \n\t\u{7} world ").unwrap();
    let forged = json!({ "name": "Ada", "text": "I am Ada", "key": "k2" });
    bob.publish(TEA, forged).unwrap();
    let expected = [
        json!({ "name": "Ada", "text": "hello world", "key": "k" }),
        json!({ "name": "Bob", "text": "I am Ada", "key": "k2" }),
    ];
    assert_eq!(received(&ada, TEA), expected);
    assert_eq!(received(&bob, TEA), expected);
}

#[test]
fn what_the_operator_says_has_no_name() {
    let host = chat(1);
    let ada = in_the_room(&host, "Ada");
    host.publish_to_channel(TEA, json!({ "text": "closing soon" })).unwrap();
    assert_eq!(received(&ada, TEA), [json!({ "name": null, "text": "closing soon", "key": "" })]);
}

#[test]
fn a_text_that_is_empty_or_too_long_or_no_message_is_refused() {
    let host = chat(1);
    let ada = in_the_room(&host, "Ada");
    for (text, is_valid) in [("é".repeat(500), true), ("é".repeat(501), false), (" \n".into(), false)] {
        assert_eq!(say(&ada, &text).err(), (!is_valid).then(|| "invalid".to_owned()), "{text}");
    }
    for bad in [json!("hello"), json!({ "key": "k" }), json!({ "text": "hello", "key": "k".repeat(65) })] {
        assert_eq!(outcome(ada.publish(TEA, bad.clone())), Err("invalid".to_owned()), "{bad}");
    }
    assert_eq!(received(&ada, TEA).len(), 1);
}

#[test]
fn a_client_without_a_name_neither_enters_a_room_nor_speaks_there() {
    let host = chat(1);
    let client = host.connect().open().unwrap();
    assert_eq!(outcome(client.subscribe(TEA, ())), Err("not-signed-in".to_owned()));
    assert_eq!(say(&client, "hello"), Err("not-signed-in".to_owned()));
    sign_in(&client, "Ada", "the secret of Ada").unwrap();
    assert_eq!(outcome(client.subscribe(TEA, ())), Ok(()));
}

#[test]
fn a_room_has_a_short_and_plain_name() {
    let host = chat(1);
    let client = in_the_room(&host, "Ada");
    let long = "x".repeat(25);
    for bad in ["", "Tea", "te a", "té", "a/b", &long] {
        assert_eq!(outcome(client.subscribe(&format!("chat/room/{bad}"), ())), Err("invalid".to_owned()), "{bad}");
    }
    for good in ["a", "tea-2", &long[1..]] {
        assert_eq!(outcome(client.subscribe(&format!("chat/room/{good}"), ())), Ok(()), "{good}");
    }
}

#[test]
fn a_name_belongs_to_one_person_who_is_here() {
    let host = chat(2);
    let ada = in_the_room(&host, "Ada");
    let eve = host.connect().on(1).open().unwrap();
    assert_eq!(sign_in(&eve, "ADA", "the secret of Eve"), Err("name-taken".to_owned()));
    assert_eq!(sign_in(&ada, "Ada", "the secret of Ada"), Ok(json!({ "name": "Ada" })), "once more");
    assert_eq!(sign_in(&ada, "Grace", "the secret of Ada"), Err("signed-in".to_owned()));
    for (name, secret) in [("", "the secret of Eve"), (&*"x".repeat(25), "the secret of Eve"), ("Eve", "short")] {
        assert_eq!(sign_in(&eve, name, secret), Err("invalid".to_owned()), "{name}");
    }
    ada.disconnect(1000, "");
    host.settle();
    assert_eq!(sign_in(&eve, "ADA", "the secret of Eve"), Ok(json!({ "name": "ADA" })));
}

#[test]
fn a_secret_replaces_the_old_connection_of_its_person() {
    let host = chat(2);
    let old = in_the_room(&host, "Ada");
    let new = host.connect().on(1).open().unwrap();
    sign_in(&new, "Ada", "the secret of Ada").unwrap();
    host.settle();
    assert_eq!(old.closed().unwrap().0, 4010);
    new.subscribe(TEA, ()).unwrap();
    assert_eq!(say(&new, "back"), Ok(()));
}

#[test]
fn a_scorer_refuses_spam_and_nothing_else() {
    let scored = |call: OutgoingCall| match call.payload.as_text().unwrap_or_default() {
        "broken" => Err(CallError::Unavailable("no scorer".to_owned())),
        "odd" => Ok(Reply::new("not a score").unwrap()),
        text => Ok(Reply::new(Json(json!({ "spam": if text == "buy now" { 0.91 } else { 0.9 } }))).unwrap()),
    };
    let host = builder().answer("scorer/score", scored).start();
    let ada = in_the_room(&host, "Ada");
    assert_eq!(say(&ada, "buy now"), Ok(()), "without a scorer");
    host.set_config("spam", json!({ "route": "scorer/score", "above": 0.9 }));
    assert_eq!(say(&ada, " buy\tnow "), Err("spam".to_owned()));
    for text in ["hello", "broken", "odd"] {
        assert_eq!(say(&ada, text), Ok(()), "{text}");
    }
    host.publish_to_channel(TEA, json!({ "text": "buy now" })).unwrap();
    assert_eq!(received(&ada, TEA).len(), 5);
}

#[test]
fn members_see_the_names_of_each_other() {
    let host = chat(2);
    let ada = in_the_room(&host, "Ada");
    let presence = format!("presence/{TEA}");
    ada.subscribe(&presence, ()).unwrap();
    let bob = host.connect().on(1).open().unwrap();
    sign_in(&bob, "Bob", "the secret of Bob").unwrap();
    // What the client sends about itself counts for nothing.
    bob.subscribe(TEA, json!({ "name": "Ada" })).unwrap();
    bob.disconnect(1000, "");
    host.settle();
    let seen = received(&ada, &presence);
    let seen: Vec<Value> = seen.iter().map(|it| json!([it["action"], it["member"]["info"], it["count"]])).collect();
    assert_eq!(seen, [json!(["join", { "name": "Bob" }, 2]), json!(["leave", { "name": "Bob" }, 1])]);
}

#[test]
fn a_room_keeps_the_last_messages_and_a_name_lasts_over_a_swap_and_a_crash() {
    let host = chat(2);
    let ada = in_the_room(&host, "Ada");
    say(&ada, "one").unwrap();
    host.swap();
    host.restart(0);
    say(&ada, "two").unwrap();
    let kept = host.channel_messages(TEA);
    let kept: Vec<Value> = kept.iter().map(|message| message.payload.json().unwrap()).collect();
    assert_eq!(kept, received(&ada, TEA));
    assert_eq!(kept.iter().map(|message| &message["name"]).collect::<Vec<_>>(), ["Ada", "Ada"]);
}

#[test]
fn the_page_may_load_only_its_own_files() {
    let host = chat(1);
    for (path, content_type, part) in [
        ("", "text/html; charset=utf-8", "<main>"),
        ("style.css", "text/css; charset=utf-8", "prefers-color-scheme"),
        ("chat.js", "text/javascript; charset=utf-8", "#history"),
        ("room.js", "text/javascript; charset=utf-8", "class Room"),
        ("connection.js", "text/javascript; charset=utf-8", "new WebSocket"),
    ] {
        let file = host.call(&format!("GET {path}"), ()).unwrap();
        assert_eq!(file.header("content-type"), Some(content_type));
        assert!(file.header("content-security-policy").unwrap().starts_with("default-src 'none';"));
        assert!(file.text().contains(part), "{path}");
    }
}
