//! Kills under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{crashed, isolates};
use crate::harness::{Connection, TestHost, ends};
use crate::swap::load::{Load, assert_started_once, recorded};

/// Keep-alive connections, new connections, HTTP/2 streams, RPC and broadcasts at once.
#[tokio::test]
async fn fifty_graceful_kills_fail_no_call_close_no_socket_and_lose_or_double_no_broadcast() {
    const KILLS: u64 = 50;
    let (host, started) = recorded(TestHost::waits_for(&["snapshot"]));
    // Long timeouts, because calls may wait long on a slow machine.
    let host = host.limit("snapshot", "timeout", "60s").limit("waits", "timeout", "60s");
    let host = host.config(json!({ "master": { "processTermTimeout": "60s" } })).start().await;
    let load = Load::start(&host).await;
    let mut killed = 0;
    for round in 0.. {
        let id = [Some(0), Some(1), None][round % 3];
        let result = host.kill(id, false).await;
        assert_eq!(crashed(&result), 0, "{result}");
        killed += isolates(&result).len() as u64;
        if killed >= KILLS {
            break;
        }
    }
    let (answered, emitted) = load.end().await;
    assert_started_once(&started, emitted).await;
    let exits = host.events_named(&["workerExit"]).await;
    assert_eq!(exits.len() as u64, killed);
    assert_eq!(host.metric("fanfare_kills_total", &["snapshot"]).await, killed as f64);
    for outcome in ["snapshot", "waits"] {
        let module = format!("module=\"{outcome}\"");
        let all = host.metric("fanfare_calls_total", &[&module]).await;
        assert_eq!(host.metric("fanfare_calls_total", &[&module, "outcome=\"ok\""]).await, all);
    }
    for worker in [0, 1] {
        let slot = host.slot("snapshot", worker).await;
        assert_eq!((&slot["restarts"], &slot["leaked"], &slot["inFlight"]), (&json!(0), &json!(0), &json!(0)));
    }
    let answered: u64 = answered.values().sum();
    assert!(answered > 500 && emitted > 50, "{answered} calls, {emitted} broadcasts");
}

#[tokio::test]
async fn immediate_kills_fail_only_calls_in_flight() {
    const KILLS: usize = 40;
    let (host, started) = recorded(TestHost::with("snapshot").and("loops"));
    let host = host.limit("snapshot", "timeout", "60s").limit("loops", "timeout", "60s").start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for number in 0..6 {
        let (address, stop) = (host.http, stop.clone());
        clients.push(tokio::spawn(async move {
            // Some keep their connection, the others open a new one for each request.
            let (mut kept, mut ok, mut crashed) = (Connection::open(address).await, 0_u64, 0_u64);
            while !stop.load(Ordering::Acquire) {
                let mut new = match number % 3 {
                    0 => Some(Connection::open(address).await),
                    _ => None,
                };
                let connection = new.as_mut().unwrap_or(&mut kept);
                let answer = connection.send("POST", "/api/loops/busy", &[], "3").await;
                match answer.status {
                    200 => ok += 1,
                    500 if answer.code() == "crashed" => crashed += 1,
                    _ => panic!("{}", answer.text()),
                }
            }
            (ok, crashed)
        }));
    }
    let (address, stopped) = (host.admin, stop.clone());
    let emitter = tokio::spawn(async move {
        let (mut operator, mut emitted) = (Connection::open(address).await, 0_u64);
        while !stopped.load(Ordering::Acquire) {
            // Waits for the outcome, because the lanes are bounded.
            let url = "/v1/modules/snapshot/broadcasts/mark?gather=true";
            let told = operator.send("POST", url, &[], "").await.json();
            emitted += 1;
            let ends = ends(&told);
            assert_eq!(ends.len(), 2, "{told}");
            assert!(ends.iter().all(|(_, end)| end == "reply" || end == "crashed"), "{told}");
        }
        emitted
    });
    let mut reported = 0;
    for round in 0..KILLS {
        let killed = host.kill((round % 2) as u32, true).await;
        let loops = killed[0]["modules"].as_array().unwrap().iter().find(|module| module["module"] == "loops").unwrap();
        reported += loops["crashed"].as_u64().unwrap();
    }
    stop.store(true, Ordering::Release);
    let (mut ok, mut crashed) = (0, 0);
    for client in clients {
        let counts = client.await.unwrap();
        (ok, crashed) = (ok + counts.0, crashed + counts.1);
    }
    assert_eq!(crashed, reported, "exactly the calls in flight fail");
    assert!(crashed > 10 && ok > 30, "{ok} calls succeeded, {crashed} crashed");
    assert_started_once(&started, emitter.await.unwrap()).await;
    for worker in [0, 1] {
        let slot = host.slot("loops", worker).await;
        assert_eq!((&slot["state"], &slot["restarts"], &slot["inFlight"]), (&json!("ready"), &json!(0), &json!(0)));
    }
}
