//! Hooks that cause kills. Guests cannot kill, but the embedding program may do so for them.

use fanfare::{GuestMessage, Payload};
use serde_json::{Value, json};

use super::crashed;
use crate::harness::{Connection, Started, TestHost, eventually};

/// The guest `master`, which posts each `workerExit` to the embedding program.
fn posting() -> TestHost {
    let route = |path: &str| json!({ "path": path, "handler": path, "middlewares": "inner" });
    let routes = ["post", "send", "options"].map(route);
    let hooks = json!({ "hooks": { "workerExit": { "path": "post" } }, "routes": routes });
    TestHost::with("master").manifest("master", hooks).limit("master", "timeout", "30s")
}

/// Kills a worker for each message of a guest: `kill` returns which one and how, or `None`.
fn kill_on_message(host: &Started, kill: impl Fn(Value) -> Option<Value> + Send + Sync + 'static) {
    let admin = host.admin;
    host.running().on_message(move |message: GuestMessage| {
        let request = kill(serde_json::from_slice(message.data.as_bytes()).unwrap());
        async move {
            let Some(request) = request else { return Ok(Payload::None) };
            let mut operator = Connection::open(admin).await;
            let killed = operator.send("POST", "/v1/workers/kill", &[], request.to_string()).await;
            Ok(killed.text().into())
        }
    });
}

#[tokio::test]
async fn a_hook_that_kills_another_worker_ends_with_that_kill() {
    for immediate in super::MODES {
        let host = posting().start().await;
        kill_on_message(&host, move |exit| (exit["id"] == 0).then_some(json!({ "id": 1, "immediate": immediate })));
        assert_eq!(crashed(&host.kill(0, immediate).await), 0);
        let exits = || async { host.events_named(&["workerExit"]).await.len() == 2 };
        eventually("the hook has killed worker 1", exits).await;
        for worker in [0, 1] {
            let slot = host.slot("master", worker).await;
            assert_eq!((&slot["state"], &slot["restarts"]), (&json!("ready"), &json!(0)));
        }
        assert_eq!(host.events_named(&["fail"]).await.len(), 0);
    }
}

#[tokio::test]
async fn hooks_that_kill_again_and_again_delay_nobody_and_end_with_the_host() {
    let host = posting().start().await;
    // Each exit causes the next kill, of the other worker.
    kill_on_message(&host, |exit| Some(json!({ "id": 1 - exit["id"].as_u64().unwrap() })));
    host.kill(0, false).await;
    let exits = || async { host.events_named(&["workerExit"]).await.len() > 6 };
    eventually("the hooks have killed several times", exits).await;
    for worker in ["worker-0", "worker-1"] {
        assert!(host.call(worker, "master", "options", "/environment").await["code"].is_null());
    }
    assert_eq!(host.stop().await, fanfare::Stopped::Clean);
}

#[tokio::test]
async fn a_call_that_has_its_own_worker_killed_ends_as_crashed() {
    let host = posting().config(json!({ "master": { "processTermTimeout": "50ms" } })).start().await;
    for immediate in super::MODES {
        kill_on_message(&host, move |data| (data == "me").then_some(json!({ "id": 0, "immediate": immediate })));
        let ended = host.call("worker-0", "master", "send", json!({ "data": "me" }).to_string()).await;
        assert_eq!(ended["code"], "crashed", "it waits for the kill, and the kill for it: {ended}");
        let again = host.call("worker-0", "master", "send", json!({ "data": "other" }).to_string()).await;
        assert!(again["code"].is_null(), "{again}");
    }
}
