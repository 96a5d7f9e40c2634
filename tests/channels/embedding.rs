//! Channels of the embedding program.

use fanfare::{CallError, ChannelItem, ChannelPosition};

use super::*;

#[tokio::test]
async fn the_program_publishes_and_subscribes_in_the_order_of_all_others() {
    let host = host().await;
    let running = host.running();
    let channel = "channels/kept/program";
    let mut messages = running.subscribe_channel(channel).unwrap();
    let mut client = Client::subscribed(&host, 2, channel).await;
    let first = running.publish_to_channel(channel, r#"{"n":1}"#).await.unwrap().unwrap();
    assert_eq!(first.offset, 1);
    client.publish(channel, json!({ "do": "change", "to": 2 })).await;
    let publish = json!({ "do": "publishAndWait", "channel": channel, "payload": { "json": 3 } });
    let third = host.channels(publish).await;
    assert_eq!(third, format!("{:x}-3", first.epoch));
    let mut next = async || match messages.next().await {
        ChannelItem::Message(message) => message,
        other => panic!("{other:?}"),
    };
    let (one, two, three) = (next().await, next().await, next().await);
    assert_eq!((one.offset, one.session, one.payload.to_text().as_ref()), (1, None, r#"{"n":1}"#));
    assert!(two.session.is_some_and(|session| session.ends_with(&client.id)));
    assert_eq!((two.payload.to_text().as_ref(), three.offset), ("2", 3));
    assert_eq!(messages.try_next(), None);
    assert_eq!(client.data(3).await, [json!({ "n": 1 }), json!(2), json!(3)]);
    let page = running.channel_history(channel, Some(first), 10).await.unwrap();
    let offsets: Vec<u64> = page.messages.iter().map(|message| message.offset).collect();
    assert_eq!((page.complete, page.latest, offsets), (true, 3, vec![2, 3]));
    let newest = running.channel_history(channel, None, 1).await.unwrap();
    assert_eq!((newest.messages.len(), newest.messages[0].offset), (1, 3));
    let unknown = ChannelPosition { epoch: 1, offset: 1 };
    assert!(!running.channel_history(channel, Some(unknown), 10).await.unwrap().complete);
}

#[tokio::test]
async fn the_program_sees_members_and_ends_subscriptions() {
    let host = host().await;
    let running = host.running();
    let channel = "channels/presence/program";
    let mut client = Client::open(&host, 2).await;
    let session = client.ok("sign-in", json!("ada")).await;
    let session = session.as_str().unwrap();
    client.ok("#subscribe", json!({ "channel": channel, "data": [1] })).await;
    let members = running.channel_members(channel).await.unwrap();
    assert_eq!((members.len(), running.channel_count(channel)), (1, 1));
    assert_eq!(
        (&*members[0].session, members[0].uid.as_deref(), members[0].info.as_deref()),
        (session, Some("ada"), Some("[1]"))
    );
    assert_eq!(running.kick_out(channel, session, "closing"), Ok(true));
    assert_eq!(running.kick_out(channel, session, "closing"), Ok(false));
    let told = json!({ "event": "#kickOut", "data": { "message": "closing", "channel": channel } });
    assert_eq!(client.event().await, told);
    assert!(matches!(running.kick_out(channel, "none", ""), Err(CallError::NotFound(_))));
    assert!(matches!(running.channel_members("any").await, Err(CallError::Invalid(_))));
}

#[tokio::test]
async fn the_program_learns_why_a_message_is_refused() {
    let host = host().await;
    let running = host.running();
    let refuse = json!({ "do": "refuse", "name": "No", "message": "no" }).to_string();
    match running.publish_to_channel("channels/publish/program", refuse).await {
        Err(CallError::Failure(failure)) => assert_eq!(failure.name, "No"),
        other => panic!("{other:?}"),
    }
    for (channel, code) in [("", "invalid"), ("a\n", "invalid"), ("presence/x", "forbidden")] {
        let error = running.publish_to_channel(channel, "x").await.unwrap_err();
        let found = match error {
            CallError::Invalid(_) => "invalid",
            CallError::Forbidden(_) => "forbidden",
            other => panic!("{other:?}"),
        };
        assert_eq!(found, code, "{channel:?}");
    }
}
