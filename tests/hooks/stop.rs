//! The hook `stop`.

use std::time::Instant;

use fanfare::Stopped;
use serde_json::json;

use super::hooked;
use crate::harness::{Log, TestHost, eventually};

/// A host whose guest `master` logs `mark` in its hook `stop`.
fn stops(mark: &str, how: &str) -> TestHost {
    hooked(json!({ "stop": { "path": "stop" } })).manifest("master", json!({ "config": { "mark": mark, "stop": how } }))
}

fn stopped_in(mark: &str, isolate: &str, reason: &str) -> usize {
    let text = format!("{mark} stops in {isolate} with {{\"reason\":\"{reason}\"}} as Origin::Host");
    Log.lines(&[&text]).len()
}

#[tokio::test]
async fn it_runs_once_in_every_isolate_when_the_host_stops() {
    let hooks = json!({ "fail": { "path": "hook" }, "masterMessage": { "path": "message", "in": "broker" } });
    let host = stops("mark-shutdown", "ok").manifest("master", json!({ "hooks": hooks })).start().await;
    assert_eq!(host.stop().await, Stopped::Clean);
    for isolate in ["worker-0", "worker-1", "broker-0", "master"] {
        assert_eq!(stopped_in("mark-shutdown", isolate, "shutdown"), 1, "{isolate}");
    }
}

#[tokio::test]
async fn it_runs_when_the_module_is_removed_and_not_at_a_swap() {
    let host = stops("mark-removed", "ok").start().await;
    host.running().reload("master").await.unwrap();
    std::fs::remove_dir_all(host.dir.path().join("modules/master")).unwrap();
    host.running().reload("master").await.unwrap();
    for isolate in ["worker-0", "worker-1"] {
        eventually("it runs", || async { stopped_in("mark-removed", isolate, "removed") == 1 }).await;
    }
    assert_eq!(host.stop().await, Stopped::Clean);
    assert_eq!(Log.lines(&["mark-removed stops in"]).len(), 2);
}

#[tokio::test]
async fn it_runs_in_a_graceful_kill_and_not_in_an_immediate_one() {
    let host = stops("mark-killed", "ok").start().await;
    host.kill(1, true).await;
    host.kill(0, false).await;
    assert_eq!((stopped_in("mark-killed", "worker-0", "killed"), Log.lines(&["mark-killed stops in"]).len()), (1, 1));
}

#[tokio::test]
async fn a_hook_that_fails_or_traps_delays_no_stop_and_raises_no_event() {
    for how in ["fails", "traps"] {
        let host = stops(&format!("mark-{how}"), how).start().await;
        let events = host.running().swapper().services.events.clone();
        assert_eq!(host.stop().await, Stopped::Clean, "{how}");
        assert_eq!(stopped_in(&format!("mark-{how}"), "worker-1", "shutdown"), 1);
        let mut reader = events.read_after(0);
        while let Some(item) = reader.try_next() {
            let text = format!("{item:?}");
            assert!(!text.contains("Fail") && !text.contains("InstanceRestarted"), "{text}");
        }
    }
}

/// The test of `shutdown.hook`.
#[tokio::test]
pub async fn it_has_shutdown_hook_to_end() {
    let host = stops("mark-never", "never")
        .limit("master", "abandonAfter", "20ms")
        .config(json!({ "shutdown": { "hook": "200ms", "drain": "10s" } }))
        .start()
        .await;
    let begun = Instant::now();
    assert_eq!(host.stop().await, Stopped::Clean);
    assert!((200..5_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());

    let host = stops("mark-off", "ok").config(json!({ "shutdown": { "hook": 0 } })).start().await;
    assert_eq!(host.stop().await, Stopped::Clean);
    assert!(!Log.contains(&["mark-off stops in"]), "with 0 no hook runs");
}

#[tokio::test]
async fn it_runs_after_the_calls_that_wait_and_run() {
    let host = stops("mark-last", "ok")
        .manifest("master", json!({ "hooks": { "masterMessage": { "path": "message" } } }))
        .start()
        .await;
    let running = host.running();
    let hold = running.send_to_worker(0, None, json!({ "how": "hold" }));
    let removal = async {
        let busy = async || host.place("worker-0").await["inFlight"] == 1;
        eventually("it runs", &busy).await;
        let slot = running.dispatch().workers()[0].slot("master").unwrap();
        std::fs::remove_dir_all(host.dir.path().join("modules/master")).unwrap();
        running.reload("master").await.unwrap();
        eventually("the other worker stops", || async { stopped_in("mark-last", "worker-1", "removed") == 1 }).await;
        assert_eq!(stopped_in("mark-last", "worker-0", "removed"), 0, "a call still runs");
        drop(slot);
    };
    let (held, ()) = tokio::join!(hold, removal);
    assert_eq!(held.unwrap_err().code(), "timeout", "nobody can release it any more");
    eventually("then it runs", || async { stopped_in("mark-last", "worker-0", "removed") == 1 }).await;
}
