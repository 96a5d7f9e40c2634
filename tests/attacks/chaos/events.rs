//! Emitters and subscribers of the event service, and guests that emit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Interval;

use super::PACE;
use crate::harness::{Connection, EventStream, Random, Started, eventually};

type Stop = watch::Receiver<bool>;

/// An event as a subscriber receives it: its position, its type, its emitter and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Received {
    position: String,
    kind: String,
    from: u64,
    number: u64,
}

/// The numbers of an emitter with their positions. `None` if nobody knows.
type Emitted = BTreeMap<u64, Option<String>>;

/// The number of the guest among the emitters.
const GUEST: u64 = 2;
/// The last event, which ends the subscribers.
const LAST: u64 = 3;

/// The messages of a subscription that may wait. Fewer than its queue holds.
const MOST_WAITING: u64 = 500;

pub struct Traffic {
    host: Arc<Started>,
    subscribers: Vec<JoinHandle<Vec<Received>>>,
    emitters: Vec<JoinHandle<Emitted>>,
}

impl Traffic {
    pub async fn start(host: &Arc<Started>, stop: &Stop) -> Traffic {
        let service = host.events.unwrap();
        let subscribe = json!({ "pattern": "chaos/*", "route": "on" }).to_string();
        assert_eq!(host.call("worker-0", "subscriptions", "subscribe", subscribe).await["status"], 200);
        let mut subscribers = Vec::new();
        for (number, query) in ["type=chaos/*", "type=chaos/*", "type=chaos/0&type=chaos/last"].into_iter().enumerate()
        {
            subscribers.push(tokio::spawn(follow(service, query, number as u64)));
        }
        eventually("all subscribers are there", || async {
            Connection::open(service).await.send("GET", "/", &[], "").await.json()["subscribers"] == 3
        })
        .await;
        let emitters = vec![
            tokio::spawn(emit(host.clone(), 0, stop.clone())),
            tokio::spawn(emit(host.clone(), 1, stop.clone())),
            tokio::spawn(emit_as_guest(host.clone(), stop.clone())),
        ];
        Traffic { host: host.clone(), subscribers, emitters }
    }

    /// Asserts that each subscriber has received each event once and in one order. Returns the
    /// positions of all events.
    pub async fn end(self) -> Vec<String> {
        let mut emitted = Vec::new();
        for emitter in self.emitters {
            emitted.push(emitter.await.unwrap());
        }
        let last = json!({ "type": "chaos/last", "value": [LAST, 0] }).to_string();
        let json = [("content-type", "application/json")];
        let mut connection = Connection::open(self.host.events.unwrap()).await;
        assert_eq!(connection.send("POST", "/events", &json, last).await.status, 200);
        let mut received = Vec::new();
        for subscriber in self.subscribers {
            received.push(subscriber.await.unwrap());
        }
        let [all, again, some] = &received[..] else { panic!() };
        assert_eq!(all, again, "two subscribers differ");
        let of_types = all.iter().filter(|event| ["chaos/0", "chaos/last"].contains(&&*event.kind)).cloned();
        assert_eq!(*some, of_types.collect::<Vec<_>>(), "a subscriber of a type differs");
        for (from, emitted) in (0..).zip(&emitted) {
            let own = all.iter().filter(|event| event.from == from);
            let own: Vec<(u64, &str)> = own.map(|event| (event.number, &*event.position)).collect();
            assert!(own.is_sorted_by(|a, b| a.0 < b.0), "an event is doubled, or out of order");
            let received: BTreeMap<u64, &str> = own.into_iter().collect();
            for (number, position) in emitted {
                match (position, received.get(number)) {
                    // A guest does not learn the position.
                    (Some(position), received) if !position.is_empty() => assert_eq!(received, Some(&&**position)),
                    (Some(_), received) => assert!(received.is_some(), "an event of a guest is lost"),
                    (None, _) => {}
                }
            }
            assert!(received.keys().all(|number| emitted.contains_key(number)));
            let unknown = emitted.values().filter(|position| position.is_none()).count();
            println!("emitter {from}: {} events, {unknown} unknown", emitted.len());
        }
        all.iter().map(|event| event.position.clone()).collect()
    }
}

/// Waits for the next tick, and until the subscriptions have room: they drop the oldest messages
/// when handlers on a slow machine are too far behind.
async fn pause(host: &Started, ticks: &mut Interval, stop: &Stop) {
    loop {
        ticks.tick().await;
        let waiting = host.running().subscriptions().iter().map(|one| one.waiting).max();
        if *stop.borrow() || waiting < Some(MOST_WAITING) {
            return;
        }
    }
}

/// Emits events of three types, some of them again with the same key, as after a lost response.
async fn emit(host: Arc<Started>, from: u64, stop: Stop) -> Emitted {
    let (mut connection, mut emitted) = (Connection::open(host.events.unwrap()).await, Emitted::new());
    let (mut random, mut ticks) = (Random::new(100 + from), tokio::time::interval(PACE));
    for number in 0.. {
        pause(&host, &mut ticks, &stop).await;
        if *stop.borrow() {
            break;
        }
        let body = json!({ "type": format!("chaos/{}", number % 3), "value": [from, number] }).to_string();
        let key = format!("{from}-{number}");
        let headers = [("content-type", "application/json"), ("idempotency-key", &*key)];
        let mut positions = BTreeSet::new();
        for _ in 0..1 + u64::from(random.below(10) == 0) {
            let answer = connection.send("POST", "/events", &headers, body.as_str()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            positions.insert(answer.json()["position"].as_str().unwrap().to_owned());
        }
        assert_eq!(positions.len(), 1, "a repeated request has another position");
        emitted.insert(number, positions.pop_first());
    }
    emitted
}

/// Lets a guest emit events. The position is empty if it has.
async fn emit_as_guest(host: Arc<Started>, stop: Stop) -> Emitted {
    let (mut connection, mut emitted) = (Connection::open(host.http).await, Emitted::new());
    let mut ticks = tokio::time::interval(PACE);
    for number in 0.. {
        pause(&host, &mut ticks, &stop).await;
        if *stop.borrow() {
            break;
        }
        let body = json!({ "type": "chaos/guest", "value": [GUEST, number] }).to_string();
        let answer = connection.send("POST", "/api/subscriptions/emit", &[], body).await;
        let outcome = match answer.status {
            200 => Some(String::new()),
            _ => {
                assert_eq!(answer.code(), "crashed", "{}", answer.text());
                None
            }
        };
        emitted.insert(number, outcome);
    }
    emitted
}

/// Follows types until the last event. All but the first one come and go.
async fn follow(service: SocketAddr, query: &str, number: u64) -> Vec<Received> {
    let path = format!("/events?{query}");
    let (mut stream, mut random) = (EventStream::open(service, &path).await, Random::new(200 + number));
    let mut received: Vec<Received> = Vec::new();
    loop {
        let event = stream.event().await.expect("the host ends no subscription");
        assert_eq!(event.name(), "message", "reset after {:?}", received.last());
        let told: Value = serde_json::from_str(event.text()).unwrap();
        let part = |index: usize| told["value"][index].as_u64().unwrap();
        let kind = told["type"].as_str().unwrap().to_owned();
        received.push(Received { position: event.id.unwrap(), kind, from: part(0), number: part(1) });
        if part(0) == LAST {
            return received;
        }
        if number > 0 && random.below(30) == 0 {
            let last = stream.last_id().to_owned();
            stream = EventStream::resume(service, &path, &last).await;
        }
    }
}
