//! Calls to the home of a channel, from any node.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::faults::process;
use super::{GUEST, agree, channel, node, publish_at_last, three};
use crate::channels::Client;
use crate::harness::{Answer, Nats, Started, TestHost, eventually};
use crate::rpc::{end, replied};

const ALL: [&str; 3] = ["a-1", "b-1", "c-1"];

/// Calls the isolate where the route of a channel runs.
async fn at_home(host: &Started, channel: &str, route: &str) -> Answer {
    host.post(&format!("/api/{GUEST}/home/{route}?channel={channel}"), "").await
}

fn bodies(seen: &Value) -> Vec<Value> {
    seen.as_array().unwrap().iter().map(|facts| facts["body"].clone()).collect()
}

#[tokio::test]
async fn a_call_to_a_channel_reaches_the_isolate_of_its_route_from_every_node() {
    let Some(nats) = Nats::start().await else { return };
    let hosts = three(&nats).await;
    for home in ALL {
        let channel = channel("publish", &[(home, &ALL)]);
        Client::open(&hosts[0], 2).await.publish(&channel, json!(home)).await;
        for host in &hosts {
            let answer = at_home(host, &channel, "seen").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(bodies(&answer.json()), [json!(home)]);
        }
    }
    // All nodes pick the same one for a channel that nobody declares.
    let mut counts = Vec::new();
    for host in &hosts {
        counts.push(at_home(host, "nobody-declares-this", "who").await.json()["count"].clone());
    }
    assert_eq!(counts, [json!(1), json!(2), json!(3)], "one instance counts them");
    assert_eq!(at_home(&hosts[0], "", "seen").await.code(), "invalid");
}

#[tokio::test]
async fn a_call_to_a_channel_follows_it_and_is_unavailable_while_it_has_no_home() {
    let Some(mut nats) = Nats::start().await else { return };
    let a = node(&nats, "a-1").await;
    let (_project, mut b) = process(&nats.url(), "b-1").await;
    agree(&[&a], &["a-1", "b-1"]).await;
    let channel = channel("publish", &[("b-1", &["a-1", "b-1"])]);
    let mut client = Client::open(&a, 2).await;
    client.publish(&channel, json!("on b")).await;
    assert_eq!(bodies(&at_home(&a, &channel, "seen").await.json()), [json!("on b")]);
    b.signal(Signal::KILL);
    b.ended().await;
    // Until the node counts as gone, the call fails, and has not run on another node.
    let answer = at_home(&a, &channel, "seen").await;
    assert!(["unavailable", "crashed"].contains(&answer.code().as_str()), "{}", answer.text());
    publish_at_last(&mut client, &channel, json!("on a")).await;
    assert_eq!(bodies(&at_home(&a, &channel, "seen").await.json()), [json!("on a")]);
    nats.kill();
    eventually("the node is alone", || async { a.admin("GET", "/v1/nodes", "").await.json()["state"] == "down" }).await;
    assert_eq!(bodies(&at_home(&a, &channel, "seen").await.json()), [json!("on a")]);
}

#[tokio::test]
async fn a_node_without_the_module_calls_the_home_of_a_channel_or_is_told_that_there_is_none() {
    let Some(nats) = Nats::start().await else { return };
    let rights = json!({ "rpc": [GUEST] });
    let front = TestHost::waits_for(&[]).config(nats.node("f-1", "front")).grant("waits", rights.clone());
    let front = front.manifest("waits", json!({ "capabilities": rights })).start().await;
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    agree(&[&front, &a, &b], &["a-1", "b-1", "f-1"]).await;
    let channel = channel("publish", &[("b-1", &["a-1", "b-1"])]);
    Client::open(&a, 2).await.publish(&channel, json!(1)).await;
    let call = |name: &str| json!({ "route": format!("{GUEST}/seen"), "target": { "channel": name } });
    let ended = front.nested(0, call(&channel)).await;
    assert_eq!(bodies(&replied(&ended)), [json!(1)], "{ended}");
    a.stop().await;
    b.stop().await;
    agree(&[&front], &["f-1"]).await;
    for name in [channel.as_str(), "nobody-declares-this"] {
        let ended = front.nested(0, call(name)).await;
        assert_eq!(end(&ended), "unavailable", "{ended}");
    }
}
