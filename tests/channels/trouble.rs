//! Messages and subscriptions while brokers are killed, crash and swap.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fanfare::api::KillMode;
use tokio::sync::watch;

use super::*;
use crate::harness::{Random, eventually, rounds};

/// The trouble of one round.
const SWAPS: usize = 10;
const KILLS: usize = 10;
const CRASHES: usize = 10;

/// The time between two messages of a publisher.
const PACE: Duration = Duration::from_millis(5);

/// The messages of one publisher that wait for their answers. All publishers together stay below
/// the 64 requests that may wait.
const WINDOW: usize = 12;

const CHANNEL: &str = "channels/kept/trouble";

/// A client that publishes numbers to a channel, and the outcome of each.
pub struct Publisher {
    client: Client,
    channel: &'static str,
    pace: Duration,
    /// The messages at which the route crashes, of the one that sends them, and how many have
    /// ended.
    traps: Option<(BTreeSet<u64>, watch::Sender<usize>)>,
    /// The numbers of the answers, and those of their messages.
    waiting: BTreeMap<u64, u64>,
    sent: u64,
    /// What the host has accepted, in the order of the answers.
    pub accepted: Vec<u64>,
    pub failed: BTreeMap<u64, String>,
}

impl Publisher {
    /// A client that publishes each time `pace` has passed.
    pub fn new(client: Client, channel: &'static str, pace: Duration) -> Publisher {
        let (waiting, failed, accepted) = Default::default();
        Publisher { client, channel, pace, traps: None, waiting, sent: 0, accepted, failed }
    }

    fn name(&self) -> String {
        self.client.id.clone()
    }

    async fn send(&mut self, data: Value) {
        let number = self.client.send("#publish", json!({ "channel": self.channel, "data": data })).await;
        self.waiting.insert(number, self.sent);
        self.sent += 1;
    }

    async fn receive(&mut self) {
        let (number, message) = self.waiting.pop_first().unwrap();
        let answer = self.client.answer(number).await;
        if let Some((traps, ended)) = &mut self.traps
            && traps.remove(&message)
        {
            ended.send_modify(|count| *count += 1);
        }
        match answer.get("error") {
            None => self.accepted.push(message),
            Some(error) => _ = self.failed.insert(message, error["code"].as_str().unwrap_or("none").to_owned()),
        }
    }

    /// Publishes until it is told to stop. `crash` is the number of crashes that the test wants.
    pub async fn run(mut self, stop: watch::Receiver<bool>, mut crash: watch::Receiver<usize>) -> Publisher {
        let mut crashed = 0;
        let mut ticks = tokio::time::interval(self.pace);
        while !*stop.borrow() {
            ticks.tick().await;
            if let Some((traps, _)) = &mut self.traps
                && crashed < *crash.borrow_and_update()
            {
                crashed += 1;
                traps.insert(self.sent);
                self.send(json!({ "do": "panic" })).await;
            }
            let data = json!({ "from": self.name(), "number": self.sent });
            self.send(data).await;
            while self.waiting.len() >= WINDOW {
                self.receive().await;
            }
        }
        while !self.waiting.is_empty() {
            self.receive().await;
        }
        self
    }
}

/// Swaps, kills and crashes in a random order. A crash ends before the next trouble begins, because
/// an instance that crashes at once fails a kill.
async fn trouble(
    host: &Started,
    mut random: Random,
    crash: &watch::Sender<usize>,
    crashed: &mut watch::Receiver<usize>,
) {
    let (mut version, mut all) = (0, [vec![0; SWAPS], vec![1; KILLS], vec![2; CRASHES]].concat());
    while !all.is_empty() {
        match all.swap_remove(random.below(all.len() as u64) as usize) {
            0 => {
                version += 1;
                host.rewrite(GUEST, json!({ "config": { "version": version } }));
                let swapped = host.reload(GUEST).await;
                assert_eq!(swapped["outcome"], "swapped", "{swapped}");
            }
            1 => {
                let mode = if random.below(2) == 0 { KillMode::Graceful } else { KillMode::Immediate };
                let broker = [None, Some(0), Some(1)][random.below(3) as usize];
                host.running().kill_brokers(broker, mode).await.unwrap();
            }
            _ => {
                crash.send_modify(|count| *count += 1);
                let wanted = *crash.borrow();
                crashed.wait_for(|count| *count == wanted).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_accepted_message_is_lost_or_doubled_and_no_subscription_ends() {
    rounds(round).await;
}

async fn round(number: u64) {
    let restarts = json!({ "maxRestarts": 10_000, "restartBackoff": "1ms", "restartBackoffMax": "20ms" });
    let host = with(json!({ "queue": { "events": 100_000, "bytes": "64MiB" } }))
        .config(json!({ "isolate": restarts }))
        .limit(GUEST, "cpu", "5s")
        .start()
        .await;
    let mut readers = Vec::new();
    for version in [1, 2, 2] {
        readers.push(Client::subscribed(&host, version, CHANNEL).await);
    }
    let ((stop, stopped), (crash, crashes)) = (watch::channel(false), watch::channel(0));
    let (ended, mut crashed) = watch::channel(0);
    let mut running = Vec::new();
    for index in 0..4 {
        let client = Client::open(&host, 1 + index % 2).await;
        let traps = (index == 0).then(|| (BTreeSet::new(), ended.clone()));
        let publisher = Publisher { traps, ..Publisher::new(client, CHANNEL, PACE) };
        running.push(tokio::spawn(publisher.run(stopped.clone(), crashes.clone())));
    }
    trouble(&host, Random::new(number), &crash, &mut crashed).await;
    stop.send(true).unwrap();
    let mut publishers = Vec::new();
    for publisher in running {
        publishers.push(publisher.await.unwrap());
    }
    // A last message, behind all others.
    let mut last = Client::open(&host, 2).await;
    last.publish(CHANNEL, json!("last")).await;
    let mut orders = Vec::new();
    for reader in &mut readers {
        let (mut order, mut offset) = (Vec::new(), 0);
        loop {
            let message = reader.message().await;
            let position = message["position"].as_str().unwrap().split_once('-').unwrap().1.parse::<u64>().unwrap();
            assert_eq!(position, offset + 1, "a message is lost or doubled");
            offset = position;
            if message["data"] == "last" {
                break;
            }
            order.push(from(&message));
        }
        orders.push(order);
    }
    assert!(compare(&orders, &publishers) >= CRASHES);
    assert_eq!(host.running().channel_count(CHANNEL), 3);
}

/// The publisher of a message and its number.
pub fn from(message: &Value) -> (String, u64) {
    (message["data"]["from"].as_str().unwrap().to_owned(), message["data"]["number"].as_u64().unwrap())
}

/// Asserts that all readers have received what the host has accepted, in one order. Returns how
/// many messages have crashed.
pub fn compare(orders: &[Vec<(String, u64)>], publishers: &[Publisher]) -> usize {
    assert!(orders.windows(2).all(|pair| pair[0] == pair[1]), "the readers have different orders");
    let (mut accepted, mut failed) = (0, BTreeMap::<String, usize>::new());
    for publisher in publishers {
        let name = publisher.name();
        let got: Vec<u64> = orders[0].iter().filter(|(from, _)| *from == name).map(|(_, number)| *number).collect();
        assert!(got.is_sorted_by(|a, b| a < b), "the messages of a publisher are out of order");
        let (got, want): (BTreeSet<_>, BTreeSet<_>) =
            (got.into_iter().collect(), publisher.accepted.iter().copied().collect());
        assert_eq!(got, want, "a message that was refused is published, or one that was accepted is not");
        accepted += want.len();
        for code in publisher.failed.values() {
            *failed.entry(code.clone()).or_default() += 1;
        }
    }
    println!("{accepted} messages, failed: {failed:?}");
    assert!(failed.keys().all(|code| code == "crashed"), "{failed:?}");
    failed.values().sum()
}

#[tokio::test]
async fn a_channel_moves_to_another_broker_while_the_module_has_failed_in_its_home() {
    let restarts = json!({ "maxRestarts": 1, "restartBackoff": "1ms", "restartBackoffMax": "1ms" });
    let host = with(json!({})).config(json!({ "isolate": restarts })).start().await;
    let channel = "channels/publish/moves";
    let mut client = Client::subscribed(&host, 2, channel).await;
    client.publish(channel, json!(1)).await;
    let home = |seen: Value| seen[0]["isolate"].as_str().unwrap().to_owned();
    let first = home(host.at_home(channel, "seen", Value::Null).await);
    for _ in 0..2 {
        let error = client.error("#publish", json!({ "channel": channel, "data": { "do": "panic" } })).await;
        assert_eq!(error["code"], "crashed", "{error}");
    }
    eventually("the module has failed there", || async {
        let answer = client_publish(&host, channel).await;
        let seen = host.at_home(channel, "seen", Value::Null).await;
        answer == Value::Null && seen.get(0).is_some_and(|facts| facts["isolate"] != *first)
    })
    .await;
    assert!(client.data(2).await.len() == 2, "the subscription is still there");
}

/// Publishes as a guest, and returns how that ended.
async fn client_publish(host: &Started, channel: &str) -> Value {
    host.channels(json!({ "do": "publishAndWait", "channel": channel, "payload": { "json": 2 } })).await
}

#[tokio::test]
async fn messages_wait_while_the_only_broker_is_killed() {
    let host = with(json!({})).config(json!({ "brokers": 1 })).start().await;
    let channel = "channels/publish/waits";
    let mut client = Client::subscribed(&host, 2, channel).await;
    for number in 0..10 {
        let killing = host.running().kill_brokers(Some(0), KillMode::Graceful);
        let (killed, ()) = tokio::join!(killing, client.publish(channel, json!(number)));
        assert_eq!(killed.unwrap().len(), 1);
    }
    assert_eq!(client.data(10).await, (0..10).map(|number| json!(number)).collect::<Vec<_>>());
}
