//! Streams of JetStream: at least once, over failures, kills and interruptions.

use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, Info};
use async_nats::jetstream::{self, Context};
use futures_util::StreamExt;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::security::{documented, documented_for_a_consumer};
use super::{numbers, publish, receiving};
use crate::cli::project::Project;
use crate::harness::{Nats, eventually, source_of};
use crate::redis::GUEST;

fn jobs(handler: &str) -> Value {
    json!({ "jobs": { "nats": "jobs.>", "jetStream": "JOBS", "group": "shop", "path": handler } })
}

async fn jetstream(nats: &Nats) -> Context {
    jetstream::new(nats.client().await)
}

/// A server with the stream `JOBS`.
async fn stream(nats: &Nats) -> Context {
    let context = jetstream(nats).await;
    let config =
        jetstream::stream::Config { name: "JOBS".into(), subjects: vec!["jobs.>".into()], ..Default::default() };
    context.create_stream(config).await.unwrap();
    context
}

/// The consumer `shop`, as an operator makes it.
async fn consumer(context: &Context, ack_wait: u64, max_deliver: i64) -> Consumer<Config> {
    let config = Config {
        durable_name: Some("shop".into()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_millis(ack_wait),
        max_deliver,
        filter_subject: "jobs.>".into(),
        ..Default::default()
    };
    context.create_consumer_on_stream(config, "JOBS").await.unwrap()
}

/// What the server knows about the consumer `shop`.
async fn info(context: &Context) -> Option<Info> {
    let found = context.get_consumer_from_stream::<Config, _, _>("shop", "JOBS").await;
    found.ok().map(|consumer| consumer.cached_info().clone())
}

/// Waits until the consumer has this number of messages that were delivered and not acknowledged,
/// and none that were not delivered.
async fn until_pending(context: &Context, count: usize) {
    eventually(&format!("{count} are not acknowledged"), || async {
        info(context).await.is_some_and(|info| (info.num_ack_pending, info.num_pending) == (count, 0))
    })
    .await;
}

#[tokio::test]
async fn a_message_is_acknowledged_after_its_handler_has_succeeded() {
    for nats in Nats::all().await {
        let context = stream(&nats).await;
        // Messages from before the consumer are delivered, too.
        context.publish("jobs.a", "first".into()).await.unwrap().await.unwrap();
        let host = receiving(&nats, "a-1", &jobs("waits")).limit(GUEST, "timeout", "20s").start().await;
        eventually("the handler runs", || async { !host.messages(0).await.is_empty() }).await;
        assert_eq!(host.messages(0).await, [("jobs.a".to_owned(), "first".to_owned())]);
        until_pending(&context, 1).await;
        host.call("worker-0", GUEST, "release", "").await;
        until_pending(&context, 0).await;
        assert_eq!(host.metric("fanfare_nats_acknowledged_total", &[]).await, 1.0);
        let made = info(&context).await.unwrap().config;
        assert_eq!(
            (made.ack_wait, made.max_deliver, made.filter_subject.as_str()),
            (Duration::from_secs(30), 5, "jobs.>")
        );
        let status = host.subscription("jobs").await;
        assert_eq!(
            (&status["stream"], &status["group"], &status["overflow"]),
            (&json!("JOBS"), &json!("shop"), &json!("wait"))
        );
    }
}

#[tokio::test]
async fn messages_arrive_once_and_in_order() {
    let Some(nats) = Nats::start().await else { return };
    let context = stream(&nats).await;
    publish(&nats.client().await, "jobs.a", &numbers(500)).await;
    let host = receiving(&nats, "a-1", &jobs("on")).start().await;
    eventually("all arrive", || async { host.texts(1).await.len() >= 500 }).await;
    until_pending(&context, 0).await;
    assert_eq!(host.texts(1).await, numbers(500));
}

#[tokio::test]
async fn a_message_that_fails_is_delivered_again_and_then_reported() {
    let Some(nats) = Nats::start().await else { return };
    let context = stream(&nats).await;
    consumer(&context, 10_000, 2).await;
    let host = receiving(&nats, "a-1", &jobs("fails")).start().await;
    publish(&nats.client().await, "jobs.a", &["bad".to_owned(), "ok".to_owned()]).await;
    eventually("it is given up", || async { !host.events_named(&["natsMessageFailed"]).await.is_empty() }).await;
    let events = host.events_named(&["natsMessageFailed"]).await;
    let event = &events[0];
    assert_eq!(
        (&event["stream"], &event["sequence"], &event["tries"]),
        (&json!("JOBS"), &json!(1), &json!(2)),
        "{event}"
    );
    assert!(event["reason"].as_str().unwrap().contains("fails on request"), "{event}");
    // It holds up no other.
    assert_eq!(host.texts(1).await, ["bad", "ok", "bad"]);
    until_pending(&context, 0).await;
    assert_eq!(host.metric("fanfare_nats_redelivered_total", &[]).await, 1.0);
    assert_eq!(host.metric("fanfare_nats_given_up_total", &[]).await, 1.0);
}

#[tokio::test]
async fn a_message_whose_handler_crashes_is_delivered_again() {
    let Some(nats) = Nats::start().await else { return };
    let context = stream(&nats).await;
    let host = receiving(&nats, "a-1", &jobs("traps")).start().await;
    publish(&nats.client().await, "jobs.a", &["crash".to_owned()]).await;
    eventually("it was tried twice", || async { host.metric("fanfare_nats_redelivered_total", &[]).await >= 1.0 })
        .await;
    // A generation that can handle it gets it.
    host.rewrite(GUEST, json!({ "subscriptions": jobs("on") }));
    assert_eq!(host.reload(GUEST).await["outcome"], "swapped");
    until_pending(&context, 0).await;
    assert_eq!(host.texts(1).await, ["crash"]);
}

#[tokio::test]
async fn over_kills_of_nats_every_message_is_delivered() {
    let Some(mut nats) = Nats::start().await else { return };
    let context = stream(&nats).await;
    consumer(&context, 1_000, 100).await;
    let host = receiving(&nats, "a-1", &jobs("on")).start().await;
    for n in 0..5 {
        let client = nats.client().await;
        let context = jetstream::new(client);
        context.publish("jobs.a", format!("before {n}").into()).await.unwrap().await.unwrap();
        nats.kill();
        nats.run().await;
        let context = jetstream(&nats).await;
        eventually("JetStream stores again", || async {
            match context.publish("jobs.a", format!("after {n}").into()).await {
                Ok(stored) => stored.await.is_ok(),
                Err(_) => false,
            }
        })
        .await;
    }
    let context = jetstream(&nats).await;
    eventually("everything is acknowledged", || async {
        let mut texts = host.texts(1).await;
        texts.sort();
        texts.dedup();
        let pending = info(&context).await.map(|info| info.num_ack_pending);
        texts.len() == 10 && pending == Some(0)
    })
    .await;
    assert_eq!(host.subscription("jobs").await["gaps"], 0, "a stream loses nothing");
}

#[tokio::test]
async fn after_a_kill_of_a_host_its_messages_go_to_another_host() {
    let Some(nats) = Nats::start().await else { return };
    let context = stream(&nats).await;
    consumer(&context, 1_000, 100).await;
    let text = std::fs::read_to_string(source_of(GUEST).join("module.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["subscriptions"] = jobs("waits");
    let modules = json!({ GUEST: { "grants": { "subscribe": ["*"] }, "limits": { "timeout": "20s" } } });
    let project = Project::with(&[GUEST])
        .config(nats.node("gone", "node"))
        .config(json!({ "modules": modules, "workers": 1 }))
        .file("modules/subscriptions/module.json", manifest.to_string());
    let mut gone = project.serve(&[]).await;
    publish(&nats.client().await, "jobs.a", &numbers(5)).await;
    until_pending(&context, 5).await;
    gone.signal(Signal::KILL);
    gone.ended().await;
    let heir = receiving(&nats, "heir", &jobs("on")).start().await;
    eventually("the other host handles them", || async { heir.texts(1).await.len() >= 5 }).await;
    until_pending(&context, 0).await;
    let mut texts = heir.texts(1).await;
    texts.sort();
    assert_eq!(texts, numbers(5));
}

#[tokio::test]
async fn a_message_that_is_handled_for_long_goes_to_no_other_host() {
    let Some(nats) = Nats::start().await else { return };
    let context = stream(&nats).await;
    consumer(&context, 300, 100).await;
    let client = nats.client().await;
    let mut acknowledgements = client.subscribe("$JS.ACK.JOBS.shop.>").await.unwrap();
    client.flush().await.unwrap();
    let slow = receiving(&nats, "slow", &jobs("waits")).limit(GUEST, "timeout", "60s").start().await;
    publish(&client, "jobs.a", &["long".to_owned()]).await;
    eventually("the handler runs", || async { !slow.messages(0).await.is_empty() }).await;
    let other = receiving(&nats, "other", &jobs("on")).start().await;
    // The host has told the server ten times that it still works on it: longer than `ack_wait`.
    for _ in 0..10 {
        assert_eq!(&*acknowledgements.next().await.unwrap().payload, b"+WPI");
    }
    assert_eq!(info(&context).await.unwrap().num_redelivered, 0);
    assert_eq!(other.texts(1).await, [""; 0]);
    slow.call("worker-0", GUEST, "release", "").await;
    until_pending(&context, 0).await;
    assert_eq!(slow.texts(1).await, ["long"]);
}

#[tokio::test]
async fn a_host_that_stops_leaves_no_message_behind() {
    let Some(nats) = Nats::start().await else { return };
    let context = stream(&nats).await;
    // Longer than the test: what the first host kept would not come again.
    consumer(&context, 60_000, 100).await;
    let first = receiving(&nats, "first", &jobs("on")).start().await;
    publish(&nats.client().await, "jobs.a", &numbers(3)).await;
    eventually("they arrive", || async { first.texts(1).await.len() == 3 }).await;
    first.stop().await;
    publish(&nats.client().await, "jobs.a", &numbers(3)).await;
    let second = receiving(&nats, "second", &jobs("on")).start().await;
    eventually("the next ones arrive", || async { second.texts(1).await.len() == 3 }).await;
    until_pending(&context, 0).await;
}

#[tokio::test]
async fn a_host_asks_for_no_more_than_it_can_handle() {
    let Some(nats) = Nats::start().await else { return };
    let context = stream(&nats).await;
    publish(&nats.client().await, "jobs.a", &numbers(1_000)).await;
    let host = receiving(&nats, "a-1", &jobs("waits")).limit(GUEST, "timeout", "60s").start().await;
    let pending = async || info(&context).await.map(|info| (info.num_ack_pending, info.num_pending));
    eventually("it has 64", || async { pending().await == Some((64, 936)) }).await;
    eventually("a handler runs", || async { host.messages(0).await.len() == 1 }).await;
    host.call("worker-0", GUEST, "release", "").await;
    eventually("one is acknowledged", || async { pending().await == Some((63, 936)) }).await;
}

#[tokio::test]
async fn a_host_asks_for_no_messages_beyond_16_mib() {
    let Some(nats) = Nats::start().await else { return };
    let context = stream(&nats).await;
    publish(&nats.client().await, "jobs.a", &vec!["x".repeat(800_000); 40]).await;
    let host = receiving(&nats, "a-1", &jobs("waits")).limit(GUEST, "timeout", "60s").start().await;
    let count = async || info(&context).await.map_or(0, |info| info.num_ack_pending);
    // 20 of them have less than 16 MiB, and 21 more.
    eventually("it has as many as fit", || async { count().await >= 20 }).await;
    eventually("a handler runs", || async { host.messages(0).await.len() == 1 }).await;
    host.call("worker-0", GUEST, "release", "").await;
    eventually("one is acknowledged", || async { host.metric("fanfare_nats_acknowledged_total", &[]).await == 1.0 })
        .await;
    let now = count().await;
    assert!((19..=22).contains(&now), "{now}");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_reported_and_ended() {
    let Some(nats) = Nats::start().await else { return };
    let context = stream(&nats).await;
    let host = receiving(&nats, "a-1", &jobs("on"))
        .config(json!({ "limits": { "max": { "payload": 1000 } } }))
        .limit(GUEST, "payload", "1000B")
        .start()
        .await;
    publish(&nats.client().await, "jobs.a", &["x".repeat(1001), "next".to_owned()]).await;
    eventually("the next one arrives", || async { !host.texts(1).await.is_empty() }).await;
    until_pending(&context, 0).await;
    assert_eq!(host.texts(1).await, ["next"]);
    let events = host.events_named(&["natsMessageFailed"]).await;
    assert!(events[0]["reason"].as_str().unwrap().contains("limits.max.payload is 1000"), "{events:?}");
}

#[tokio::test]
async fn a_missing_stream_and_a_consumer_with_another_filter_are_named() {
    for nats in Nats::all().await {
        let context = jetstream(&nats).await;
        let host = receiving(&nats, "a-1", &jobs("on")).start().await;
        host.until_refused("jobs", "the stream JOBS does not exist: make it").await;
        let context = {
            drop(context);
            stream(&nats).await
        };
        publish(&nats.client().await, "jobs.a", &["now".to_owned()]).await;
        eventually("it arrives", || async { host.texts(1).await == ["now"] }).await;
        assert_eq!(host.subscription("jobs").await["refusal"], Value::Null);
        let everything =
            Config { durable_name: Some("everything".into()), ack_policy: AckPolicy::Explicit, ..Default::default() };
        context.create_consumer_on_stream(everything, "JOBS").await.unwrap();
        let other = json!({ "jobs": { "nats": "jobs.a", "jetStream": "JOBS", "group": "everything", "path": "on" } });
        host.rewrite(GUEST, json!({ "subscriptions": other }));
        assert_eq!(host.reload(GUEST).await["outcome"], "swapped");
        host.until_refused("jobs", "must have the filter subject jobs.a, found none").await;
        assert_eq!(host.texts(1).await, ["now"]);
    }
}

#[tokio::test]
async fn the_permissions_of_the_documentation_are_enough() {
    let more: Vec<String> = documented_for_a_consumer().iter().map(|subject| format!("\"{subject}\"")).collect();
    assert_eq!(more.len(), 4);
    let conf = documented()
        .replace("users = [", "users = [ { user: admin, password: admin },")
        .replace("subscribe: \"fanfare.>\"", "subscribe: [\"fanfare.>\", \"stock.>\"]")
        .replace("publish: [", &format!("publish: [ \"stock.>\", {}, ", more.join(", ")));
    for nats in Nats::all_configured(&conf).await {
        let login = ConnectOptions::new().user_and_password("admin".into(), "admin".into());
        let client = login.connect(nats.url()).await.unwrap();
        let context = jetstream::new(client.clone());
        let config = jetstream::stream::Config {
            name: "ORDERS".into(),
            subjects: vec!["orders.>".into()],
            ..Default::default()
        };
        context.create_stream(config).await.unwrap();
        let subscriptions = json!({
            "paid": { "nats": "orders.paid", "jetStream": "ORDERS", "group": "billing", "path": "on" },
            "stock": { "nats": "stock.*", "path": "on" },
        });
        let host = receiving(&nats, "a-1", &subscriptions)
            .file("secret", "secret")
            .config(json!({ "cluster": { "username": "fanfare", "passwordFile": "secret" } }))
            .start()
            .await;
        publish(&client, "orders.paid", &["kept".to_owned()]).await;
        eventually("a message of the stream arrives", || async { host.texts(1).await == ["kept"] }).await;
        eventually("it is acknowledged", || async {
            let found = context.get_consumer_from_stream::<Config, _, _>("billing", "ORDERS").await.unwrap();
            found.cached_info().num_ack_pending == 0
        })
        .await;
        eventually("a message of the module arrives", || async {
            assert_eq!(host.publish_message("nats", "stock.a", "own").await["status"], 200);
            host.texts(1).await.iter().any(|text| text == "own")
        })
        .await;
        // All tests share the log.
        let refused = ["ORDERS", "stock"].map(|subject| host.log.lines(&["NATS refuses something", subject]));
        assert!(refused.concat().is_empty(), "{refused:?}");
        for name in ["paid", "stock"] {
            assert_eq!(host.subscription(name).await["refusal"], Value::Null);
        }
    }
}
