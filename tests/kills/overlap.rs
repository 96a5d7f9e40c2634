//! Several kills at once, and kills while the host stops.

use fanfare::Stopped;
use fanfare::api::KillMode;
use serde_json::json;

use super::{crashed, isolates, killable};
use crate::harness::{Connection, eventually, json_of};

#[tokio::test]
async fn two_graceful_kills_take_turns() {
    let host = killable(json!({ "restart": "waits" }), json!({})).start().await;
    let kills = [host.killing(None, false), host.killing(None, false)];
    // `waits` is killed after `snapshot`, so that each startup waits in an instance that serves.
    for worker in [0, 1, 0, 1] {
        host.until_holding(worker, 1).await;
        let other = host.run(1 - worker, "waits", "holding", serde_json::Value::Null).await;
        assert_eq!(other, 0, "only one isolate at a time");
        host.release_waiting(worker).await;
    }
    for kill in kills {
        assert_eq!(isolates(&kill.await.unwrap()), ["worker-0", "worker-1"]);
    }
    assert_eq!(host.events_named(&["workerExit"]).await.len(), 4);
    assert_eq!(host.metric("fanfare_kills_total", &["snapshot"]).await, 4.0);
}

#[tokio::test]
async fn an_immediate_kill_does_not_wait_for_a_graceful_one() {
    let host = killable(json!({}), json!({ "processTermTimeout": "1m" })).start().await;
    let running = host.wait_elsewhere().await;
    let graceful = host.killing(0, false);
    eventually("the next instance serves", || async { host.slot("snapshot", 0).await["inFlight"] == 1 }).await;
    eventually("it has taken over", || async {
        host.metric("fanfare_kills_total", &["snapshot", "worker-0"]).await == 1.0
    })
    .await;
    assert_eq!(crashed(&host.kill(0, true).await), 1);
    assert_eq!(running.await.unwrap()["code"], "crashed");
    assert_eq!(isolates(&graceful.await.unwrap()), ["worker-0"], "the graceful kill has nothing left to wait for");
    assert_eq!(host.count_on(0).await, 1);
}

#[tokio::test]
async fn many_kills_of_both_modes_at_once_leave_one_instance_in_each_worker() {
    let host = killable(json!({}), json!({})).start().await;
    let memory = async || host.metric("fanfare_instance_memory_bytes", &["snapshot"]).await;
    let before = memory().await;
    let kills: Vec<_> =
        (0..12).map(|number| host.killing((number % 3 > 0).then_some(number % 2), number % 4 > 1)).collect();
    for kill in kills {
        let killed = kill.await.unwrap();
        assert!(killed.is_array(), "{killed}");
    }
    for worker in [0, 1] {
        let slot = host.slot("snapshot", worker).await;
        assert_eq!((&slot["state"], &slot["restarts"], &slot["inFlight"]), (&json!("ready"), &json!(0), &json!(0)));
        assert_eq!(host.count_on(worker as u32).await, 1);
    }
    assert!(before > 0.0 && memory().await <= before, "{} of {before} bytes", memory().await);
}

#[tokio::test]
async fn a_kill_that_is_not_over_when_the_host_stops_is_an_error() {
    let host = killable(json!({}), json!({ "processTermTimeout": "1m" }));
    let host = host.config(json!({ "shutdown": { "drain": "500ms", "linger": "10ms" } })).start().await;
    let running = host.wait_elsewhere().await;
    let kill = host.killing(0, false);
    eventually("the next instance serves", || async { host.look(0).await["count"] == 0 }).await;
    assert_eq!(host.stop().await, Stopped::CutOff);
    let refused = kill.await.unwrap();
    assert_eq!((&refused["status"], &refused["code"]), (&json!(503), &json!("unavailable")), "{refused}");
    assert_eq!(refused["detail"], "the host is stopping, so it kills no isolate");
    running.abort();
}

#[tokio::test]
async fn a_host_that_drains_can_be_freed_from_a_stuck_call() {
    for immediate in super::MODES {
        let host = killable(json!({}), json!({ "processTermTimeout": "10ms" }));
        let host = host.config(json!({ "shutdown": { "drain": "1m", "linger": "10ms" } })).start().await;
        let (admin, http) = (host.admin, host.http);
        let mut client = Connection::open(http).await;
        let stuck = tokio::spawn(async move { client.send("POST", "/api/waits/hold", &[], "").await });
        eventually("a call is stuck", || async {
            host.slot("waits", 0).await["inFlight"] == 1 || host.slot("waits", 1).await["inFlight"] == 1
        })
        .await;
        let free = async {
            let draining =
                || async { Connection::open(admin).await.send("GET", "/readyz", &[], "").await.status == 503 };
            eventually("the host drains", draining).await;
            let body = json!({ "immediate": immediate }).to_string();
            // The host may stop before the kill is over, because nothing else keeps it.
            let killed = Connection::open(admin).await.send("POST", "/v1/workers/kill", &[], body).await;
            assert!(matches!(killed.status, 200 | 503), "{}", killed.text());
        };
        let (stopped, ()) = tokio::join!(host.stop(), free);
        assert_eq!(stopped, Stopped::Clean);
        assert_eq!(stuck.await.unwrap().code(), "crashed");
    }
}

#[tokio::test]
async fn a_kill_continues_when_its_caller_no_longer_waits() {
    let host = killable(json!({ "restart": "waits", "worker": 0 }), json!({})).start().await;
    let kill = host.running().kill_workers(Some(0), KillMode::Graceful);
    let waiting = host.until_holding(0, 1);
    tokio::select! {
        killed = kill => panic!("{killed:?}"),
        () = waiting => {}
    }
    host.release_waiting(0).await;
    eventually("the kill is over", || async { host.events_named(&["workerExit"]).await.len() == 1 }).await;
    let counted = json_of(&host.call("worker-0", "snapshot", "count", "").await);
    assert_eq!(counted["count"], 1);
}
