//! The members of channels with presence on all nodes.

mod faults;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::streams::until_state;
use crate::channels::{Client, PATHS};
use crate::cli::project::{Project, Serving};
use crate::harness::{Nats, Started, TestHost, eventually, node as settings};

const GUEST: &str = "channels";

/// Enough channels for each node to be the home of some.
const CHANNELS: usize = 8;

fn websocket() -> Value {
    let listeners = json!([
        { "path": PATHS[0], "protocol": 1, "module": GUEST },
        { "path": PATHS[1], "module": GUEST },
    ]);
    // The clients answer pings only while they are read.
    json!({ "websocket": { "listeners": listeners, "pingInterval": "30s", "pingTimeout": "60s" } })
}

fn test_host(nats: &str, id: &str) -> TestHost {
    let grants = json!({ "sessions": true, "channels": ["lobby/*"] });
    TestHost::with(GUEST).grant(GUEST, grants).config(settings(id, "node", nats)).config(websocket()).workers(1)
}

async fn node(nats: &Nats, id: &str) -> Started {
    let host = test_host(&nats.url(), id).start().await;
    until_state(&host, "up").await;
    host
}

/// A node in a process of its own, and its folder.
async fn process(nats: &Nats, id: &str) -> (Project, Serving) {
    let grants = json!({ "sessions": true, "channels": ["lobby/*"] });
    let project = Project::with(&[GUEST]).config(nats.node(id, "node")).config(websocket());
    let project = project.config(json!({ "workers": 1, "modules": { GUEST: { "grants": grants } } }));
    let serving = project.serve(&[]).await;
    (project, serving)
}

/// Waits until a node sees this number of nodes that have the module.
async fn sees(host: &Started, nodes: usize) {
    eventually("the node sees the others", || async {
        let status = host.admin("GET", "/v1/nodes", "").await.json();
        let listed = status["nodes"].as_array().unwrap();
        listed.len() == nodes && listed.iter().all(|node| node["modules"].get(GUEST).is_some())
    })
    .await;
}

fn channel(number: usize) -> String {
    format!("channels/presence/{number}")
}

/// A client that is a member of several channels.
async fn member(address: std::net::SocketAddr, channels: usize) -> Client {
    let mut client = Client::at(address, 2).await;
    for number in 0..channels {
        client.ok("#subscribe", json!({ "channel": channel(number) })).await;
    }
    client
}

/// A client that becomes a member of all channels, as all watchers are told.
async fn joined(address: std::net::SocketAddr, watchers: &mut [Client], count: u64) -> Client {
    let client = member(address, CHANNELS).await;
    for watcher in watchers {
        is_told(watcher, '+', &client.id, CHANNELS, count).await;
    }
    client
}

/// A client that watches the members of several channels.
async fn watcher(host: &Started, channels: usize) -> Client {
    let mut client = Client::open(host, 2).await;
    for number in 0..channels {
        client.ok("#subscribe", json!({ "channel": format!("presence/{}", channel(number)) })).await;
    }
    client
}

/// The next announcements, each as `<channel>+<id>` or `<channel>-<id>`, and the count.
async fn announced(watcher: &mut Client, count: usize) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for _ in 0..count {
        let message = watcher.message().await;
        let channel = message["channel"].as_str().unwrap().strip_prefix("presence/channels/presence/").unwrap();
        let data = &message["data"];
        let sign = if data["action"] == "join" { '+' } else { '-' };
        let id = data["member"]["id"].as_str().unwrap_or_else(|| panic!("{message}"));
        all.push((format!("{channel}{sign}{id}"), data["count"].as_u64().unwrap()));
    }
    all
}

/// The same change in each of several channels, with the count after it.
fn everywhere(sign: char, client: &str, channels: usize, count: u64) -> BTreeSet<(String, u64)> {
    (0..channels).map(|number| (format!("{number}{sign}{client}"), count)).collect()
}

/// Waits until a watcher is told the same change once in each channel.
async fn is_told(watcher: &mut Client, sign: char, client: &str, channels: usize, count: u64) {
    let told: BTreeSet<(String, u64)> = announced(watcher, channels).await.into_iter().collect();
    assert_eq!(told, everywhere(sign, client, channels, count));
}

/// The clients' ids of the members that a node lists.
async fn listed(host: &Started, channel: &str) -> BTreeSet<String> {
    let members = host.running().channel_members(channel).await.unwrap();
    members.iter().map(|member| member.session.split_once('/').unwrap().1.to_owned()).collect()
}

fn ids(clients: &[&Client]) -> BTreeSet<String> {
    clients.iter().map(|client| client.id.clone()).collect()
}

/// Waits until every node lists exactly these members, in each channel.
async fn lists(hosts: &[&Started], clients: &[&Client], channels: usize) {
    for host in hosts {
        for number in 0..channels {
            let channel = channel(number);
            eventually("the node lists all members", || async { listed(host, &channel).await == ids(clients) }).await;
        }
    }
}

#[tokio::test]
async fn joins_and_leaves_are_announced_once_in_order_on_every_node_which_lists_all_members() {
    for nats in Nats::all().await {
        let hosts = [node(&nats, "a-1").await, node(&nats, "b-1").await, node(&nats, "c-1").await];
        for host in &hosts {
            sees(host, 3).await;
        }
        let mut watchers = Vec::new();
        for host in &hosts {
            watchers.push(watcher(host, CHANNELS).await);
        }
        let mut ada = joined(hosts[0].http, &mut watchers, 1).await;
        let bob = joined(hosts[1].http, &mut watchers, 2).await;
        lists(&hosts.each_ref(), &[&ada, &bob], CHANNELS).await;
        // Clients and guests get the same list, and the count is that of the node.
        let both = |listed: &Value, key: &str| -> BTreeSet<String> {
            let id = |member: &Value| member[key].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            listed.as_array().unwrap_or_else(|| panic!("{listed}")).iter().map(id).collect()
        };
        for number in 0..CHANNELS {
            let clients = ada.ok("#members", json!({ "channel": channel(number) })).await;
            assert_eq!(both(&clients, "id"), ids(&[&ada, &bob]));
        }
        let members = json!({ "do": "members", "channel": channel(0) });
        for route in ["use", "blocking"] {
            let listed = hosts[2].post(&format!("/api/{GUEST}/{route}"), members.to_string()).await.json();
            assert_eq!(both(&listed, "session"), ids(&[&ada, &bob]), "{listed}");
        }
        assert_eq!(hosts.each_ref().map(|host| host.running().channel_count(&channel(0))), [1, 1, 0]);
        // What a member says about itself changes without an announcement.
        ada.ok("#subscribe", json!({ "channel": channel(0), "data": { "name": "ada" } })).await;
        for host in &hosts {
            let info = || async {
                let members = host.running().channel_members(&channel(0)).await.unwrap();
                let of_ada = members.iter().find(|member| member.session.ends_with(&ada.id)).unwrap();
                of_ada.info.as_deref() == Some(r#"{"name":"ada"}"#)
            };
            eventually("the node lists what is new", info).await;
        }
        for number in 0..CHANNELS {
            ada.ok("#unsubscribe", json!(channel(number))).await;
            ada.ok("#subscribe", json!({ "channel": channel(number) })).await;
        }
        let mut last = Vec::new();
        for watcher in &mut watchers {
            last.push(announced(watcher, 2 * CHANNELS).await);
        }
        let bobs = bob.id.clone();
        drop(bob);
        for (watcher, mut told) in watchers.iter_mut().zip(last) {
            told.extend(announced(watcher, CHANNELS).await);
            for number in 0..CHANNELS {
                let of = |(what, _): &&(String, u64)| what.starts_with(&format!("{number}"));
                let changes: Vec<&str> = told.iter().filter(of).map(|(what, _)| &what[1..]).collect();
                let expected = [format!("-{}", ada.id), format!("+{}", ada.id), format!("-{bobs}")];
                assert_eq!(changes, expected);
            }
            assert!(watcher.has_nothing().await);
        }
        lists(&hosts.each_ref(), &[&ada], CHANNELS).await;
    }
}

#[tokio::test]
async fn a_client_that_is_a_member_is_in_every_list_from_then_on() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    for host in [&a, &b] {
        sees(host, 2).await;
    }
    let mut client = Client::open(&a, 2).await;
    for number in 0..100 {
        client.ok("#subscribe", json!({ "channel": channel(number) })).await;
        let members = client.ok("#members", json!({ "channel": channel(number) })).await;
        assert_eq!(members, json!([{ "id": client.id, "uid": null, "info": null }]), "{number}");
        assert_eq!(listed(&b, &channel(number)).await, ids(&[&client]), "{number}");
        client.ok("#unsubscribe", json!(channel(number))).await;
        let members = a.running().channel_members(&channel(number)).await.unwrap();
        assert_eq!(members, [], "{number}");
    }
}

#[tokio::test]
async fn presence_that_a_reload_adds_or_removes_counts_with_the_next_message_of_the_channel() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    for host in [&a, &b] {
        sees(host, 2).await;
    }
    let mut clients = Vec::new();
    let mut watchers = Vec::new();
    for host in [&a, &b] {
        clients.push(Client::subscribed(host, 2, "channels/envelope/x").await);
        watchers.push(Client::subscribed(host, 2, "presence/channels/envelope/x").await);
    }
    let manifest = |presence: bool| json!({ "channels": { "channels/envelope/*": { "presence": presence } } });
    let declare = async |presence: bool| {
        for host in [&a, &b] {
            host.rewrite(GUEST, manifest(presence));
            host.reload(GUEST).await;
        }
        for host in [&a, &b] {
            host.running().publish_to_channel("channels/envelope/x", "1").await.unwrap();
        }
    };
    declare(true).await;
    let all = ids(&clients.iter().collect::<Vec<_>>());
    for host in [&a, &b] {
        eventually("all are members", || async { listed(host, "channels/envelope/x").await == all }).await;
    }
    let mut late = Client::subscribed(&a, 2, "channels/envelope/x").await;
    for watcher in &mut watchers {
        let joined = watcher.message().await;
        assert_eq!(joined["data"]["member"]["id"], late.id, "nobody else is announced: {joined}");
        assert_eq!((&joined["data"]["action"], &joined["data"]["count"]), (&json!("join"), &json!(3)), "{joined}");
    }
    late.ok("#unsubscribe", json!("channels/envelope/x")).await;
    for watcher in &mut watchers {
        assert_eq!(watcher.message().await["data"]["count"], 2);
    }
    declare(false).await;
    for host in [&a, &b] {
        assert!(host.running().channel_members("channels/envelope/x").await.is_err());
    }
    declare(true).await;
    for host in [&a, &b] {
        eventually("all are members again", || async { listed(host, "channels/envelope/x").await == all }).await;
    }
    let last = clients.pop().unwrap();
    let gone = last.id.clone();
    drop(last);
    for watcher in &mut watchers {
        let left = watcher.message().await;
        assert_eq!(left["data"]["member"]["id"], gone, "nobody else is announced: {left}");
        assert_eq!((&left["data"]["action"], &left["data"]["count"]), (&json!("leave"), &json!(1)), "{left}");
    }
}

#[tokio::test]
async fn lists_and_members_larger_than_a_message_of_nats_cross_in_parts() {
    let Some(nats) = Nats::configured("max_payload: 16384").await else { return };
    let a = node(&nats, "a-1").await;
    let mut clients = Vec::new();
    let info = "x".repeat(4_000);
    for _ in 0..40 {
        let mut client = Client::open(&a, 2).await;
        for number in 0..2 {
            client.ok("#subscribe", json!({ "channel": channel(number), "data": info })).await;
        }
        clients.push(client);
    }
    // The home of a channel is asked for more than it can answer at once, and moves.
    let b = node(&nats, "b-1").await;
    for host in [&a, &b] {
        sees(host, 2).await;
    }
    let all: Vec<&Client> = clients.iter().collect();
    lists(&[&a, &b], &all, 2).await;
    let members = b.running().channel_members(&channel(0)).await.unwrap();
    assert!(members.iter().all(|member| member.info.as_deref().is_some_and(|text| text.len() == info.len() + 2)));
    let mut watcher = watcher(&b, 2).await;
    let last = clients.pop().unwrap();
    let gone = last.id.clone();
    drop(last);
    is_told(&mut watcher, '-', &gone, 2, 39).await;
}

#[tokio::test]
async fn from_a_thousand_members_on_all_nodes_on_only_their_number_is_announced() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    for host in [&a, &b] {
        sees(host, 2).await;
    }
    let mut watchers = [watcher(&a, 1).await, watcher(&b, 1).await];
    let mut clients = Vec::new();
    for number in 0..1_000 {
        clients.push(member([&a, &b][number % 2].http, 1).await);
    }
    for watcher in &mut watchers {
        let told: BTreeSet<String> = announced(watcher, 999).await.into_iter().map(|one| one.0).collect();
        assert_eq!(told.len(), 999);
        assert_eq!(watcher.message().await["data"], json!({ "count": 1_000 }));
    }
    let last = clients.pop().unwrap();
    let gone = format!("0-{}", last.id);
    drop(last);
    for watcher in &mut watchers {
        assert_eq!(announced(watcher, 1).await, [(gone.clone(), 999)]);
    }
}
