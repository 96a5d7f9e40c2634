//! Publishes from guests while readers come and go, and instances are swapped and killed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fanfare::api::KillMode;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{count, path};
use crate::harness::{Connection, EventStream, Random, Started, eventually, test_duration};

/// How long the readers and the module are troubled.
fn duration() -> Duration {
    test_duration().unwrap_or(Duration::from_secs(3))
}

/// The time between two swaps or kills.
const PAUSE: Duration = Duration::from_millis(200);

const KEYS: [&str; 3] = ["streams/a", "streams/b", "streams/c"];
const READERS: u64 = 12;

/// How many numbers were published, and those whose call has crashed, so that nobody knows whether
/// they were.
type Published = (u64, BTreeSet<u64>);

/// Publishes numbers to a key until told to stop.
async fn publish(host: Arc<Started>, key: &'static str, pace: Option<Duration>, stop: Arc<AtomicBool>) -> Published {
    let (mut next, mut unknown) = (0, BTreeSet::new());
    let mut connection = Connection::open(host.http).await;
    let mut ticks = pace.map(tokio::time::interval);
    while !stop.load(Ordering::Relaxed) {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let body = json!({ "key": key, "from": next, "count": 1 }).to_string();
        let answer = connection.send("POST", "/api/streams/burst", &[], body).await;
        if answer.status != 200 {
            assert_eq!(answer.code(), "crashed", "{}", answer.text());
            unknown.insert(next);
        }
        next += 1;
    }
    (next, unknown)
}

/// Follows a key until its last number. Three of four readers come and go at random. Returns the
/// numbers that it has received.
async fn follow(host: Arc<Started>, key: &'static str, number: u64, last: watch::Receiver<u64>) -> Vec<u64> {
    let mut random = Random::new(number);
    let mut stream = EventStream::open(host.http, &path(key)).await;
    let mut received = Vec::new();
    let is_restless = !number.is_multiple_of(4);
    loop {
        let event = stream.event().await.expect("the host ends no stream");
        assert_ne!(event.name(), "reset", "a reader of {key} was reset after {:?}", received.last());
        received.push(event.text().parse().unwrap());
        if received.last() == Some(&*last.borrow()) {
            return received;
        }
        if is_restless && random.below(20) == 0 {
            let id = stream.last_id().to_owned();
            if random.below(2) == 0 {
                // The old connection is still open while the new one resumes.
                stream = EventStream::resume(host.http, &path(key), &id).await;
            } else {
                drop(stream);
                stream = EventStream::resume(host.http, &path(&format!("{key}&lastEventId={id}")), "").await;
            }
        }
    }
}

/// Publishers of three keys and their readers, who come and go.
pub struct Traffic {
    host: Arc<Started>,
    readers: Vec<(&'static str, JoinHandle<Vec<u64>>)>,
    publishers: [(&'static str, JoinHandle<Published>); 3],
    stop: Arc<AtomicBool>,
    last: watch::Sender<u64>,
}

impl Traffic {
    /// The settings of `sse` that it needs, so that no reader is reset.
    pub fn settings() -> serde_json::Value {
        json!({ "history": { "count": 100_000, "bytes": "64MiB" } })
    }

    /// Starts in a host with the module `streams`. Each publisher publishes once in `pace`, or as
    /// fast as it can.
    pub async fn start(host: &Arc<Started>, pace: Option<Duration>) -> Traffic {
        let (send, last) = watch::channel(u64::MAX);
        let mut readers = Vec::new();
        for number in 0..READERS {
            let key = KEYS[number as usize % KEYS.len()];
            readers.push((key, tokio::spawn(follow(host.clone(), key, number, last.clone()))));
        }
        eventually("all readers are there", || async { u64::from(count(host, None)) == READERS }).await;
        let stop = Arc::new(AtomicBool::new(false));
        let publishers = KEYS.map(|key| (key, tokio::spawn(publish(host.clone(), key, pace, stop.clone()))));
        Traffic { host: host.clone(), readers, publishers, stop, last: send }
    }

    /// Stops, and asserts that each reader has received every event once and in order.
    pub async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let mut unknown = Vec::new();
        for (key, publisher) in self.publishers {
            let (published, of_key) = publisher.await.unwrap();
            println!("{key}: {published} published, {} unknown", of_key.len());
            unknown.push((published, of_key));
        }
        // The last number ends the readers. It differs from all others.
        let end = unknown.iter().map(|(published, _)| *published).max().unwrap();
        self.last.send(end).unwrap();
        for key in KEYS {
            self.host.running().publish(key, end.to_string()).unwrap();
        }
        let mut first: [Option<BTreeSet<u64>>; 3] = [const { None }; 3];
        for (number, (key, reader)) in self.readers.into_iter().enumerate() {
            let received = reader.await.unwrap();
            assert!(received.is_sorted_by(|a, b| a < b), "{key}: a reader got an event twice or out of order");
            let received: BTreeSet<u64> = received.into_iter().collect();
            let (published, unknown) = &unknown[number % KEYS.len()];
            let missing: Vec<u64> = (0..*published).filter(|n| !received.contains(n) && !unknown.contains(n)).collect();
            assert!(missing.is_empty(), "{key}: a reader missed {missing:?}");
            // Whether or not a killed call has published, all readers agree on it.
            let first = first[number % KEYS.len()].get_or_insert_with(|| received.clone());
            assert_eq!(*first, received, "{key}: two readers differ");
        }
        eventually("all have left", || async { count(&self.host, None) == 0 }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_and_kills_every_200_ms_lose_and_double_no_event_of_readers_that_come_and_go() {
    let host = Arc::new(super::guest().config(json!({ "sse": Traffic::settings() })).start().await);
    let traffic = Traffic::start(&host, None).await;
    let (begun, mut trouble) = (Instant::now(), 0);
    let mut ticks = tokio::time::interval(PAUSE);
    while begun.elapsed() < duration() {
        ticks.tick().await;
        match trouble % 3 {
            0 => {
                let manifest = super::changed_manifest(&host, trouble);
                host.dir.write("modules/streams/module.json", manifest);
                host.running().reload("streams").await.unwrap();
            }
            1 => drop(host.running().kill_workers(Some(trouble % 2), KillMode::Immediate).await.unwrap()),
            _ => drop(host.running().kill_workers(None, KillMode::Graceful).await.unwrap()),
        }
        trouble += 1;
    }
    println!("{trouble} swaps and kills");
    traffic.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storms_of_a_guest_reach_readers_whole_or_cut_them() {
    let host = super::guest()
        .config(json!({ "sse": { "queue": { "events": 64 }, "history": { "count": 200 } } }))
        // A burst of an unoptimised host on a busy machine takes long.
        .limit("streams", "cpu", "5s")
        .start()
        .await;
    let host = Arc::new(host);
    let stop = Arc::new(AtomicBool::new(false));
    let storm = {
        let (host, stop) = (host.clone(), stop.clone());
        tokio::spawn(async move {
            let (mut next, mut connection) = (0, Connection::open(host.http).await);
            while !stop.load(Ordering::Relaxed) {
                let body = json!({ "key": "streams/storm", "from": next, "count": 500, "size": 2_000 }).to_string();
                let answer = connection.send("POST", "/api/streams/burst", &[], body).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                next += 500;
            }
            next
        })
    };
    let begun = Instant::now();
    let cut = |host: Arc<Started>| async move { host.metric("fanfare_hub_slow_clients", &[]).await };
    let read = |number: u64| {
        let host = host.clone();
        async move {
            // The first one reads nothing from time to time, until the host has cut a client.
            let stalls = number == 1;
            let (mut random, mut id, mut last, mut cuts) = (Random::new(number), String::new(), None::<u64>, 0);
            while begun.elapsed() < duration() {
                let mut stream = EventStream::try_resume(host.http, &path("streams/storm"), &id).await;
                assert_eq!(stream.status, 200);
                let events = if stalls { u64::MAX } else { random.below(2_000) };
                for event in 0..events {
                    // The sockets hold fewer events than this.
                    if stalls && event % 10_000 == 0 {
                        let before = cut(host.clone()).await;
                        eventually("a client is cut", || async { cut(host.clone()).await > before }).await;
                    }
                    // A reader that is too slow is cut between two events, within one, or
                    // before the first comment.
                    let Some(event) = stream.event_or_cut().await else {
                        cuts += 1;
                        break;
                    };
                    if event.name() == "reset" {
                        last = None;
                        continue;
                    }
                    let number: u64 = event.text().trim_end_matches('x').parse().unwrap();
                    let expected = last.map_or(number, |last| last + 1);
                    assert_eq!(number, expected, "missed or doubled, without a reset");
                    assert_eq!(event.text().len(), number.to_string().len() + 2_000);
                    last = Some(number);
                }
                // A browser keeps the previous id if a stream was cut before its first one.
                if !stream.last_id().is_empty() {
                    id = stream.last_id().to_owned();
                }
            }
            cuts
        }
    };
    let cuts = futures_util::future::join_all((1..=8).map(read)).await;
    stop.store(true, Ordering::Relaxed);
    println!("{} events; cuts of the readers: {cuts:?}", storm.await.unwrap());
    assert!(cuts[0] > 0, "the reader that stalls was not cut");
    eventually("all have left", || async { count(&host, None) == 0 }).await;
}
