//! Clients with WebSockets: their messages, sessions and channels.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::trouble::{Trouble, sessions};
use super::{Calm, PACE, SESSIONS};
use crate::channels::Client;
use crate::channels::trouble::{Publisher, compare, from};
use crate::harness::{Random, Started, WebSocket};
use crate::socketcluster::chaos::{Kind, Peer};
use crate::socketcluster::greet;

const CHANNEL: &str = "channels/kept/chaos";
const READERS: u64 = 3;
const PUBLISHERS: usize = 3;

/// What a reader of the channel has received: the publisher and the number of each message.
type Order = Vec<(String, u64)>;

pub struct Traffic {
    host: Arc<Started>,
    /// Each returns how many messages it has sent, and how many have crashed.
    peers: Vec<JoinHandle<(u64, u64)>>,
    readers: Vec<JoinHandle<Order>>,
    publishers: Vec<JoinHandle<Publisher>>,
    member: JoinHandle<(WebSocket, BTreeSet<u64>)>,
    pusher: JoinHandle<(u64, BTreeSet<u64>)>,
}

impl Traffic {
    pub async fn start(host: &Arc<Started>, stop: &watch::Receiver<bool>, calm: &Calm) -> Traffic {
        let live = |number| tokio::spawn(live(host.clone(), number, stop.clone(), calm.clone()));
        let peers = (0..4).map(live).collect();
        let mut readers = Vec::new();
        for number in 0..READERS {
            let client = Client::subscribed(host, 1 + number as usize % 2, CHANNEL).await;
            readers.push(tokio::spawn(read(host.clone(), client, number)));
        }
        let mut publishers = Vec::new();
        for number in 0..PUBLISHERS {
            let publisher = Publisher::new(Client::open(host, 1 + number % 2).await, CHANNEL, PACE);
            publishers.push(tokio::spawn(publisher.run(stop.clone(), watch::channel(0).1)));
        }
        let member = tokio::spawn(receive(join(host).await));
        let pusher = tokio::spawn(push(host.clone(), stop.clone()));
        Traffic { host: host.clone(), peers, readers, publishers, member, pusher }
    }

    /// Asserts that no message is lost or doubled, and that sessions and subscriptions have stayed.
    pub async fn end(self, trouble: &Trouble) {
        let (mut sent, mut crashed) = (0, trouble.messages);
        for peer in self.peers {
            let of_peer = peer.await.unwrap();
            (sent, crashed) = (sent + of_peer.0, crashed + of_peer.1);
        }
        println!("{sent} messages of clients, {crashed} crashed");
        let of_sessions = ["module=\"sessions\"", "trigger=\"client\"", "outcome=\"crashed\""];
        let counted = self.host.metric("fanfare_calls_total", &of_sessions).await;
        assert_eq!(counted, crashed as f64, "no message has lost its answer");

        let mut publishers = Vec::new();
        for publisher in self.publishers {
            publishers.push(publisher.await.unwrap());
        }
        // The last message ends the readers.
        Client::open(&self.host, 2).await.publish(CHANNEL, json!("last")).await;
        let mut orders = Vec::new();
        for reader in self.readers {
            orders.push(reader.await.unwrap());
        }
        compare(&orders, &publishers);

        let (pushed, unknown) = self.pusher.await.unwrap();
        let (mut member, received) = self.member.await.unwrap();
        let lost: Vec<u64> = (0..pushed).filter(|n| !received.contains(n) && !unknown.contains(n)).collect();
        assert!(lost.is_empty(), "a member of a group has missed {lost:?}");
        println!("{pushed} messages to a group, {} unknown", unknown.len());
        let current = member.ask(json!({ "do": "current" })).await;
        assert_eq!(current["uid"], "member", "the session has its user: {current}");
        let values = member.ask(json!({ "do": "values" })).await;
        assert_eq!(values, json!([["kept", "1"]]), "the session has its values");
        let members = member.ask(json!({ "do": "members", "group": "group" })).await;
        assert_eq!(members, json!([current["id"]]), "the session is in its group");
    }
}

/// Opens a client, lets it send numbers for a while, checks their outcomes and the list in its
/// session, and begins again.
async fn live(host: Arc<Started>, number: u64, mut stop: watch::Receiver<bool>, calm: Calm) -> (u64, u64) {
    let (mut random, mut sent, mut crashed) = (Random::new(300 + number), 0, 0);
    for life in 0.. {
        let kind = match number % 4 {
            version @ 0..2 => {
                let mut client = WebSocket::open(host.http, SESSIONS[version as usize]).await;
                greet(&mut client, Value::Null).await;
                Kind::Packets(client, 1 + version as usize)
            }
            _ => Kind::Plain(WebSocket::open(host.http, "/api/sessions/append").await),
        };
        let (end, ended) = watch::channel(false);
        let peer = tokio::spawn(Peer::new(format!("client {number}, life {life}"), kind, PACE / 2).run(ended));
        let while_it_lives = Duration::from_millis(500 + random.below(4_000));
        let stops = tokio::time::timeout(while_it_lives, stop.wait_for(|stop| *stop)).await.is_ok();
        // A plain WebSocket waits for ever if the message that asks for the list crashes.
        let calm = calm.read().await;
        end.send(true).unwrap();
        let mut peer = peer.await.unwrap();
        crashed += peer.check().await;
        drop(calm);
        sent += peer.sent;
        if stops {
            break;
        }
    }
    (sent, crashed)
}

/// Reads the channel until its last message. All but the first reader come and go, and recover.
async fn read(host: Arc<Started>, mut client: Client, number: u64) -> Order {
    let (mut random, mut order) = (Random::new(400 + number), Order::new());
    // The position of the last message, and that up to which the history was read.
    let (mut last, mut recovered) = (0, 0);
    loop {
        let message = client.message().await;
        let place = position(&message);
        if place <= recovered {
            continue;
        }
        assert_eq!(place, last + 1, "reader {number}: a message is lost or doubled");
        last = place;
        if message["data"] == "last" {
            return order;
        }
        order.push(from(&message));
        if number == 0 || random.below(100) > 0 {
            continue;
        }
        let epoch = message["position"].as_str().unwrap().split_once('-').unwrap().0.to_owned();
        client = subscribe(&host, 1 + random.below(2) as usize).await;
        loop {
            let after = format!("{epoch}-{last}");
            let page = client.ok("#history", json!({ "channel": CHANNEL, "after": after })).await;
            assert_eq!(page["complete"], true, "reader {number}: {page}");
            for message in page["messages"].as_array().unwrap() {
                assert_eq!(position(message), last + 1, "reader {number}: the history lacks a message");
                last += 1;
                if message["data"] == "last" {
                    return order;
                }
                order.push(from(message));
            }
            if last == position(&page) {
                break;
            }
        }
        recovered = last;
    }
}

/// Subscribes again until the route of the channel does not crash.
async fn subscribe(host: &Started, version: usize) -> Client {
    let mut client = Client::open(host, version).await;
    loop {
        let answer = client.ask("#subscribe", json!({ "channel": CHANNEL })).await;
        match answer.get("error") {
            None => return client,
            Some(error) => assert_eq!(error["code"], "crashed", "{answer}"),
        }
    }
}

fn position(message: &Value) -> u64 {
    message["position"].as_str().unwrap().split_once('-').unwrap().1.parse().unwrap()
}

/// Opens a plain WebSocket with a user, a group and a value.
async fn join(host: &Started) -> WebSocket {
    let mut member = WebSocket::open(host.http, "/api/sessions/use").await;
    let session = member.ask(json!({ "do": "current" })).await["id"].clone();
    for what in [
        json!({ "do": "bind", "uid": "member", "taken": "refuse" }),
        json!({ "do": "join", "group": "group", "sessions": [session] }),
        json!({ "do": "set", "values": [["kept", "1"]] }),
    ] {
        let answer = member.ask(what).await;
        assert_eq!(answer["error"], Value::Null, "{answer}");
    }
    member
}

/// Receives numbers until the text `last`, each once and in order.
async fn receive(mut member: WebSocket) -> (WebSocket, BTreeSet<u64>) {
    let mut received = BTreeSet::new();
    loop {
        let text = member.text().await;
        if text == "last" {
            return (member, received);
        }
        let number = text.parse().unwrap();
        assert!(received.last() < Some(&number), "{number} is doubled or out of order: {:?}", received.last());
        received.insert(number);
    }
}

/// Pushes numbers to the group. Returns how many, and those whose call has crashed.
async fn push(host: Arc<Started>, stop: watch::Receiver<bool>) -> (u64, BTreeSet<u64>) {
    let (mut next, mut unknown, mut ticks) = (0, BTreeSet::new(), tokio::time::interval(PACE));
    let push = async |text: String| {
        let pushed =
            sessions(&host, json!({ "do": "push", "to": [{ "group": "group" }], "name": "n", "payload": text })).await;
        assert!(pushed.as_ref().is_none_or(|pushed| pushed["reached"] == 1), "{pushed:?}");
        pushed.is_some()
    };
    while !*stop.borrow() {
        ticks.tick().await;
        if !push(next.to_string()).await {
            unknown.insert(next);
        }
        next += 1;
    }
    assert!(push("last".to_owned()).await, "nothing crashes any more");
    (next, unknown)
}
