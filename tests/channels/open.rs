//! Channels without a route.

use super::*;
use crate::harness::{Received, WebSocket, eventually, root};

#[tokio::test]
async fn members_get_all_messages_in_one_order_also_their_own() {
    let host = host().await;
    for version in [1, 2] {
        let channel = format!("any/{version}");
        let mut publisher = Client::subscribed(&host, version, &channel).await;
        let mut reader = Client::open(&host, version).await;
        // Only the name is enough.
        reader.ok("#subscribe", json!(channel)).await;
        let mut stranger = Client::open(&host, version).await;
        for number in 0..50 {
            let data = json!({ "channel": channel, "data": { "number": number } });
            match number % 2 {
                0 => publisher.transmit("#publish", data).await,
                _ => assert_eq!(publisher.ok("#publish", data).await, Value::Null),
            }
        }
        let expected: Vec<Value> = (0..50).map(|number| json!({ "number": number })).collect();
        assert_eq!(publisher.data(50).await, expected);
        assert_eq!(reader.data(50).await, expected);
        // A client may publish without being a member.
        stranger.publish(&channel, json!("hi")).await;
        assert_eq!(reader.message().await, json!({ "channel": channel, "data": "hi" }));
        assert!(stranger.has_nothing().await);
    }
}

#[tokio::test]
async fn the_events_of_a_batch_keep_their_order() {
    let host = host().await;
    let mut client = Client::open(&host, 1).await;
    let event = |name: &str, data: Value| json!({ "event": name, "data": data, "cid": 900 });
    let publish = |data: u32| json!({ "event": "#publish", "data": { "channel": "batch", "data": data } });
    let batch = json!([
        publish(1),
        event("#subscribe", json!({ "channel": "batch", "batch": true })),
        publish(2),
        publish(3),
        { "event": "#unsubscribe", "data": "batch" },
        publish(4),
        { "event": "#subscribe", "data": "batch" },
        publish(5),
    ]);
    client.socket.send(&batch.to_string()).await;
    assert_eq!(client.data(3).await, [json!(2), json!(3), json!(5)]);
    assert_eq!(client.answer(900).await, json!({ "rid": 900 }));
}

#[tokio::test]
async fn a_member_that_unsubscribes_gets_no_more_messages() {
    let host = host().await;
    for version in [1, 2] {
        let mut client = Client::subscribed(&host, version, "room").await;
        let mut other = Client::subscribed(&host, version, "room").await;
        client.ok("#unsubscribe", json!("room")).await;
        other.publish("room", json!(1)).await;
        assert_eq!(other.data(1).await, [json!(1)]);
        assert!(client.has_nothing().await);
        let error = client.error("#unsubscribe", json!("room")).await;
        let inner = ["", "InvalidActionError: "][version - 1];
        let id = &client.id;
        assert_eq!(
            error,
            json!({
                "message": format!("Failed to unsubscribe socket from the room channel - {inner}Socket {id} tried to unsubscribe from a channel which it is not subscribed to"),
                "name": "BrokerError",
            })
        );
        other.ok("#unsubscribe", json!("room")).await;
    }
}

#[tokio::test]
async fn a_client_that_is_kicked_out_is_told_why() {
    let host = host().await;
    let mut client = Client::subscribed(&host, 2, "lobby/1").await;
    let mut other = Client::subscribed(&host, 1, "lobby/1").await;
    let session = client.ok("sign-in", json!("ada")).await;
    let kick = json!({ "do": "kickOut", "channel": "lobby/1", "session": session, "message": "be nice" });
    assert_eq!(host.channels(kick.clone()).await, Value::Null);
    let told = json!({ "event": "#kickOut", "data": { "message": "be nice", "channel": "lobby/1" } });
    assert_eq!(client.event().await, told);
    other.publish("lobby/1", json!(1)).await;
    assert_eq!(other.data(1).await, [json!(1)]);
    // Who is not a member is not told again.
    assert_eq!(host.channels(kick).await, Value::Null);
    assert!(client.has_nothing().await);
    assert_eq!(host.channels(json!({ "do": "count", "channel": "lobby/1" })).await, 1);
    let kick = json!({ "do": "kickOut", "channel": "lobby/1", "session": "node/none", "message": "" });
    assert_eq!(host.channels(kick).await["error"], "not-found");
}

#[tokio::test]
async fn a_subscription_that_waits_for_authentication_is_refused_until_the_client_has_a_token() {
    let key = root().join("tests/socketcluster/secret.txt");
    let host = with(json!({ "auth": { "keyFile": key.to_str().unwrap() } })).and("sessions");
    let host = host.grant("sessions", json!({ "sessions": true })).start().await;
    for version in [1, 2] {
        let mut client = Client::open(&host, version).await;
        let waits = json!({ "channel": "room", "waitForAuth": true });
        assert_eq!(client.error("#subscribe", waits.clone()).await["name"], "AuthTokenError");
        client.ok("#subscribe", json!({ "channel": "room", "waitForAuth": false })).await;
        client.ok("#unsubscribe", json!("room")).await;
        let claims = json!({ "do": "authenticate", "session": null, "claims": "{}", "expires_ms": null });
        client.ok("sessions.use", claims).await;
        assert_eq!(client.event().await["event"], "#setAuthToken");
        client.ok("#subscribe", waits).await;
        client.publish("room", json!(1)).await;
        assert_eq!(client.data(1).await, [json!(1)]);
    }
}

#[tokio::test]
pub async fn a_session_has_as_many_channels_as_socket_channel_limit_allows() {
    let host = with(json!({ "socketChannelLimit": 2 })).start().await;
    for version in [1, 2] {
        let mut client = Client::open(&host, version).await;
        client.ok("#subscribe", json!("a")).await;
        client.ok("#subscribe", json!("b")).await;
        client.ok("#subscribe", json!("b")).await;
        let error = client.error("#subscribe", json!({ "channel": "c" })).await;
        let inner = ["", "InvalidActionError: "][version - 1];
        let id = &client.id;
        assert_eq!(
            error,
            json!({
                "message": format!("Failed to subscribe socket to the c channel - {inner}Socket {id} tried to exceed the channel subscription limit of 2"),
                "name": "BrokerError",
            })
        );
        client.ok("#unsubscribe", json!("a")).await;
        client.ok("#subscribe", json!("c")).await;
    }
}

#[tokio::test]
async fn clients_publish_only_if_the_operator_lets_them() {
    let host = with(json!({ "allowClientPublish": false })).start().await;
    for version in [1, 2] {
        let mut client = Client::subscribed(&host, version, "lobby/1").await;
        let error = client.error("#publish", json!({ "channel": "lobby/1", "data": 1 })).await;
        assert_eq!(error, json!({ "message": "Client publish feature is disabled", "name": "InvalidActionError" }));
        client.transmit("#publish", json!({ "channel": "lobby/1", "data": 1 })).await;
        let publish = json!({ "do": "publish", "channel": "lobby/1", "payload": { "json": "guests may" } });
        assert_eq!(host.channels(publish).await, Value::Null);
        assert_eq!(client.data(1).await, [json!("guests may")]);
    }
}

#[tokio::test]
async fn a_channel_that_no_module_declares_is_closed_if_the_operator_says_so() {
    let host = with(json!({ "channels": "declared" })).start().await;
    let mut client = Client::open(&host, 2).await;
    for (name, data) in [("#subscribe", json!("any")), ("#publish", json!({ "channel": "any", "data": 1 }))] {
        let error = client.error(name, data).await;
        assert_eq!((&error["name"], &error["code"]), (&json!("ForbiddenError"), &json!("forbidden")), "{error}");
        assert!(error["message"].as_str().unwrap().contains("websocket.channels"), "{error}");
    }
    client.ok("#subscribe", json!("channels/history")).await;
    client.publish("channels/history", json!(1)).await;
    assert_eq!(client.data(1).await, [json!(1)]);
}

#[tokio::test]
async fn a_channel_of_a_module_that_does_not_serve_is_closed() {
    let host = with(json!({})).and_as("echo", "other").manifest("other", json!({ "component": "missing.wasm" }));
    let host = host.start().await;
    let mut client = Client::open(&host, 2).await;
    for channel in ["other", "other/1", "presence/other/1"] {
        let error = client.error("#subscribe", json!(channel)).await;
        assert_eq!(error["code"], "unavailable", "{channel}: {error}");
    }
    let error = client.error("#publish", json!({ "channel": "other/1", "data": 1 })).await;
    assert_eq!(error["code"], "unavailable", "{error}");
    client.ok("#subscribe", json!("others/1")).await;
}

#[tokio::test]
async fn a_guest_uses_the_channels_of_others_only_with_a_grant() {
    let host = host().await;
    let publish = |channel: &str| json!({ "do": "publish", "channel": channel, "payload": { "text": "hi" } });
    for channel in ["lobby/1", "channels", "channels/any"] {
        assert_eq!(host.channels(publish(channel)).await, Value::Null, "{channel}");
    }
    let refused = host.channels(publish("other")).await;
    assert_eq!(refused["error"], "forbidden", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("\"other\""), "{refused}");
    assert_eq!(host.channels(publish("presence/channels/1")).await["error"], "forbidden");
    assert_eq!(host.channels(publish("channels/\n")).await["error"], "invalid");
}

#[tokio::test]
async fn a_guest_publishes_with_and_without_waiting_and_subscribes_clients() {
    let host = host().await;
    let mut client = Client::open(&host, 2).await;
    let session = client.ok("sign-in", json!("ada")).await;
    let channel = "channels/history/guests";
    assert_eq!(host.channels(json!({ "do": "add", "channel": channel, "session": session })).await, Value::Null);
    assert_eq!(host.channels(json!({ "do": "count", "channel": channel })).await, 1);
    let payload = json!({ "json": { "a": 1 } });
    let first = host.channels(json!({ "do": "publishAndWait", "channel": channel, "payload": payload })).await;
    assert!(first.as_str().unwrap().ends_with("-1"), "{first}");
    let payload = json!({ "bytes": [0, 255] });
    assert_eq!(host.channels(json!({ "do": "publish", "channel": channel, "payload": payload })).await, Value::Null);
    let message = client.message().await;
    assert_eq!((&message["data"], &message["position"]), (&json!({ "a": 1 }), &first));
    assert_eq!(client.message().await["data"], json!({ "base64": true, "data": "AP8=" }));
    let page = host.channels(json!({ "do": "history", "channel": channel, "after": null, "most": 10 })).await;
    assert_eq!((&page["latest"], &page["complete"]), (&json!(2), &json!(true)), "{page}");
    assert_eq!(page["messages"][0]["text"], r#"{"a":1}"#);
}

#[tokio::test]
async fn plain_websockets_get_the_payload_or_an_envelope_if_the_module_says_so() {
    let host = with(json!({})).manifest(GUEST, json!({ "sockets": { "named": { "path": "sign-in" } } })).start().await;
    for (channel, has_envelope) in [("channels/x", false), ("channels/envelope/x", true)] {
        let mut plain = WebSocket::open(host.http, &format!("/api/{GUEST}/named")).await;
        let session = plain.ask(json!("ada")).await;
        let add = json!({ "do": "add", "channel": channel, "session": session });
        assert_eq!(host.channels(add).await, Value::Null);
        let publish = json!({ "do": "publish", "channel": channel, "payload": { "json": { "a": 1 } } });
        host.channels(publish).await;
        let message = plain.json().await;
        if has_envelope {
            assert_eq!((&message["channel"], &message["data"]), (&json!(channel), &json!({ "a": 1 })));
            assert!(message["position"].as_str().unwrap().ends_with("-1"), "{message}");
        } else {
            assert_eq!(message, json!({ "a": 1 }));
        }
        let publish = json!({ "do": "publish", "channel": channel, "payload": { "bytes": [1, 2] } });
        host.channels(publish).await;
        if has_envelope {
            assert_eq!(plain.json().await["data"], json!({ "base64": true, "data": "AQI=" }));
        } else {
            assert_eq!(plain.next().await, Received::Bytes(vec![1, 2]));
        }
        // A plain WebSocket is not told that it was kicked out.
        let kick = json!({ "do": "kickOut", "channel": channel, "session": session, "message": "go" });
        assert_eq!(host.channels(kick).await, Value::Null);
        assert_eq!(plain.ask(json!("bob")).await, session);
        assert_eq!(host.channels(json!({ "do": "count", "channel": channel })).await, 0);
    }
}

#[tokio::test]
async fn a_session_that_ends_leaves_its_channels() {
    let host = host().await;
    let mut client = Client::subscribed(&host, 2, "lobby/a").await;
    client.ok("#subscribe", json!("lobby/b")).await;
    let count = async |channel: &str| host.running().channel_count(channel);
    assert_eq!((count("lobby/a").await, count("lobby/b").await), (1, 1));
    client.socket.close(1000, "").await;
    eventually("it has left", || async { count("lobby/a").await + count("lobby/b").await == 0 }).await;
    // So does one that sends nothing but the end of its connection.
    let client = Client::subscribed(&host, 2, "lobby/a").await;
    drop(client);
    eventually("it has left", || async { count("lobby/a").await == 0 }).await;
}
