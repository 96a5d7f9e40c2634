//! The limits of the stream and of what waits for it, and hosts that have no stream.

use futures_util::future::join_all;
use rustix::process::Signal;

use super::*;
use crate::cluster::security;

/// A node of its own, with these settings of the histories.
async fn alone(nats: &Nats, histories: Value) -> Started {
    let config = json!({ "cluster": { "histories": histories } });
    let a = host(nats.node("a-1", "node")).config(config).start().await;
    agree(&[&a], &["a-1"]).await;
    a
}

/// Publishes messages while NATS does not answer. Returns the answers, in order.
async fn while_nats_is_silent(nats: &Nats, a: &Started, messages: &[Value]) -> Vec<Value> {
    let channel = "channels/lasting/1";
    let mut client = Client::open(a, 2).await;
    publish(&mut client, channel, 0).await;
    nats.signal(Signal::STOP);
    let mut sent = Vec::new();
    for data in messages {
        sent.push(client.send("#publish", json!({ "channel": channel, "data": data })).await);
    }
    let mut answers = Vec::new();
    for number in sent {
        answers.push(client.answer(number).await["error"].clone());
    }
    nats.signal(Signal::CONT);
    answers
}

#[tokio::test]
pub async fn the_queue_has_room_for_a_number_of_messages() {
    let Some(nats) = Nats::start().await else { return };
    let a = alone(&nats, json!({ "queue": { "messages": 3 } })).await;
    let answers = while_nats_is_silent(&nats, &a, &[json!(1), json!(2), json!(3), json!(4)]).await;
    let answers: Vec<String> = answers.iter().map(Value::to_string).collect();
    assert!(
        answers[3].contains("overloaded") && answers[3].contains("cluster.histories.queue.messages"),
        "{answers:?}"
    );
    assert_eq!(a.metric("fanfare_histories_refused_total", &[]).await, 1.0);
    // The first one was on its way, and the others have waited for it.
    let failed = |answer: &String| ["timeout", "unavailable"].iter().any(|code| answer.contains(code));
    assert!(answers[..3].iter().all(failed), "{answers:?}");
    assert_eq!(a.metric("fanfare_histories_queued_messages", &[]).await, 0.0);
    let mut client = Client::open(&a, 2).await;
    publish(&mut client, "channels/lasting/1", 5).await;
}

#[tokio::test]
async fn a_message_waits_for_the_stream_for_the_timeout_at_most() {
    let Some(nats) = Nats::start().await else { return };
    let config = json!({ "cluster": { "goneAfter": "20s" } });
    let a = host(nats.node("a-1", "node")).config(config).start().await;
    agree(&[&a], &["a-1"]).await;
    let mut client = Client::open(&a, 2).await;
    publish(&mut client, "channels/lasting/1", 0).await;
    nats.signal(Signal::STOP);
    // More than go there together.
    let publishes = (0..200).map(|_| a.running().publish_to_channel("channels/lasting/1", "1"));
    let errors: Vec<String> =
        join_all(publishes).await.into_iter().map(|result| result.unwrap_err().to_string()).collect();
    nats.signal(Signal::CONT);
    assert!(errors.iter().any(|error| error.contains("has not accepted the message in time")), "{errors:?}");
}

#[tokio::test]
pub async fn the_queue_has_room_for_bytes_of_messages() {
    let Some(nats) = Nats::start().await else { return };
    let a = alone(&nats, json!({ "queue": { "bytes": "4KiB" } })).await;
    let large = json!("x".repeat(3_000));
    let answers = while_nats_is_silent(&nats, &a, &[large.clone(), large]).await;
    let answer = answers[1].to_string();
    assert!(answer.contains("overloaded") && answer.contains("cluster.histories.queue.bytes"), "{answer}");
}

#[tokio::test]
pub async fn the_stream_has_the_age_the_bytes_and_the_messages_of_the_settings() {
    for nats in Nats::all().await {
        let limits = async || {
            let context = async_nats::jetstream::new(nats.client().await);
            let stream = context.get_stream("fanfare_histories").await.unwrap();
            let config = stream.cached_info().config.clone();
            (config.max_age, config.max_bytes, config.max_messages_per_subject)
        };
        let a = alone(&nats, json!({})).await;
        let mut client = Client::open(&a, 2).await;
        publish(&mut client, "channels/lasting/1", 0).await;
        assert_eq!(limits().await, (Duration::from_secs(7 * 86_400), 256 << 20, 1_000));
        drop(client);
        let dir = a.leave().await;
        let histories = json!({ "maxAge": "2m", "maxBytes": "64KiB", "maxMessages": 5 });
        let config = json!({ "cluster": { "histories": histories } });
        let a = host(nats.node("a-1", "node")).config(config).again(dir).start().await;
        let mut client = Client::subscribed(&a, 2, "channels/lasting/1").await;
        for number in 1..=7 {
            publish(&mut client, "channels/lasting/1", number).await;
        }
        assert_eq!(limits().await, (Duration::from_secs(120), 65_536, 5));
        let first = position(&received(&mut client, &json!(1)).await[0]);
        assert_eq!(history(&mut client, "channels/lasting/1", &first).await.0.len(), 6, "in memory");
        drop(client);
        let dir = a.leave().await;
        let config = json!({ "cluster": { "histories": histories } });
        let a = host(nats.node("a-1", "node")).config(config).again(dir).start().await;
        let mut client = Client::subscribed(&a, 2, "channels/lasting/1").await;
        let page = history(&mut client, "channels/lasting/1", &first).await;
        assert_eq!(page, ((3..=7).map(Value::from).collect(), false), "the stream has the newest five");
        // Beyond its bytes, the stream drops the oldest messages, also those of other channels.
        for number in 0..10 {
            let channel = format!("channels/lasting/{}", number % 2 + 2);
            publish(&mut client, &channel, format!("{number}{}", "x".repeat(10_000))).await;
        }
        let dir = a.leave().await;
        let a = host(nats.node("a-1", "node")).config(json!({ "cluster": { "histories": histories } })).again(dir);
        let a = a.start().await;
        let mut client = Client::subscribed(&a, 2, "channels/lasting/1").await;
        let page = history(&mut client, "channels/lasting/1", &first).await;
        assert_eq!(page, (Vec::new(), false), "the channel begins anew");
        publish(&mut client, "channels/lasting/1", "anew").await;
        assert_eq!(place(&client.message().await).1, 1);
    }
}

#[tokio::test]
async fn what_the_home_has_dropped_for_other_histories_comes_from_the_stream() {
    let Some(nats) = Nats::start().await else { return };
    let small = |id| host(nats.node(id, "node")).config(json!({ "hub": { "history": "64KiB" } }));
    let (a, b) = (small("a-1").start().await, small("b-1").start().await);
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    let names = (0..).map(|number| format!("channels/lasting/{number}"));
    let channels: Vec<String> =
        names.filter(|name| super::super::home(name, &["a-1", "b-1"]) == "b-1").take(3).collect();
    let mut members = Vec::new();
    for channel in &channels {
        members.push(Client::subscribed(&a, 2, channel).await);
        for number in 0..40 {
            publish(members.last_mut().unwrap(), channel, format!("{number} {}", "x".repeat(900))).await;
        }
    }
    assert!(b.metric("fanfare_channel_evicted_total", &[]).await > 40.0, "two of three do not fit");
    for (member, channel) in members.iter_mut().zip(&channels) {
        let first = member.message().await;
        let (epoch, number) = place(&first);
        let mut others = [Client::subscribed(&a, 2, channel).await, Client::subscribed(&b, 2, channel).await];
        for other in others.iter_mut().chain([member]) {
            let (messages, complete) = history(other, channel, &format!("{epoch}-{number}")).await;
            assert_eq!((messages.len(), complete), (39, true));
            let newest = other.ok("#history", json!({ "channel": channel, "limit": 30 })).await;
            let newest = newest["messages"].as_array().unwrap();
            assert_eq!((newest.len(), place(&newest[0]).1), (30, 11));
            let before = other.ok("#history", json!({ "channel": channel, "after": "1-1" })).await;
            assert_eq!((&before["complete"], before["messages"].as_array().unwrap().len()), (&json!(false), 40));
        }
    }
    // A later message is kept after those that were dropped.
    publish(&mut members[0], &channels[0], "last").await;
    let page = members[0].ok("#history", json!({ "channel": channels[0] })).await;
    assert_eq!((&page["complete"], page["messages"].as_array().unwrap().len()), (&json!(true), 41));
}

#[tokio::test]
async fn a_message_that_is_too_large_for_nats_is_refused_and_has_no_number() {
    let Some(nats) = Nats::configured("max_payload: 20000").await else { return };
    let hosts = three(&nats).await;
    let channel = channel("lasting", &[("b-1", &ALL)]);
    let mut member = Client::subscribed(&hosts[0], 2, &channel).await;
    for host in &hosts {
        // The headers count, too.
        for size in [19_900, 20_000] {
            let refused = host.running().publish_to_channel(&channel, "x".repeat(size).as_str()).await.unwrap_err();
            assert!(refused.to_string().contains("max_payload"), "{refused}");
        }
        host.running().publish_to_channel(&channel, "1").await.unwrap();
    }
    for number in 1..=3 {
        assert_eq!(place(&member.message().await).1, number);
    }
}

#[tokio::test]
async fn without_jetstream_or_without_nats_a_publish_and_a_check_say_what_is_missing() {
    let Some(nats) = Nats::without_jetstream().await else { return };
    let a = node(&nats, "a-1").await;
    agree(&[&a], &["a-1"]).await;
    let mut client = Client::subscribed(&a, 2, "channels/lasting/1").await;
    let error = try_publish(&mut client, "channels/lasting/1", json!(1)).await.to_string();
    assert!(error.contains("unavailable") && error.contains("is JetStream enabled"), "{error}");
    let error = client.error("#history", json!({ "channel": "channels/lasting/1" })).await.to_string();
    assert!(error.contains("unavailable") && error.contains("is JetStream enabled"), "{error}");
    // Other channels are not concerned.
    publish(&mut client, "channels/history/1", 1).await;
    let alone = host(json!({})).start().await;
    let mut client = Client::subscribed(&alone, 2, "channels/lasting/1").await;
    let error = try_publish(&mut client, "channels/lasting/1", json!(1)).await.to_string();
    assert!(error.contains("unavailable") && error.contains("set cluster.nats"), "{error}");
    let manifest = json!({
        "component": "channels.wasm",
        "routes": [],
        "channels": { "channels/lasting/*": { "history": { "keep": "cluster" } } },
    });
    let project = Project::with(&[GUEST]).file(&format!("modules/{GUEST}/module.json"), manifest.to_string());
    let checked = project.config(json!({})).run(&["check"]).await;
    let said = format!("{}{}", checked.out, checked.err);
    assert!(checked.code != 0 && said.contains("history.keep") && said.contains("cluster"), "{said}");
}

#[tokio::test]
async fn a_node_with_only_the_permissions_of_the_documentation_keeps_histories() {
    for nats in Nats::all_configured(&security::documented()).await {
        let login = json!({ "cluster": { "username": "fanfare", "passwordFile": "secret" } });
        let node = || host(nats.node("a-1", "node")).config(login.clone()).file("secret", "secret");
        let a = node().start().await;
        let mut client = Client::subscribed(&a, 2, "channels/lasting/1").await;
        for number in 1..=3 {
            publish(&mut client, "channels/lasting/1", number).await;
        }
        let first = position(&received(&mut client, &json!(3)).await[0]);
        drop(client);
        // The limits of the stream follow those of the next start.
        let config = json!({ "cluster": { "histories": { "maxMessages": 50 } } });
        let a = node().config(config).again(a.leave().await).file("secret", "secret").start().await;
        let mut client = Client::subscribed(&a, 2, "channels/lasting/1").await;
        assert_eq!(history(&mut client, "channels/lasting/1", &first).await, (vec![json!(2), json!(3)], true));
        assert!(!a.log.contains(&["NATS refuses something", "fanfare_histories"]), "nothing is refused");
        assert!(!a.log.contains(&["cannot be changed", "fanfare_histories"]), "nothing is refused");
    }
}
