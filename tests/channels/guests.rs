//! The functions that guests import, in both forms.

use serde_json::{Value, json};

use super::client::Client;
use super::{GUEST, host, with};
use crate::harness::{Started, TestHost, json_of};

/// The routes whose handlers use the futures and the blocking twins.
const FORMS: [&str; 2] = ["use", "blocking"];

impl Started {
    async fn used(&self, form: &str, what: Value) -> Value {
        self.post(&format!("/api/{GUEST}/{form}"), what.to_string()).await.json()
    }
}

/// Publishes text, and returns the position or the error.
async fn published(host: &Started, form: &str, channel: &str, payload: Value) -> Value {
    host.used(form, json!({ "do": "publishAndWait", "channel": channel, "payload": payload })).await
}

async fn page(host: &Started, form: &str, channel: &str, after: Value, most: u32) -> Value {
    host.used(form, json!({ "do": "history", "channel": channel, "after": after, "most": most })).await
}

fn offsets(page: &Value) -> Vec<u64> {
    let messages = page["messages"].as_array().unwrap_or_else(|| panic!("{page}"));
    messages.iter().map(|message| message["offset"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_guest_that_waits_gets_the_place_of_its_message_and_reads_the_history_after_it() {
    let host = host().await;
    for form in FORMS {
        let channel = format!("channels/history/{form}");
        let first = published(&host, form, &channel, json!({ "text": "1" })).await;
        let (epoch, offset) = first.as_str().unwrap().split_once('-').unwrap();
        assert_eq!(offset, "1");
        for number in 2..=5 {
            let place = published(&host, form, &channel, json!({ "text": number.to_string() })).await;
            assert_eq!(place, format!("{epoch}-{number}"));
        }
        let after = |offset: u64| json!({ "epoch": epoch, "offset": offset });
        for (position, most, expected, complete) in [
            (json!(null), 2, vec![4, 5], false),
            (json!(null), 10, vec![1, 2, 3, 4, 5], true),
            (after(0), 10, vec![1, 2, 3, 4, 5], true),
            (after(3), 10, vec![4, 5], true),
            (after(1), 2, vec![2, 3], true),
            (after(5), 10, vec![], true),
            (json!({ "epoch": "1", "offset": 3 }), 2, vec![1, 2], false),
            (json!({ "epoch": "no epoch", "offset": 3 }), 2, vec![1, 2], false),
        ] {
            let page = page(&host, form, &channel, position.clone(), most).await;
            assert_eq!((offsets(&page), &page["complete"]), (expected, &json!(complete)), "{form} {position}: {page}");
            assert_eq!((&page["epoch"], &page["latest"]), (&json!(epoch), &json!(5)));
        }
        assert_eq!(page(&host, form, &channel, json!(null), 0).await["latest"], 5);
    }
}

#[tokio::test]
async fn a_history_keeps_text_bytes_and_nothing_as_they_were_sent() {
    let host = host().await;
    let channel = "channels/history/kinds";
    for payload in
        [json!({ "text": "no json" }), json!({ "bytes": [0, 255] }), json!(null), json!({ "json": { "a": 1 } })]
    {
        assert!(published(&host, "use", channel, payload.clone()).await.is_string(), "{payload}");
    }
    let page = page(&host, "use", channel, json!(null), 10).await;
    let texts: Vec<&Value> = page["messages"].as_array().unwrap().iter().map(|message| &message["text"]).collect();
    assert_eq!(texts, [&json!("no json"), &json!(null), &json!(""), &json!(r#"{"a":1}"#)]);
    assert_eq!((&page["messages"][1]["bytes"], &page["messages"][2]["bytes"]), (&json!([0, 255]), &json!([])));
    let at = page["messages"][0]["atMs"].as_u64().unwrap();
    assert!(at > 1_700_000_000_000 && page["messages"][0]["session"].is_null());
}

#[tokio::test]
async fn a_page_has_at_most_1000_messages() {
    let manifest = json!({ "channels": { "channels/history/*": { "history": { "count": 2_000, "bytes": "4MiB" } } } });
    let host = with(json!({})).manifest(GUEST, manifest).start().await;
    let body = json!({ "channel": "channels/history/many", "from": 1, "to": 1_500 }).to_string();
    assert_eq!(host.post(&format!("/api/{GUEST}/burst"), body).await.json(), json!(1_500));
    let all = page(&host, "use", "channels/history/many", json!(null), 5_000).await;
    assert_eq!((offsets(&all).len(), offsets(&all)[0]), (1_000, 501));
    let after = json!({ "epoch": all["epoch"], "offset": 0 });
    let first = page(&host, "use", "channels/history/many", after, 5_000).await;
    assert_eq!(offsets(&first), (1..=1_000).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_guest_that_waits_learns_how_the_route_decides() {
    let host = host().await;
    for form in FORMS {
        let channel = format!("channels/kept/{form}");
        let order = |order: Value| json!({ "json": order });
        let refused = order(json!({ "do": "refuse", "name": "spam", "message": "no", "status": 422 }));
        let error = published(&host, form, &channel, refused).await;
        assert_eq!(
            (&error["error"], &error["failure"]),
            (&json!("failure"), &json!({ "name": "spam", "status": 422 }))
        );
        let error = published(&host, form, &channel, order(json!({ "do": "reply", "status": 409 }))).await;
        assert_eq!((&error["error"], &error["failure"]["status"]), (&json!("failure"), &json!(409)), "{error}");
        let error = published(&host, form, &channel, order(json!({ "do": "panic" }))).await;
        assert_eq!(error["error"], "crashed", "{error}");
        let changed = published(&host, form, &channel, order(json!({ "do": "change", "to": [1] }))).await;
        assert!(changed.as_str().is_some_and(|place| place.ends_with("-1")), "nothing was published before: {changed}");
        let same = published(&host, form, &channel, order(json!({ "do": "reply", "status": 204 }))).await;
        assert!(same.is_string(), "{same}");
        let kept = page(&host, form, &channel, json!(null), 10).await;
        assert_eq!(kept["messages"][0]["text"], "[1]");
        assert_eq!(kept["messages"][1]["text"], r#"{"do":"reply","status":204}"#, "a reply changes nothing");
    }
}

#[tokio::test]
async fn a_guest_lists_the_members_of_a_channel_with_presence() {
    let host = host().await;
    let mut client = Client::open(&host, 1).await;
    let id = client.ok("sign-in", json!("ada")).await;
    client.ok("#subscribe", json!({ "channel": "channels/presence/1", "data": { "name": "Ada" } })).await;
    for form in FORMS {
        let members = host.used(form, json!({ "do": "members", "channel": "channels/presence/1" })).await;
        assert_eq!(members, json!([{ "session": id, "uid": "ada", "info": r#"{"name":"Ada"}"# }]), "{form}");
        for channel in ["channels/plain", "channels/history/1", "presence/channels/presence/1"] {
            let error = host.used(form, json!({ "do": "members", "channel": channel })).await;
            assert_eq!(error["error"], "invalid", "{channel}: {error}");
        }
    }
    assert_eq!(host.channels(json!({ "do": "count", "channel": "channels/presence/1" })).await, 1);
    assert_eq!(host.channels(json!({ "do": "count", "channel": "nothing" })).await, 0);
}

#[tokio::test]
async fn the_arguments_of_a_guest_are_bounded() {
    let host = with(json!({})).limit(GUEST, "payload", "64KiB").start().await;
    let long = |bytes: usize| format!("channels/{}", "x".repeat(bytes - 9));
    for form in FORMS {
        assert!(published(&host, form, &long(256), json!(null)).await.is_null());
        for name in [long(257), String::new(), "channels/\n".to_owned()] {
            let error = published(&host, form, &name, json!(null)).await;
            assert_eq!(error["error"], "invalid", "{form} {name:?}: {error}");
            assert_eq!(page(&host, form, &name, json!(null), 1).await["error"], "invalid");
            assert_eq!(host.used(form, json!({ "do": "members", "channel": name })).await["error"], "invalid");
        }
        assert!(published(&host, form, "channels/a", json!({ "size": 65_536 })).await.is_null());
        let error = published(&host, form, "channels/a", json!({ "size": 65_537 })).await;
        let why = "the message has 65537 bytes, but limits.payload of channels allows 65536";
        assert_eq!((&error["error"], &error["message"]), (&json!("invalid"), &json!(why)));
        let error = published(&host, form, "presence/channels/a", json!(null)).await;
        assert_eq!(error["error"], "forbidden", "{error}");
    }
    let error = host.channels(json!({ "do": "publish", "channel": "channels/a", "payload": { "size": 65_537 } })).await;
    assert_eq!(error["error"], "invalid");
    let mut client = Client::open(&host, 1).await;
    let session = client.ok("sign-in", json!("ada")).await;
    let kick = json!({ "do": "kickOut", "channel": "channels/a", "session": session, "message": "" });
    assert!(host.channels(kick).await.is_null(), "a client that is no member is not an error");
    for what in ["add", "kickOut"] {
        let nobody = json!({ "do": what, "channel": "channels/a", "session": "nobody", "message": "" });
        assert_eq!(host.channels(nobody).await["error"], "not-found", "{what}");
    }
}

#[tokio::test]
async fn the_membership_of_other_clients_needs_a_grant() {
    let host: TestHost = with(json!({})).manifest(GUEST, json!({ "capabilities": { "sessions": false } }));
    let host = host.start().await;
    let mut own = Client::open(&host, 1).await;
    let mut other = Client::open(&host, 2).await;
    let own_id = own.ok("sign-in", json!("ada")).await;
    let other_id = other.ok("sign-in", json!("bob")).await;
    let change = |what: &str, session: &Value| json!({ "do": what, "channel": "channels/a", "session": session, "message": "bye" });
    for what in ["add", "kickOut"] {
        let error = own.ok("/session/use", change(what, &other_id)).await;
        assert_eq!(error["error"], "forbidden", "{what}: {error}");
        assert!(error["message"].as_str().unwrap().contains("\"sessions\": true"), "{error}");
        assert_eq!(own.ok("/session/use", change(what, &own_id)).await, json!(null), "{what}");
        let outside = json_of(&host.call("worker-0", GUEST, "use", change(what, &own_id).to_string()).await);
        assert_eq!(outside["error"], "forbidden", "{what}: the call belongs to no session");
    }
    let kicked = own.event().await;
    assert_eq!((&kicked["event"], &kicked["data"]["message"]), (&json!("#kickOut"), &json!("bye")));
}
