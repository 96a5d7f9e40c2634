//! Several NATS servers that nodes are connected to: what is lost between them, and what happens
//! when one of them is killed.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;

use super::cable::Cable;
use super::streams::{streams, until_state};
use crate::harness::{EventStream, Nats, Started, eventually};

/// Two servers with a cable between them, and a node at each.
async fn apart() -> Option<([Nats; 2], Cable, [Started; 2])> {
    let (servers, cable) = Nats::two(async |first| {
        let cable = Cable::to(first, Duration::ZERO).await;
        (cable.address, cable)
    })
    .await?;
    let long = json!({ "cluster": { "goneAfter": "3s" } });
    let start = async |nats: &Nats, id: &str| {
        let host = streams(nats, id).config(long.clone()).start().await;
        until_state(&host, "up").await;
        host
    };
    let hosts = [start(&servers[0], "a-1").await, start(&servers[1], "b-1").await];
    all_see(&hosts).await;
    Some((servers, cable, hosts))
}

async fn all_see(hosts: &[Started]) {
    for host in hosts {
        let nodes = || async { host.admin("GET", "/v1/nodes", "").await.json()["nodes"].as_array().unwrap().len() };
        eventually("it sees all", || async { nodes().await == hosts.len() }).await;
    }
}

/// The next event of a stream has a name. Fails if it does not arrive.
async fn next_is(reader: &mut EventStream, name: &str) {
    let event = tokio::time::timeout(Duration::from_secs(20), reader.event()).await;
    let event = event.unwrap_or_else(|_| panic!("`{name}` does not arrive")).unwrap();
    assert_eq!(event.name(), name, "{event:?}");
}

/// Opens a stream of a node, and waits until events of the other one arrive there.
async fn reader(of: &Started, from: &Started) -> EventStream {
    let mut reader = EventStream::open(of.http, "/stream?connectKey=streams/x").await;
    loop {
        from.running().publish("streams/x", "first").unwrap();
        let event = tokio::time::timeout(Duration::from_millis(50), reader.event()).await;
        if let Ok(event) = event {
            assert_eq!(event.unwrap().text(), "first");
            break;
        }
    }
    from.running().publish("streams/x", "begun").unwrap();
    while reader.data().await != "begun" {}
    reader
}

#[tokio::test]
async fn an_event_that_is_lost_between_two_servers_is_told_although_no_other_one_follows() {
    let Some((_servers, cable, [a, b])) = apart().await else { return };
    let mut reader = reader(&b, &a).await;
    cable.pull();
    a.running().publish("streams/x", "lost").unwrap();
    // The servers lose what was on its way, and connect anew. No node notices.
    cable.tear().await;
    cable.plug_in();
    next_is(&mut reader, "reset").await;
    a.running().publish("streams/x", "next").unwrap();
    assert_eq!(reader.data().await, "next");
    for host in [&a, &b] {
        assert_eq!(host.metric("fanfare_cluster_downs_total", &[]).await, 0.0);
        assert!(host.events_named(&["nodeDown"]).await.is_empty());
    }
    assert_eq!(b.metric("fanfare_cluster_topics_missed_total", &[]).await, 1.0);
}

#[tokio::test]
async fn events_that_are_lost_while_nodes_count_each_other_as_gone_are_told() {
    let Some((_servers, cable, hosts)) = apart().await else { return };
    let [a, b] = &hosts;
    let mut reader = reader(b, a).await;
    cable.pull();
    a.running().publish("streams/x", "lost").unwrap();
    for host in [a, b] {
        eventually("the other one is gone", || async { !host.events_named(&["nodeDown"]).await.is_empty() }).await;
    }
    cable.tear().await;
    cable.plug_in();
    next_is(&mut reader, "reset").await;
    all_see(&hosts).await;
    assert_eq!(b.metric("fanfare_cluster_topics_missed_total", &[]).await, 1.0);
}

#[tokio::test]
async fn the_first_event_of_a_node_is_told_if_it_is_lost() {
    let Some((servers, cable, [a, b])) = apart().await else { return };
    // It knows the number of the other node, from which nothing has arrived.
    a.running().publish("streams/x", "before").unwrap();
    let mut reader = EventStream::open(b.http, "/stream?connectKey=streams/x").await;
    let mut numbers = servers[1].client().await.subscribe("fanfare.stream.all").await.unwrap();
    for _ in 0..2 {
        let told = tokio::time::timeout(Duration::from_secs(20), numbers.next()).await;
        assert!(told.expect("the other node tells its numbers").is_some());
    }
    cable.pull();
    a.running().publish("streams/x", "lost").unwrap();
    cable.tear().await;
    cable.plug_in();
    next_is(&mut reader, "reset").await;
    assert_eq!(b.metric("fanfare_cluster_topics_missed_total", &[]).await, 1.0);
    assert_eq!(b.metric("fanfare_cluster_topics_received_total", &[]).await, 0.0);
}
