//! Clients that send what no honest one sends.

use super::*;

#[tokio::test]
async fn bad_data_gets_an_error_and_nothing_else() {
    let host = host().await;
    for version in [1, 2] {
        let mut client = Client::open(&host, version).await;
        let long = "x".repeat(257);
        for name in ["#subscribe", "#unsubscribe", "#publish", "#history", "#members"] {
            for data in [
                json!(null),
                json!(5),
                json!(true),
                json!([]),
                json!({}),
                json!({ "channel": null }),
                json!({ "channel": 5 }),
                json!({ "channel": ["a"] }),
                json!({ "channel": { "channel": "a" } }),
                json!({ "channel": "" }),
                json!({ "channel": long }),
                json!({ "channel": "a\n" }),
                json!({ "channel": "a\u{0}b" }),
                json!({ "base64": true, "data": "AAAA" }),
            ] {
                let error = client.error(name, data.clone()).await;
                let expected: &[&str] = match (name, version) {
                    ("#history" | "#members", _) => &["BrokerError"],
                    (_, 1) => &["BrokerError"],
                    _ => &["InvalidActionError"],
                };
                assert!(expected.iter().any(|name| error["name"] == *name), "{name} {data}: {error}");
                assert!(error["message"].as_str().unwrap().len() < 600, "{error}");
            }
            // Without a number, nobody gets an answer.
            client.transmit(name, json!({ "channel": 5 })).await;
        }
        assert_eq!(client.error("#nonsense", json!(1)).await["code"], "not-found");
        client.ok("#subscribe", json!("still here")).await;
        client.publish("still here", json!({ "a": [1, null, { "b": "\u{2028}" }] })).await;
        assert_eq!(client.data(1).await, [json!({ "a": [1, null, { "b": "\u{2028}" }] })]);
    }
    assert!(host.metric("fanfare_bound_reached_total", &["bound=\"stream-name\""]).await >= 1.0);
}

#[tokio::test]
async fn data_that_is_no_json_is_no_packet_and_unusual_json_stays_as_it_is() {
    let host = host().await;
    let mut client = Client::subscribed(&host, 2, "room").await;
    // The numbers and the spaces stay as they were written.
    let text = r##"{"event":"#publish","data":{"channel":"room","data":{ "big": 123456789012345678901234567890, "e": 1e400 }}}"##;
    client.socket.send(text).await;
    let received = client.socket.text().await;
    assert!(received.contains(r#"{ "big": 123456789012345678901234567890, "e": 1e400 }"#), "{received}");
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    client.socket.send(&format!(r##"{{"event":"#publish","data":{{"channel":"room","data":{deep}}}}}"##)).await;
    assert!(client.socket.text().await.contains(&deep));
    let without = json!({ "channel": "room" });
    client.ok("#publish", without).await;
    assert_eq!(client.message().await, json!({ "channel": "room" }));
}

#[tokio::test]
async fn a_client_with_10_000_subscriptions_is_stopped_at_the_limit_and_leaves_nothing() {
    let host = host().await;
    let mut client = Client::open(&host, 2).await;
    let mut sent = Vec::new();
    for batch in 0..10 {
        let first = sent.len() as u64 + 10_000;
        let events: Vec<Value> = (0..1_000)
            .map(|n| json!({ "event": "#subscribe", "data": format!("many/{batch}/{n}"), "cid": first + n }))
            .collect();
        client.socket.send(&json!(events).to_string()).await;
        sent.extend((0..1_000).map(|n| first + n));
    }
    let mut refused = 0;
    for number in sent {
        let answer = client.answer(number).await;
        if let Some(error) = answer.get("error") {
            assert_eq!(error["name"], "BrokerError", "{error}");
            refused += 1;
        }
    }
    assert_eq!(refused, 9_000, "the default limit is 1,000 channels");
    assert_eq!(host.metric("fanfare_channel_subscriptions", &[]).await, 1_000.0);
    drop(client);
    crate::harness::eventually("it has left all channels", || async {
        host.metric("fanfare_channel_subscriptions", &[]).await == 0.0
            && host.metric("fanfare_channels", &[]).await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_slows_nobody_down() {
    let host = with(json!({ "queue": { "events": 64, "bytes": "64KiB" } })).start().await;
    let mut slow = Client::subscribed(&host, 2, "flood").await;
    let mut reader = Client::subscribed(&host, 2, "flood").await;
    let mut publisher = Client::open(&host, 2).await;
    let text = "x".repeat(20_000);
    for number in 0..2_000 {
        publisher.publish("flood", json!([number, text])).await;
        assert_eq!(reader.message().await["data"][0], number);
        if host.running().channel_count("flood") == 1 {
            break;
        }
    }
    assert_eq!(host.running().channel_count("flood"), 1, "the slow client is gone");
    slow.socket.ended().await;
}

#[tokio::test]
async fn long_answers_wait_for_their_client_one_after_the_other() {
    let host = with(json!({ "queue": { "bytes": "64KiB" } })).start().await;
    let (room, crowd) = ("channels/history/long", "channels/presence/long");
    let mut client = Client::subscribed(&host, 2, room).await;
    for _ in 0..12 {
        client.publish(room, json!("x".repeat(4_000))).await;
    }
    let mut members = Vec::new();
    for _ in 0..12 {
        let mut member = Client::open(&host, 2).await;
        member.ok("#subscribe", json!({ "channel": crowd, "data": "y".repeat(4_000) })).await;
        members.push(member);
    }
    client.ok("#subscribe", json!({ "channel": crowd })).await;
    // The answers have more bytes than the sockets and the queue of a client that reads nothing.
    let event = |number: u64| {
        let (name, channel) = if number.is_multiple_of(2) { ("#history", room) } else { ("#members", crowd) };
        json!({ "event": name, "data": { "channel": channel }, "cid": number })
    };
    let events: Vec<Value> = (1_000..1_500).map(event).collect();
    client.socket.send(&json!(events).to_string()).await;
    for _ in 0..100 {
        for member in &mut members {
            member.publish("beside", json!(1)).await;
        }
    }
    for number in 1_000..1_500 {
        let answer = client.answer(number).await;
        let long = if number % 2 == 0 { &answer["data"]["messages"] } else { &answer["data"] };
        assert!(long.as_array().is_some_and(|list| !list.is_empty()), "{answer}");
    }
    client.ok("#unsubscribe", json!(room)).await;
}

#[tokio::test]
async fn the_announcements_of_a_channel_have_no_announcements() {
    let host = host().await;
    let channel = "channels/presence/1";
    let mut client = Client::open(&host, 2).await;
    for name in [format!("presence/presence/{channel}"), format!("presence/presence/presence/{channel}")] {
        client.ok("#subscribe", json!(name)).await;
        client.error("#publish", json!({ "channel": name, "data": 1 })).await;
        assert_eq!(client.error("#members", json!({ "channel": name })).await["code"], "invalid");
    }
    client.ok("#subscribe", json!(format!("presence/{channel}"))).await;
    client.ok("#subscribe", json!(channel)).await;
    assert_eq!(client.message().await["channel"], json!(format!("presence/{channel}")));
    assert!(client.has_nothing().await);
}
