//! Subscriptions of guests to channels.

use super::guests::{caller, route};
use super::*;
use crate::call::ChannelSettings;
use crate::hub::Published;

fn test() -> Test {
    let test = Test::new(2);
    test.fake.quick.lock().push("m");
    *test.fake.routes.lock() = (vec!["on-message", "other"], "1");
    test.install("m", &[]);
    test
}

impl Test {
    fn listen(&self, worker: u32, channel: &str, to: &str) -> Result<String, CallError> {
        self.subscriptions.subscribe_channel(&caller(worker, &[]), channel, route(to))
    }

    /// Publishes a message to a channel that keeps `count` messages.
    fn publish(&self, channel: &str, count: usize, text: &str) {
        let settings = ChannelSettings { count, age: Duration::MAX, bytes: 1_000, ..ChannelSettings::default() };
        let message = Published { payload: Payload::Text(text.to_owned()), session: None, settings: &settings };
        self.subscriptions.channels.publish(channel, message).unwrap();
    }
}

#[tokio::test]
async fn a_route_receives_the_messages_of_a_channel_in_order_until_the_subscription_ends() {
    let test = test();
    test.publish("room", 0, "before");
    let name = test.listen(1, "room", "POST /on-message").unwrap();
    assert_eq!(name, "room => POST on-message");
    assert_eq!(test.listen(1, "room", "POST on-message").as_ref(), Ok(&name), "the same channel and route");
    assert_eq!(test.subscriptions.all().len(), 1);
    for number in 1..=100 {
        test.publish("room", 0, &number.to_string());
        test.publish("other", 0, "x");
    }
    test.calls(100).await;
    assert_eq!(test.seen_in(1), texts(1..=100));
    let status = test.subscriptions.status().remove(0);
    assert_eq!((&*status.source, &*status.topic, status.isolate.as_deref()), ("channel", "room", Some("worker-1")));

    let error = test.subscriptions.unsubscribe_channel(&caller(0, &[]), &name).unwrap_err();
    assert_eq!(error.to_string(), "m has made no subscription `room => POST on-message` in worker-0");
    let of_events = test.subscriptions.unsubscribe(&caller(1, &[]), &name);
    assert!(matches!(of_events, Err(CallError::NotFound(_))), "it is no subscription to events");
    test.subscriptions.unsubscribe_channel(&caller(1, &[]), &name).unwrap();
    test.publish("room", 0, "after");
    settle().await;
    assert_eq!((test.seen().len(), test.subscriptions.all().len()), (100, 0));
    assert_eq!(test.subscriptions.channels.totals().channels, 0, "nobody uses the channel any more");
}

#[tokio::test]
async fn a_message_of_a_channel_with_history_has_its_position() {
    let test = Test::new(1);
    *test.fake.routes.lock() = (vec!["on-message"], "1");
    test.install("m", &[]);
    test.publish("room", 10, "0");
    test.listen(0, "room", "on-message").unwrap();
    test.publish("room", 10, "1");
    test.calls(1).await;
    let ids = test.fake.ids.lock().clone();
    let page = test.subscriptions.channels.history("room", None, 10, 1_000).unwrap();
    assert_eq!(ids, [Some(format!("{:x}-2", page.epoch))]);
    test.listen(0, "plain", "on-message").unwrap();
    test.publish("plain", 0, "2");
    test.ok();
    test.calls(2).await;
    assert_eq!(test.fake.ids.lock().get(1), Some(&None));
}

#[tokio::test]
async fn a_subscription_to_a_channel_lasts_over_swaps_until_its_route_or_its_module_is_gone() {
    let test = test();
    test.listen(0, "room", "on-message").unwrap();
    test.listen(0, "room", "other").unwrap();
    test.install("m", &[]);
    test.publish("room", 0, "1");
    test.calls(2).await;
    *test.fake.routes.lock() = (vec!["other"], "2");
    test.install("m", &[]);
    test.publish("room", 0, "2");
    test.calls(3).await;
    let left: Vec<_> = test.subscriptions.all().into_iter().map(|(key, _)| key.name.to_string()).collect();
    assert_eq!(left, ["room => other"]);
    test.remove("m");
    test.publish("room", 0, "3");
    settle().await;
    assert_eq!((test.seen().len(), test.subscriptions.channels.totals().channels), (3, 0));
}

#[tokio::test]
async fn a_route_that_falls_behind_loses_the_oldest_messages_and_delays_no_publisher() {
    let test = Test::new(1);
    *test.fake.routes.lock() = (vec!["on-message"], "1");
    test.install("m", &[]);
    test.listen(0, "room", "on-message").unwrap();
    let most = SubscriptionSettings::default().messages;
    for number in 0..=most + 1 {
        test.publish("room", 0, &number.to_string());
    }
    // One more may have left the queue meanwhile.
    let (_, one) = test.subscriptions.all().remove(0);
    let (waiting, _) = one.waiting();
    assert!(waiting <= most && one.counts().dropped > 0, "{waiting} wait, {} dropped", one.counts().dropped);
}

#[tokio::test]
async fn subscriptions_to_channels_have_both_limits() {
    let test = test();
    for channel in ["a", "b", "c", "d"] {
        test.listen(0, channel, "on-message").unwrap();
    }
    let error = test.listen(0, "e", "on-message").unwrap_err();
    assert!(matches!(&error, CallError::Overloaded(why) if why.contains("hub.topics")), "{error}");
    for number in 0..60 {
        test.listen(0, "a", &format!("r{number}")).unwrap();
    }
    let error = test.listen(0, "a", "other").unwrap_err();
    assert!(matches!(&error, CallError::Overloaded(why) if why.contains("limits.subscriptions allows 64")), "{error}");
}
