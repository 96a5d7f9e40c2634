//! HTTP requests, RPC and broadcasts. Each call ends with a reply, or as crashed if it was in
//! flight in an instance that was killed at once.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::PACE;
use super::trouble::Trouble;
use crate::harness::{Connection, Http2, Started, ends, json_of};

type Stop = watch::Receiver<bool>;

pub struct Traffic {
    host: Arc<Started>,
    /// Each returns how many requests have crashed.
    requests: Vec<JoinHandle<u64>>,
    rpc: JoinHandle<()>,
    /// Returns how many it has emitted.
    emitter: JoinHandle<u64>,
}

impl Traffic {
    pub async fn start(host: &Arc<Started>, stop: &Stop) -> Traffic {
        let mut requests = vec![
            tokio::spawn(keep_asking(host.http, true, stop.clone())),
            tokio::spawn(keep_asking(host.http, false, stop.clone())),
        ];
        requests.push(tokio::spawn(ask_in_streams(Http2::connect(host.http).await, stop.clone())));
        let rpc = tokio::spawn(call_others(host.admin, stop.clone()));
        let emitter = tokio::spawn(emit(host.admin, stop.clone()));
        Traffic { host: host.clone(), requests, rpc, emitter }
    }

    /// Asserts that only calls in flight have crashed. Returns the number of broadcasts.
    pub async fn end(self, trouble: &Trouble) -> u64 {
        let mut crashed = 0;
        for client in self.requests {
            crashed += client.await.unwrap();
        }
        self.rpc.await.unwrap();
        let emitted = self.emitter.await.unwrap();
        let (echo, outcome) = ("module=\"echo\"", "outcome=\"crashed\"");
        let of_http = self.host.metric("fanfare_calls_total", &[echo, "trigger=\"http\"", outcome]).await;
        assert_eq!(of_http, crashed as f64, "each crashed call has this answer, and no other one");
        for module in ["echo", "waits"] {
            let label = format!("module=\"{module}\"");
            let counted = self.host.metric("fanfare_calls_total", &[&label, outcome]).await;
            assert_eq!(counted, trouble.in_flight(module) as f64, "{module}: exactly the calls in flight crash");
        }
        println!("{crashed} requests were in flight in an instance that was killed");
        emitted
    }
}

/// Sends requests over one connection, or each over a new one. The host closes none.
async fn keep_asking(address: SocketAddr, keeps: bool, stop: Stop) -> u64 {
    let (mut kept, mut crashed, mut ticks) = (Connection::open(address).await, 0, tokio::time::interval(PACE));
    for number in 0_u64.. {
        ticks.tick().await;
        if *stop.borrow() {
            break;
        }
        let mut new = if keeps { None } else { Some(Connection::open(address).await) };
        let body = format!("request {number}");
        let answer = new.as_mut().unwrap_or(&mut kept).send("POST", "/api/echo/echo", &[], body.as_str()).await;
        match answer.status {
            200 => assert_eq!(answer.text(), body),
            500 if answer.code() == "crashed" => crashed += 1,
            _ => panic!("{}: {}", answer.status, answer.text()),
        }
    }
    crashed
}

/// Sends requests over one connection of HTTP/2, two at a time.
async fn ask_in_streams(client: Http2, stop: Stop) -> u64 {
    let (mut crashed, mut ticks) = (0, tokio::time::interval(PACE));
    for number in 0_u64.. {
        ticks.tick().await;
        if *stop.borrow() {
            break;
        }
        let bodies = [number, number + 1].map(|number| format!("stream {number}"));
        for (body, stream) in bodies.clone().into_iter().zip(bodies.map(|body| client.send("/api/echo/echo", body))) {
            match stream.answer().await {
                (200, answer) => assert_eq!(answer, body),
                (500, answer) if answer.contains("\"code\":\"crashed\"") => crashed += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    crashed
}

/// Lets `waits` in each worker call `echo` in the other one.
async fn call_others(admin: SocketAddr, stop: Stop) {
    let (mut operator, mut ticks) = (Connection::open(admin).await, tokio::time::interval(PACE));
    for number in 0_u64.. {
        ticks.tick().await;
        if *stop.borrow() {
            break;
        }
        let (from, to) = (number % 2, 1 - number % 2);
        let url = format!("/v1/modules/waits/call?target=worker-{from}&path=nested");
        let spec = json!({ "route": "echo/echo", "target": { "worker": to }, "payload": format!("call {number}") });
        let told = operator.send("POST", &url, &[], spec.to_string()).await.json();
        if told["code"] == "crashed" {
            continue;
        }
        let outcome = json_of(&told);
        if outcome["error"]["kind"] != "crashed" {
            assert_eq!(outcome["ok"]["payload"], format!("call {number}"), "{outcome}");
        }
    }
}

/// Emits a broadcast, and gathers every second one.
async fn emit(admin: SocketAddr, stop: Stop) -> u64 {
    let (mut operator, mut emitted, mut ticks) = (Connection::open(admin).await, 0_u64, tokio::time::interval(PACE));
    while !*stop.borrow() {
        ticks.tick().await;
        let gather = if emitted.is_multiple_of(2) { "?gather=true" } else { "" };
        let url = format!("/v1/modules/counts/broadcasts/append{gather}");
        let told: Value = operator.send("POST", &url, &[], "x").await.json();
        emitted += 1;
        match told.as_array() {
            Some(_) => {
                let ends = ends(&told);
                let workers: Vec<&str> = ends.iter().map(|(isolate, _)| isolate.as_str()).collect();
                assert_eq!(workers, ["worker-0", "worker-1"]);
                assert!(ends.iter().all(|(_, end)| end == "reply" || end == "crashed"), "{told}");
            }
            None => assert_eq!(told["accepted"], 2, "{told}"),
        }
    }
    emitted
}
