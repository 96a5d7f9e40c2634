//! Subscriptions of guests to channels.

use serde_json::{Value, json};

use crate::harness::{Started, TestHost, eventually, json_of};

const CHANNELS: &str = "channels";

/// A module like the receiver, whose crashes and swaps touch only itself.
const PUBLISHER: &str = "publisher";

fn host() -> TestHost {
    let asks = json!({ "capabilities": { "channels": ["channels/*"] } });
    TestHost::with(CHANNELS)
        .grant(CHANNELS, json!({ "sessions": true, "channels": ["lobby/*"] }))
        .and_as(CHANNELS, PUBLISHER)
        .manifest_text(PUBLISHER, |text| {
            let mut manifest: Value = serde_json::from_str(&text).unwrap();
            manifest.as_object_mut().unwrap().remove("channels");
            manifest.to_string()
        })
        .manifest(PUBLISHER, asks)
        .grant(PUBLISHER, json!({ "sessions": true, "channels": ["channels/*"] }))
        .workers(1)
}

impl Started {
    async fn listens(&self, channel: &str, route: &str) -> Value {
        let body = json!({ "do": "subscribe", "channel": channel, "route": route }).to_string();
        json_of(&self.call("worker-0", CHANNELS, "use", body).await)
    }

    async fn publishes(&self, channel: &str, from: u32, to: u32) {
        let body = json!({ "channel": channel, "from": from, "to": to }).to_string();
        let count = self.call("worker-0", PUBLISHER, "burst", body).await;
        assert_eq!(json_of(&count), json!(to - from + 1), "{count}");
    }

    async fn heard(&self) -> Vec<Value> {
        let received = self.call("worker-0", CHANNELS, "received", "").await;
        json_of(&received).as_array().unwrap_or_else(|| panic!("{received}")).clone()
    }

    async fn until_heard(&self, count: usize) -> Vec<Value> {
        eventually("the messages were recorded", || async { self.heard().await.len() >= count }).await;
        self.heard().await
    }
}

fn bodies(heard: &[Value]) -> Vec<u64> {
    heard.iter().map(|message| message["body"].as_u64().unwrap_or_else(|| panic!("{message}"))).collect()
}

#[tokio::test]
async fn a_guest_receives_the_messages_of_a_channel_in_order_with_their_positions() {
    let host = host().start().await;
    let name = host.listens("channels/history/1", "on-message").await;
    assert_eq!(name, "channels/history/1 => on-message");
    assert_eq!(host.listens("channels/history/1", "on-message").await, name, "the same name");
    host.publishes("channels/history/1", 1, 100).await;
    host.publishes("channels/history/2", 1, 1).await;
    let heard = host.until_heard(100).await;
    assert_eq!(bodies(&heard), (1..=100).collect::<Vec<u64>>());
    let (epoch, first) = heard[0]["id"].as_str().unwrap().split_once('-').unwrap();
    assert_eq!(first, "1");
    assert_eq!(heard[99]["id"], format!("{epoch}-100"));
    let facts = (&heard[0]["name"], &heard[0]["source"], &heard[0]["topic"], &heard[0]["origin"]);
    assert_eq!(facts, (&name, &json!("channel"), &json!("channels/history/1"), &json!("Origin::Host")));
    let body = json!({ "do": "unsubscribe", "subscription": name }).to_string();
    assert_eq!(json_of(&host.call("worker-0", CHANNELS, "use", body.clone()).await), json!(null));
    host.publishes("channels/history/1", 101, 101).await;
    let again = json_of(&host.call("worker-0", CHANNELS, "use", body).await);
    assert_eq!((&again["error"], host.heard().await.len()), (&json!("not-found"), 100));
}

#[tokio::test]
async fn a_subscription_to_a_channel_lasts_over_swaps_and_crashes_and_loses_nothing() {
    let host = host().start().await;
    host.listens("channels/a", "on-message").await;
    for version in 1..=5_u32 {
        host.publishes("channels/a", version * 10 + 1, version * 10 + 5).await;
        host.rewrite(CHANNELS, json!({ "config": { "version": version } }));
        assert_eq!(host.reload(CHANNELS).await["outcome"], "swapped");
        host.publishes("channels/a", version * 10 + 6, version * 10 + 10).await;
    }
    let heard = host.until_heard(50).await;
    assert_eq!(bodies(&heard), (11..=60).collect::<Vec<u64>>());
    host.call("worker-0", CHANNELS, "panic", "").await;
    host.until(CHANNELS, 0, "state", "ready").await;
    host.publishes("channels/a", 1, 3).await;
    assert_eq!(bodies(&host.until_heard(3).await), [1, 2, 3], "the crash has lost what was recorded before");
}

#[tokio::test]
async fn a_guest_subscribes_only_to_channels_that_it_may_use_and_to_routes_that_it_has() {
    let host = host().start().await;
    assert_eq!(host.listens("lobby/1", "on-message").await, "lobby/1 => on-message", "granted");
    for (channel, route, kind) in [
        ("publisher/1", "on-message", "forbidden"),
        ("presence/publisher/1", "on-message", "forbidden"),
        ("", "on-message", "invalid"),
        ("channels/\n", "on-message", "invalid"),
        ("channels/1", "nope", "not-found"),
        ("channels/1", "for-sessions", "forbidden"),
    ] {
        assert_eq!(host.listens(channel, route).await["error"], kind, "{channel:?} {route}");
    }
    assert_eq!(
        host.listens("presence/channels/presence/1", "on-message").await,
        json!("presence/channels/presence/1 => on-message")
    );
}

#[tokio::test]
async fn a_subscription_to_a_channel_ends_with_its_module() {
    let host = host().start().await;
    host.listens("channels/a", "on-message").await;
    assert_eq!(host.admin("GET", "/v1/subscriptions", "").await.json()[0]["source"], "channel");
    std::fs::remove_dir_all(host.dir.path().join("modules").join(CHANNELS)).unwrap();
    assert_eq!(host.reload(CHANNELS).await["outcome"], "removed");
    assert_eq!(host.admin("GET", "/v1/subscriptions", "").await.json(), json!([]));
}
