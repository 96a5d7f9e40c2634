//! Channels in the in-memory host.

use std::cell::RefCell;

use fanfare_sdk::channels::{Action, Position};
use fanfare_sdk::prelude::*;
use fanfare_sdk::testing::Client;

const MANIFEST: &str = r#"{
    "routes": [
        { "path": "decide", "handler": "decide", "middlewares": "inner" },
        { "path": "on-message", "handler": "on_message", "middlewares": "inner" },
        { "path": "say", "handler": "say" },
        { "path": "burst", "handler": "burst" },
        { "path": "follow", "handler": "follow" },
        { "path": "leave", "handler": "unfollow" },
        { "path": "add", "handler": "add" },
        { "path": "kick", "handler": "kick" },
        { "path": "page", "handler": "page" },
        { "path": "members", "handler": "members" },
        { "path": "open", "handler": "open" },
        { "path": "seen", "handler": "seen" },
        { "path": "message", "handler": "page", "middlewares": "session" },
    ],
    "channels": {
        "chat/kept/*": { "history": 2, "presence": true },
        "chat/routed/*": { "path": "decide" },
        "chat/each": { "path": "decide", "on": ["deliver"] },
        "chat/named/*": { "envelope": true, "history": { "age": "1m" } },
        "chat/all": { "path": "decide", "on": ["subscribe", "join", "leave"], "presence": true },
    },
    "sockets": { "live": { "path": "message" } },
}"#;

thread_local! { static SEEN: RefCell<Vec<String>> = RefCell::default() }

#[handler]
async fn decide(event: ChannelEvent, session: Option<Session>, body: Payload) -> Result<Outcome> {
    let own = session.map(|session| session.id().to_owned());
    assert_eq!(own, event.session, "the session that acts is that of the call");
    SEEN.with_borrow_mut(|seen| seen.push(format!("{} {}", event.action.as_str(), event.channel)));
    match (&event.action, body.as_text()) {
        (_, Some("\"refuse\"")) => Err(Failure::forbidden("no", "refused on request")),
        (_, Some("\"status\"")) => (302, "").into_outcome(),
        (_, Some("\"reply\"")) => (204, "").into_outcome(),
        (Action::Publish, Some(text)) => Outcome::pass_with(json!([text])),
        (Action::Deliver, Some(text)) => Outcome::pass_with(json!({ "for": event.session, "was": text })),
        (Action::Subscribe, Some(_)) => Outcome::pass_with(json!("checked")),
        _ => Ok(Outcome::pass()),
    }
}

#[handler]
fn on_message(from: Subscription, body: Payload) {
    info!("{} {} {:?} {}", from.name, from.topic, from.id, body.as_text().unwrap_or_default());
}

#[handler]
async fn say(channel: Query<String>, body: Payload) -> Result<String> {
    let place = channels::publish_and_wait(&channel, body).await?;
    Ok(place.map_or_else(|| "none".to_owned(), |place| place.to_string()))
}

#[handler]
fn burst(channel: Text) -> Result<()> {
    for number in 1..=5 {
        channels::publish(&channel, json!(number))?;
    }
    Ok(())
}

#[handler]
fn follow(channel: Text) -> Result<String> {
    Ok(channels::subscribe(&channel, "on-message")?)
}

#[handler]
fn unfollow(name: Text) -> Result<()> {
    Ok(channels::unsubscribe(&name)?)
}

#[handler]
fn add(channel: Query<String>, session: Text) -> Result<Json<u32>> {
    channels::add(&channel, &session)?;
    Ok(Json(channels::count(&channel)))
}

#[handler]
fn kick(channel: Query<String>, session: Text) -> Result<Json<u32>> {
    channels::kick_out(&channel, &session, "bye")?;
    Ok(Json(channels::count(&channel)))
}

#[handler]
async fn page(channel: Query<String>, after: Json<Option<String>>) -> Result<Json<Value>> {
    let after = after.as_deref().map(str::parse::<Position>).transpose()?;
    let page = channels::history(&channel, after, 2).await?;
    let offsets: Vec<u64> = page.messages.iter().map(|message| message.offset).collect();
    Ok(Json(json!([offsets, page.latest, page.complete])))
}

#[handler]
async fn members(channel: Text) -> Result<Json<Vec<Value>>> {
    let members = channels::members(&channel).await?.into_iter();
    members.map(|member| Ok(json!([member.session, member.info::<Value>()?]))).collect::<Result<_>>().map(Json)
}

/// Needs no channel.
#[handler]
fn open(event: Option<ChannelEvent>) -> Json<bool> {
    Json(event.is_none())
}

#[handler]
fn seen() -> Json<Vec<String>> {
    Json(SEEN.take())
}

fanfare_sdk::module!(decide, on_message, say, burst, follow, unfollow, add, kick, page, members, open, seen);

fn host() -> TestHost {
    TestHost::builder(Module).name("chat").manifest(MANIFEST).workers(2).start()
}

fn data(client: &Client) -> Vec<Value> {
    let packets = client.received().into_iter().map(|message| message.payload.json::<Value>().unwrap());
    packets.map(|packet| packet["data"].clone()).collect()
}

#[test]
fn members_receive_the_messages_of_clients_and_guests_in_one_order() {
    let host = host();
    let [ada, bob] = [0, 1].map(|worker| host.connect().on(worker).open().unwrap());
    for client in [&ada, &bob] {
        client.subscribe("any", ()).unwrap();
        client.subscribe("any", json!("again")).unwrap();
    }
    ada.publish("any", json!({ "a": 1 })).unwrap();
    host.call("burst", "any").unwrap();
    assert_eq!(host.call("say?channel=any", "text").unwrap().text(), "none");
    host.publish_to_channel("any", ()).unwrap();
    bob.publish("any", vec![1, 2, 3, 255]).unwrap();
    let last = [json!("text"), json!(null), json!({ "base64": true, "data": "AQID/w==" })];
    let all: Vec<Value> = [json!({ "a": 1 })].into_iter().chain((1..=5).map(Value::from)).chain(last).collect();
    assert_eq!((data(&ada), data(&bob)), (all.clone(), all));
    assert_eq!(ada.received()[0].name, "#publish");
    assert_eq!((host.channel_messages("any").len(), host.channel_members("any").len()), (9, 2));
    bob.unsubscribe("any").unwrap();
    ada.disconnect(1000, "");
    host.publish_to_channel("any", "nobody").unwrap();
    assert_eq!((data(&ada).len(), data(&bob).len(), host.channel_members("any").len()), (9, 9, 0));
    assert_eq!(ada.publish("any", "x").unwrap_err().kind(), "unavailable");
}

#[test]
fn a_route_changes_and_refuses_messages_and_keeps_their_order() {
    let host = host();
    let client = host.connect().open().unwrap();
    client.subscribe("chat/routed/1", ()).unwrap();
    client.publish("chat/routed/1", json!("a")).unwrap();
    assert_eq!(client.publish("chat/routed/1", json!("refuse")).unwrap_err().failure().unwrap().name, "no");
    let refused = client.publish("chat/routed/1", json!("status")).unwrap_err();
    assert_eq!((refused.failure().unwrap().name.as_str(), refused.failure().unwrap().status), ("refused", 302));
    client.publish("chat/routed/1", json!("reply")).unwrap();
    let failed = host.call("say?channel=chat/routed/1", "\"refuse\"").unwrap_err();
    assert_eq!(failed.failure().unwrap().name, "no");
    host.call("burst", "chat/routed/1").unwrap();
    host.settle();
    let changed = |text: &str| json!([text]);
    let expected: Vec<Value> =
        [changed("\"a\""), json!("reply")].into_iter().chain(["1", "2", "3", "4", "5"].map(changed)).collect();
    assert_eq!(data(&client), expected);
    assert_eq!(client.subscribe("chat/routed/2", json!("refuse")).unwrap_err().kind(), "failure");
    assert!(host.channel_members("chat/routed/2").is_empty());
    client.unsubscribe("chat/routed/1").unwrap();
    let seen: Vec<String> = host.call("seen", ()).unwrap().json().unwrap();
    assert_eq!(
        (seen.first().unwrap().as_str(), seen.last().unwrap().as_str()),
        ("subscribe chat/routed/1", "unsubscribe chat/routed/1")
    );
}

#[test]
fn deliver_decides_for_each_client() {
    let host = host();
    let [ada, bob] = [0, 1].map(|_| host.connect().open().unwrap());
    for client in [&ada, &bob] {
        client.subscribe("chat/each", ()).unwrap();
    }
    host.publish_to_channel("chat/each", json!("x")).unwrap();
    host.publish_to_channel("chat/each", json!("refuse")).unwrap();
    host.settle();
    for client in [&ada, &bob] {
        assert_eq!(data(client), [json!({ "for": client.id(), "was": "\"x\"" })]);
    }
    let kept = host.channel_messages("chat/each");
    assert_eq!((kept.len(), kept[0].payload.as_text()), (2, Some("\"x\"")), "kept as published");
}

#[test]
fn a_history_is_read_after_a_position() {
    let host = host();
    let client = host.connect().open().unwrap();
    client.subscribe("chat/kept/1", ()).unwrap();
    for place in ["test-1", "test-2", "test-3"] {
        assert_eq!(host.call("say?channel=chat/kept/1", "x").unwrap().text(), place);
    }
    let positions = client.received().into_iter().map(|message| message.payload.json::<Value>().unwrap());
    let positions: Vec<Value> = positions.map(|packet| packet["position"].clone()).collect();
    assert_eq!(positions, ["test-1", "test-2", "test-3"]);
    let page = |channel: &str, after: Value| {
        host.call(&format!("page?channel={channel}"), after.to_string().as_str()).unwrap().json::<Value>().unwrap()
    };
    for (after, expected) in [
        (json!(null), json!([[2, 3], 3, false])),
        (json!("test-0"), json!([[2, 3], 3, false])),
        (json!("test-1"), json!([[2, 3], 3, true])),
        (json!("test-2"), json!([[3], 3, true])),
        (json!("test-3"), json!([[], 3, true])),
        (json!("other-2"), json!([[2, 3], 3, false])),
    ] {
        assert_eq!(page("chat/kept/1", after.clone()), expected, "{after}");
    }
    assert_eq!(page("any", json!(null)), json!([[], 0, true]));
    assert_eq!(host.call("page?channel=any", "\"nothing\"").unwrap_err().kind(), "failure");
}

#[test]
fn presence_lists_and_announces_members() {
    let host = host();
    let [ada, bob] = [0, 1].map(|_| host.connect().open().unwrap());
    bob.subscribe("presence/chat/all", ()).unwrap();
    ada.subscribe("chat/all", json!({ "name": "ada" })).unwrap();
    host.settle();
    let members = host.call("members", "chat/all").unwrap().json::<Value>().unwrap();
    assert_eq!(members, json!([[ada.id(), "checked"]]), "the route has replaced the data");
    ada.disconnect(1000, "");
    host.settle();
    let id = ada.id().split_once('/').unwrap().1;
    let member = json!({ "id": id, "uid": null, "info": "checked" });
    assert_eq!(
        data(&bob),
        [
            json!({ "action": "join", "member": member, "count": 1 }),
            json!({ "action": "leave", "member": member, "count": 0 }),
        ]
    );
    let seen: Vec<String> = host.call("seen", ()).unwrap().json().unwrap();
    assert_eq!(seen, ["subscribe chat/all", "subscribe chat/all", "join chat/all", "leave chat/all"]);
    assert_eq!(bob.publish("presence/chat/all", "x").unwrap_err().kind(), "forbidden");
    assert_eq!(host.call("members", "any").unwrap_err().failure().unwrap().name, "invalid");
}

#[test]
fn a_guest_adds_and_kicks_out_clients() {
    let host = host();
    let client = host.connect().open().unwrap();
    let plain = host.connect().socket("live").open().unwrap();
    assert_eq!(plain.subscribe("chat/1", ()).unwrap_err().kind(), "invalid");
    for channel in ["chat/1", "chat/named/1"] {
        for (count, client) in (1..).zip([&client, &plain]) {
            let added = host.call(&format!("add?channel={channel}"), client.id()).unwrap();
            assert_eq!(added.json::<u32>().unwrap(), count);
        }
        host.publish_to_channel(channel, json!(1)).unwrap();
    }
    let received: Vec<_> = plain.received().into_iter().map(|message| (message.name, message.payload)).collect();
    assert_eq!(received[0], (String::new(), Payload::Text("1".to_owned())));
    let envelope: Value = received[1].1.json().unwrap();
    assert_eq!(envelope, json!({ "channel": "chat/named/1", "data": 1, "position": "test-1" }));
    for (count, client) in [(1, &client), (0, &plain)] {
        let left = host.call("kick?channel=chat/1", client.id()).unwrap();
        assert_eq!(left.json::<u32>().unwrap(), count);
    }
    host.call("kick?channel=chat/1", client.id()).unwrap();
    let last = client.received().pop().unwrap();
    assert_eq!(last.name, "#kickOut");
    assert_eq!(last.payload.json::<Value>().unwrap(), json!({ "channel": "chat/1", "message": "bye" }));
    assert_eq!((client.received().len(), plain.received().len()), (3, 2));
    assert_eq!(host.call("add?channel=chat/1", "nobody").unwrap_err().failure().unwrap().name, "not-found");
}

#[test]
fn a_guest_subscribes_a_route_until_it_ends_the_subscription() {
    let host = host();
    let name = host.call("follow", "chat/kept/2").unwrap().text().to_owned();
    assert_eq!(host.call("follow", "chat/kept/2").unwrap().text(), name);
    host.publish_to_channel("chat/kept/2", json!(1)).unwrap();
    host.settle();
    host.restart(0);
    host.publish_to_channel("chat/kept/2", json!(2)).unwrap();
    host.settle();
    host.call("leave", &*name).unwrap();
    host.publish_to_channel("chat/kept/2", json!(3)).unwrap();
    host.settle();
    let lines: Vec<String> = host.logs().into_iter().map(|line| line.message).collect();
    let line = |number: u32| format!("{name} chat/kept/2 Some(\"test-{number}\") {number}");
    assert_eq!(lines, [line(1), line(2)]);
    assert_eq!(host.call("leave", &*name).unwrap_err().failure().unwrap().name, "not-found");
}

#[test]
fn names_of_channels_are_checked() {
    let host = host();
    let client = host.connect().open().unwrap();
    let long = "x".repeat(257);
    for name in ["", "a\n", &long] {
        assert_eq!(client.subscribe(name, ()).unwrap_err().kind(), "invalid", "{name:?}");
        assert_eq!(host.publish_to_channel(name, ()).unwrap_err().kind(), "invalid", "{name:?}");
    }
    assert_eq!(host.call("decide", ()).unwrap_err().kind(), "forbidden");
    assert_eq!(host.call("open", ()).unwrap().json::<bool>().ok(), Some(true));
}

#[test]
fn a_position_is_read_as_it_is_written() {
    let position = Position { epoch: "1f".to_owned(), offset: 7 };
    assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
    for wrong in ["", "1f", "1f-", "1f-x"] {
        assert_eq!(wrong.parse::<Position>().unwrap_err().kind(), "invalid", "{wrong}");
    }
}
