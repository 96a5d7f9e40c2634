//! Released clients, clients of packets and plain WebSockets send numbers, while their module is
//! swapped, killed and crashed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::driver::{Client, clients};
use super::*;
use crate::harness::{Random, eventually, rounds};

/// The trouble of one round.
const SWAPS: usize = 50;
const KILLS: usize = 20;
const CRASHES: usize = 10;

/// The numbers of one client, at most. The session keeps all of them.
const MOST: u64 = 4_000;

/// The time between two numbers of a client.
const PACE: Duration = Duration::from_millis(8);

/// The messages of a client that wait for their answers. All that wait in an instance must end
/// within the second for which its successor waits, also on a busy machine.
const WINDOW: u64 = 8;

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Swap,
    Kill,
    Crash,
}

pub enum Kind {
    Released(Box<Client>),
    /// A client of packets, with its version. It sees answers that the released ones would drop.
    Packets(WebSocket, usize),
    Plain(WebSocket),
}

/// The outcome of a message: the length of the list of numbers after it, or the code of the error.
type Outcome = Result<u64, String>;

/// A client that sends numbers, which its session keeps in a list.
pub struct Peer {
    name: String,
    pub kind: Kind,
    pace: Duration,
    pub sent: u64,
    /// The outcomes by their numbers. Answers of plain WebSockets have none.
    outcomes: BTreeMap<u64, Outcome>,
    /// The answers of a plain WebSocket.
    lengths: Vec<u64>,
    /// The list of numbers, each time that it was asked for.
    lists: Vec<Vec<u64>>,
}

impl Peer {
    /// A client that sends a number each time `pace` has passed.
    pub fn new(name: impl Into<String>, kind: Kind, pace: Duration) -> Peer {
        let (outcomes, lengths, lists) = Default::default();
        Peer { name: name.into(), kind, pace, sent: 0, outcomes, lengths, lists }
    }

    async fn send(&mut self) {
        let number = self.sent;
        self.sent += 1;
        match &mut self.kind {
            // The number of a call is that of the message and one more.
            Kind::Released(client) => assert_eq!(client.begin("append", json!(number)).await, number + 1),
            Kind::Packets(client, _) => {
                client.send(&json!({ "event": "append", "data": number, "cid": number }).to_string()).await;
            }
            Kind::Plain(client) => client.send(&number.to_string()).await,
        }
    }

    /// Waits for the next outcome. A number that has two is a fault.
    async fn receive(&mut self) {
        let answer = match &mut self.kind {
            Kind::Released(client) => {
                let mut answer = client.next_answer().await;
                answer["rid"] = json!(answer["call"].as_u64().unwrap() - 1);
                answer
            }
            Kind::Packets(client, version) => packet(client, *version).await,
            Kind::Plain(client) => {
                match client.json().await {
                    Value::Array(list) => self.lists.push(list.iter().map(|one| one.as_u64().unwrap()).collect()),
                    length => self.lengths.push(length.as_u64().unwrap()),
                }
                return;
            }
        };
        let number = answer["rid"].as_u64().unwrap();
        let outcome = match &answer["error"] {
            Value::Null => Ok(answer["data"].as_u64().unwrap()),
            error => Err(error["code"].as_str().unwrap_or_else(|| panic!("{}: {error}", self.name)).to_owned()),
        };
        let other = self.outcomes.insert(number, outcome);
        assert!(other.is_none(), "{}: {number} has two answers: {other:?}, {answer}", self.name);
    }

    /// Sends numbers until it is told to stop, then waits for all outcomes.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Peer {
        let mut ticks = tokio::time::interval(self.pace);
        loop {
            tokio::select! {
                () = async { drop(stop.wait_for(|stop| *stop).await) } => break,
                _ = ticks.tick() => {
                    // A plain WebSocket has no answer to a message whose call has crashed.
                    let waiting = self.sent - self.outcomes.len() as u64;
                    if self.sent < MOST && (matches!(self.kind, Kind::Plain(_)) || waiting < WINDOW) {
                        self.send().await;
                    }
                }
                () = self.receive() => {}
            }
        }
        if let Kind::Plain(_) = self.kind {
            // When the second list arrives, all answers before the first one have arrived.
            for lists in 1..=2 {
                let Kind::Plain(client) = &mut self.kind else { unreachable!() };
                client.send("null").await;
                while self.lists.len() < lists {
                    self.receive().await;
                }
            }
        }
        while !matches!(self.kind, Kind::Plain(_)) && (self.outcomes.len() as u64) < self.sent {
            self.receive().await;
        }
        self
    }

    /// Asks for the list of numbers, and checks it against the outcomes. Returns how many messages
    /// have crashed.
    pub async fn check(&mut self) -> u64 {
        let list = match &mut self.kind {
            Kind::Released(client) => {
                assert!(!["close", "error", "connect", "answer"].iter().any(|kind| client.has_skipped(kind)));
                serde_json::from_value(client.data("append", Value::Null).await).unwrap()
            }
            Kind::Packets(client, version) => {
                client.send(r#"{"event":"append","data":null,"cid":"list"}"#).await;
                let list = packet(client, *version).await;
                assert_eq!(list["rid"], "list", "{}: an answer came late, or twice", self.name);
                serde_json::from_value(list["data"].clone()).unwrap()
            }
            Kind::Plain(_) => self.lists[1].clone(),
        };
        self.compare(&list)
    }

    fn compare(&mut self, list: &[u64]) -> u64 {
        let name = &self.name;
        assert!(list.is_sorted_by(|a, b| a < b), "{name}: a message has run twice or out of order");
        if matches!(self.kind, Kind::Plain(_)) {
            for length in &self.lengths {
                let other = self.outcomes.insert(list[*length as usize - 1], Ok(*length));
                assert!(other.is_none(), "{name}: two answers of {length}");
            }
        }
        let mut crashed = 0;
        for number in 0..self.sent {
            match self.outcomes.get(&number) {
                Some(Ok(length)) => assert_eq!(list[*length as usize - 1], number, "{name}"),
                Some(Err(code)) => {
                    assert_eq!(code, "crashed", "{name}: {number}");
                    crashed += 1;
                }
                None => {
                    assert!(matches!(self.kind, Kind::Plain(_)), "{name}: {number} has no answer");
                    crashed += 1;
                }
            }
        }
        crashed
    }
}

/// Returns the next packet. Answers pings.
async fn packet(client: &mut WebSocket, version: usize) -> Value {
    let (ping, pong) = [("#1", "#2"), ("", "")][version - 1];
    loop {
        match client.text().await {
            text if text == ping => client.send(pong).await,
            text => return serde_json::from_str(&text).unwrap(),
        }
    }
}

/// A client in each worker, to crash the instances there. Between crashes, they answer no pings.
async fn crashers(host: &Started) -> [WebSocket; 2] {
    let (mut first, mut second) = (None, None);
    while first.is_none() || second.is_none() {
        let mut client = open(host, 2).await;
        client.send(r#"{"event":"use","data":{"do":"current"},"cid":3}"#).await;
        let worker = packet(&mut client, 2).await["data"]["worker"].clone();
        *(if worker == 0 { &mut first } else { &mut second }) = Some(client);
    }
    [first.unwrap(), second.unwrap()]
}

/// Crashes an instance while a message runs in it. Both messages end as crashed.
async fn crash(host: &Started, worker: u32, client: &mut WebSocket) {
    client.send(r#"{"event":"hold","cid":1}"#).await;
    eventually("a message runs", || async { host.run(worker, GUEST, "holding", Value::Null).await == 1 }).await;
    client.send(r#"{"event":"trap","cid":2}"#).await;
    let mut crashed = Vec::new();
    while crashed.len() < 2 {
        let answer = packet(client, 2).await;
        assert_eq!(answer["error"]["code"], "crashed", "{answer}");
        crashed.push(answer["rid"].clone());
    }
    crashed.sort_by_key(Value::as_u64);
    assert_eq!(crashed, [1, 2]);
}

/// Swaps, kills and crashes in a random order. Returns how many instances have crashed.
async fn trouble(host: &Started, mut random: Random) -> u64 {
    let (mut crashers, mut version, begun) = (crashers(host).await, 0, Instant::now());
    let counts = [(Trouble::Swap, SWAPS), (Trouble::Kill, KILLS), (Trouble::Crash, CRASHES)];
    let mut all: Vec<_> = counts.iter().flat_map(|(what, count)| vec![*what; *count]).collect();
    while !all.is_empty() {
        let worker = random.below(2) as u32;
        match all.swap_remove(random.below(all.len() as u64) as usize) {
            Trouble::Swap => {
                version += 1;
                host.rewrite(GUEST, json!({ "config": { "version": version } }));
                let swapped = host.reload(GUEST).await;
                assert_eq!(swapped["outcome"], "swapped", "{swapped}");
            }
            Trouble::Kill => {
                let killed = host.kill(worker, random.below(2) == 0).await;
                assert!(killed.is_array(), "{killed}");
            }
            Trouble::Crash => crash(host, worker, &mut crashers[worker as usize]).await,
        }
    }
    println!("{SWAPS} swaps, {KILLS} kills, {CRASHES} crashes in {:?}", begun.elapsed());
    CRASHES as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_keep_connection_session_order_and_answers_over_swaps_kills_and_crashes() {
    rounds(round).await;
}

async fn round(number: u64) {
    let host = with(json!({ "sessionSize": "1MiB", "pingInterval": "500ms", "pingTimeout": "1m" }))
        .config(json!({ "isolate": { "maxRestarts": 10_000, "restartBackoff": "1ms", "restartBackoffMax": "20ms" } }))
        // The list of numbers becomes long, and the host may be unoptimised.
        .limit(GUEST, "cpu", "5s")
        .start()
        .await;
    let mut peers = Vec::new();
    for client in clients(host.http).await.unwrap_or_default() {
        peers.push(Peer::new(client.name.clone(), Kind::Released(Box::new(client)), PACE));
    }
    for version in [1, 2] {
        peers.push(Peer::new(
            format!("packets of version {version}"),
            Kind::Packets(open(&host, version).await, version),
            PACE,
        ));
    }
    for number in 0..2 {
        let plain = WebSocket::open(host.http, &format!("/api/{GUEST}/append")).await;
        peers.push(Peer::new(format!("plain WebSocket {number}"), Kind::Plain(plain), PACE));
    }
    let everyone = peers.len() as u64;
    assert_eq!(host.ask_over_http(json!({ "do": "count" })).await, json!([everyone, 0]));

    let (stop, stopped) = watch::channel(false);
    let running: Vec<_> = peers.into_iter().map(|peer| tokio::spawn(peer.run(stopped.clone()))).collect();
    let crashes = trouble(&host, Random::new(number)).await;
    stop.send(true).unwrap();
    let mut crashed = 2 * crashes;
    for peer in running {
        let mut peer = peer.await.unwrap();
        let of_peer = peer.check().await;
        println!("{}: {} messages, {of_peer} crashed", peer.name, peer.sent);
        crashed += of_peer;
    }
    let counted = host.ended(GUEST, 0, "client", "crashed").await + host.ended(GUEST, 1, "client", "crashed").await;
    assert_eq!(counted, crashed as f64, "no message has lost its answer");
}
