//! Messages of NATS: subjects and queue groups for subscriptions, and what modules publish.

mod streams;

use async_nats::Client;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::cli::project::Project;
use crate::harness::{Nats, Started, TestHost, eventually};
use crate::redis::GUEST;

/// A node with the guest `subscriptions`, and these subscriptions in its manifest. The guest may
/// use every topic.
fn receiving(nats: &Nats, id: &str, subscriptions: &Value) -> TestHost {
    TestHost::with(GUEST)
        .manifest(GUEST, json!({ "subscriptions": subscriptions, "capabilities": { "publish": ["*"] } }))
        .grant(GUEST, json!({ "publish": ["*"], "subscribe": ["*"], "sse": ["*"] }))
        .config(nats.node(id, "node"))
        .workers(1)
}

impl Started {
    /// Waits until the status of a subscription says why it receives nothing.
    async fn until_refused(&self, name: &str, why: &str) {
        eventually(why, || async {
            self.subscription(name).await["refusal"].as_str().is_some_and(|refusal| refusal.contains(why))
        })
        .await;
    }
}

/// Publishes to a subject until each of these hosts has received a message, then lets them forget.
async fn until_received(client: &Client, subject: &str, hosts: &[&Started]) {
    eventually("the hosts receive", || async {
        client.publish(subject.to_owned(), "warm".into()).await.unwrap();
        let mut all = true;
        for host in hosts {
            all &= !host.texts(1).await.is_empty();
        }
        all
    })
    .await;
    // What was sent before this arrives before it.
    client.publish(subject.to_owned(), "last".into()).await.unwrap();
    for host in hosts {
        eventually("the last arrives", || async { host.texts(1).await.iter().any(|text| text == "last") }).await;
        host.call("worker-0", GUEST, "forget", "").await;
    }
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

async fn publish(client: &Client, subject: &str, texts: &[String]) {
    for text in texts {
        client.publish(subject.to_owned(), text.clone().into()).await.unwrap();
    }
    client.flush().await.unwrap();
}

#[tokio::test]
async fn a_message_reaches_every_host_in_order_and_of_a_queue_group_one() {
    for nats in Nats::all().await {
        let client = nats.client().await;
        let subscriptions = json!({
            "all": { "nats": "orders.>", "path": "on" },
            "one": { "nats": "jobs.*", "group": "workers", "path": "on" },
        });
        let a = receiving(&nats, "a-1", &subscriptions).start().await;
        let b = receiving(&nats, "b-1", &subscriptions).start().await;
        until_received(&client, "orders.warm", &[&a, &b]).await;
        publish(&client, "orders.eu.new", &numbers(100)).await;
        publish(&client, "other", &numbers(3)).await;
        for host in [&a, &b] {
            eventually("all arrive", || async { host.texts(1).await.len() >= 100 }).await;
            assert_eq!(host.texts(1).await, numbers(100));
            assert_eq!(host.messages(0).await[0].0, "orders.eu.new");
            host.call("worker-0", GUEST, "forget", "").await;
        }
        eventually("both take part", || async {
            client.publish("jobs.warm", "warm".into()).await.unwrap();
            !a.texts(1).await.is_empty() && !b.texts(1).await.is_empty()
        })
        .await;
        publish(&client, "jobs.x", &numbers(100)).await;
        let both = async || {
            let texts = [a.texts(1).await, b.texts(1).await].concat();
            texts.iter().filter_map(|text| text.parse().ok()).collect::<Vec<u32>>()
        };
        eventually("all arrive", || async { both().await.len() >= 100 }).await;
        let mut all = both().await;
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        let status = a.subscription("one").await;
        assert_eq!(
            (&status["source"], &status["topic"], &status["group"]),
            (&json!("nats"), &json!("jobs.*"), &json!("workers"))
        );
        assert!(a.metric("fanfare_nats_received_total", &[]).await >= 100.0);
    }
}

#[tokio::test]
async fn a_subscription_that_the_module_gives_up_ends_at_the_server() {
    let Some(nats) = Nats::start().await else { return };
    let client = nats.client().await;
    let host = receiving(&nats, "a-1", &json!({ "all": { "nats": "orders.>", "path": "on" } })).start().await;
    until_received(&client, "orders.warm", &[&host]).await;
    host.rewrite(GUEST, json!({ "subscriptions": {} }));
    assert_eq!(host.reload(GUEST).await["outcome"], "swapped");
    // A server answers a request whose subject has no subscriber at once.
    eventually("nobody listens", || async {
        client
            .request("orders.x", "".into())
            .await
            .is_err_and(|error| error.kind() == async_nats::RequestErrorKind::NoResponders)
    })
    .await;
}

#[tokio::test]
async fn an_interruption_is_reported_as_a_gap_and_receiving_continues() {
    let Some(mut nats) = Nats::start().await else { return };
    let host = receiving(&nats, "a-1", &json!({ "all": { "nats": "orders.>", "path": "on" } })).start().await;
    until_received(&nats.client().await, "orders.warm", &[&host]).await;
    assert_eq!(host.subscription("all").await["gaps"], 0);
    nats.kill();
    eventually("the gap is reported", || async { !host.events_named(&["subscriptionGap"]).await.is_empty() }).await;
    assert_eq!(host.subscription("all").await["gaps"], 1);
    nats.run().await;
    let client = nats.client().await;
    until_received(&client, "orders.warm", &[&host]).await;
    assert_eq!(host.subscription("all").await["gaps"], 1, "one for each interruption");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_counted_as_missed() {
    let Some(nats) = Nats::start().await else { return };
    let client = nats.client().await;
    let host = receiving(&nats, "a-1", &json!({ "all": { "nats": "orders.>", "path": "on" } }))
        .config(json!({ "limits": { "max": { "payload": 1000 } } }))
        .limit(GUEST, "payload", "1000B")
        .start()
        .await;
    until_received(&client, "orders.warm", &[&host]).await;
    publish(&client, "orders.x", &["x".repeat(1001), "next".to_owned()]).await;
    eventually("the next one arrives", || async { !host.texts(1).await.is_empty() }).await;
    assert_eq!(host.texts(1).await, ["next"]);
    assert_eq!(host.subscription("all").await["missed"], 1);
    assert_eq!(host.metric("fanfare_nats_oversized_total", &[]).await, 1.0);
}

#[tokio::test]
async fn a_subject_that_the_server_refuses_is_named_in_the_status() {
    let conf = "authorization { users = [ { user: u, password: p, permissions: { publish: [\">\"], \
                subscribe: [\"fanfare.>\", \"orders.>\"] } } ] }";
    for nats in Nats::all_configured(conf).await {
        let subscriptions = json!({
            "good": { "nats": "orders.>", "path": "on" },
            "bad": { "nats": "secret.>", "path": "on" },
        });
        let host = receiving(&nats, "a-1", &subscriptions)
            .file("password", "p")
            .config(json!({ "cluster": { "username": "u", "passwordFile": "password" } }))
            .start()
            .await;
        host.until_refused("bad", "secret.>").await;
        assert_eq!(host.subscription("good").await["refusal"], Value::Null);
        let events = host.events_named(&["warning"]).await;
        assert!(events.iter().any(|event| event["message"].to_string().contains("subscriptions:bad receives nothing")));
    }
}

#[tokio::test]
async fn a_module_publishes_to_a_subject() {
    let Some(mut nats) = Nats::start().await else { return };
    let client = nats.client().await;
    let mut orders = client.subscribe("orders.>").await.unwrap();
    client.flush().await.unwrap();
    let host = receiving(&nats, "a-1", &json!({})).limit(GUEST, "payload", "2MiB").start().await;
    eventually("it is connected", || async { host.admin("GET", "/v1/nodes", "").await.json()["state"] == "up" }).await;
    for n in numbers(100) {
        assert_eq!(host.publish_message("nats", "orders.eu", &n).await["status"], 200);
    }
    for n in numbers(100) {
        let message = orders.next().await.unwrap();
        assert_eq!((&*message.subject, &*message.payload), ("orders.eu", n.as_bytes()));
    }
    assert_eq!(host.metric("fanfare_nats_published_total", &[]).await, 100.0);
    let large = "x".repeat((1 << 20) + 1);
    for (connection, subject, text, code, why) in [
        ("nats", "orders.*", "x", "invalid", "is no subject of NATS"),
        ("nats", "$JS.API.INFO", "x", "invalid", "begins with neither"),
        ("nats", "fanfare.nodes", "x", "forbidden", "the nodes of the cluster use"),
        ("nats", "orders.x", &large, "invalid", "max_payload of the NATS server allows 1048576"),
        ("nats.a", "orders.x", "x", "forbidden", "publish"),
    ] {
        let answer = host.publish_message(connection, subject, text).await;
        assert_eq!(answer["code"], code, "{subject}: {answer}");
        assert!(answer.to_string().contains(why), "{subject}: {answer}");
    }
    nats.kill();
    eventually("the host notices", || async { !host.events_named(&["natsDown"]).await.is_empty() }).await;
    let answer = host.publish_message("nats", "orders.eu", "x").await;
    assert_eq!(answer["code"], "unavailable", "{answer}");
    assert!(host.metric("fanfare_nats_refused_total", &[]).await >= 2.0);
}

#[tokio::test]
async fn publishing_and_receiving_need_a_grant() {
    let Some(nats) = Nats::start().await else { return };
    let host = receiving(&nats, "a-1", &json!({}))
        .manifest(GUEST, json!({ "capabilities": { "publish": ["nats:orders.*"] } }))
        .grant(GUEST, json!({ "publish": ["nats:orders.*"], "subscribe": ["nats:orders.eu.*"] }))
        .start()
        .await;
    eventually("it is connected", || async { host.admin("GET", "/v1/nodes", "").await.json()["state"] == "up" }).await;
    assert_eq!(host.publish_message("nats", "orders.eu", "x").await["status"], 200);
    assert_eq!(host.publish_message("nats", "stock", "x").await["code"], "forbidden");
    for (subject, outcome) in [("orders.eu.>", json!("swapped")), ("orders.>", Value::Null)] {
        host.rewrite(GUEST, json!({ "subscriptions": { "s": { "nats": subject, "path": "on" } }, "capabilities": {} }));
        let answer = host.reload(GUEST).await;
        assert_eq!(answer["outcome"], outcome, "{subject}: {answer}");
        assert_eq!(answer.to_string().contains("nats:orders.*, which is not granted"), outcome.is_null(), "{answer}");
    }
}

#[tokio::test]
async fn a_module_stays_off_the_subjects_between_nodes() {
    let Some(nats) = Nats::start().await else { return };
    let host = receiving(&nats, "a-1", &json!({})).start().await;
    host.rewrite(GUEST, json!({ "subscriptions": { "s": { "nats": "fanfare.>", "path": "on" } } }));
    let answer = host.reload(GUEST).await;
    assert_eq!(answer["code"], "refused", "{answer}");
    assert!(answer.to_string().contains("subscriptions.s.nats: must not begin with"), "{answer}");
}

#[tokio::test]
async fn without_nats_servers_a_module_loads_and_the_host_says_what_is_missing() {
    let subscriptions = json!({ "s": { "nats": "orders.>", "path": "on" } });
    let host = TestHost::with(GUEST)
        .manifest(GUEST, json!({ "subscriptions": subscriptions, "capabilities": { "publish": ["nats:*"] } }))
        .grant(GUEST, json!({ "publish": ["*"], "subscribe": ["*"] }))
        .start()
        .await;
    host.until_refused("s", "set cluster.nats").await;
    assert_eq!(host.publish_message("nats", "orders.eu", "x").await["code"], "unavailable");
    let text = std::fs::read_to_string(crate::harness::source_of(GUEST).join("module.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["subscriptions"] = subscriptions;
    let project = Project::with(&[GUEST])
        .config(json!({ "modules": { GUEST: { "grants": { "subscribe": ["*"] } } } }))
        .file("modules/subscriptions/module.json", manifest.to_string());
    let checked = project.run(&["check"]).await;
    let said = checked.out + &checked.err;
    assert!(said.contains("subscriptions.s.nats: needs the NATS servers"), "{said}");
}
