//! Workers that cannot receive messages: the module has failed there, its instance does not start
//! again soon, or there is no memory for an instance.

use serde_json::{Value, json};

use super::{EMITTER, GUEST, numbers, subscribed};
use crate::harness::{Gate, Started, TestHost, eventually};

impl Started {
    async fn emit_in_worker_1(&self, value: u64) {
        let spec = json!({ "type": "t", "value": value }).to_string();
        let reply = self.call("worker-1", EMITTER, "emit", spec).await;
        assert_eq!(reply["status"], 200, "{reply}");
    }

    async fn crash_worker_0(&self, body: &str) {
        assert_eq!(self.call("worker-0", GUEST, "crash", body).await["code"], "crashed");
    }
}

#[tokio::test]
async fn a_worker_where_the_module_has_failed_holds_up_no_other_one() {
    let settings =
        json!({ "event": "*", "path": "on", "deliver": "all", "overflow": "wait", "queue": { "messages": 1 } });
    let host = subscribed(json!({ "s": settings }))
        .workers(2)
        .config(json!({ "isolate": { "maxRestarts": 0 } }))
        .start()
        .await;
    host.crash_worker_0("").await;
    host.until(GUEST, 0, "state", "failed").await;
    for n in 0..20 {
        host.emit_in_worker_1(n).await;
    }
    let status = host.until_handled("s", 20).await;
    assert_eq!((&status["delivered"], &status["failed"], &status["missed"]), (&json!(20), &json!(0), &json!(0)));
    assert_eq!(numbers(&host.got(1).await), (0..20).collect::<Vec<_>>());
    eventually("worker 0 has skipped them", || async { host.subscription("s").await["dropped"] == 20 }).await;
    let events = host.events_named(&["subscriptionSkipped"]).await;
    let facts = (&events[0]["module"], &events[0]["subscription"], &events[0]["isolate"]);
    assert_eq!(facts, (&json!(GUEST), &json!("s"), &json!("worker-0")), "{events:?}");

    host.swap_to_version(1).await;
    host.emit_in_worker_1(20).await;
    host.until_handled("s", 22).await;
    assert_eq!(numbers(&host.got(0).await), [20]);
}

/// Crashes worker 0 while a message waits there, so that its next start is as far away as `isolate`
/// says. Asserts that the other worker gets the message.
async fn assert_moved(isolate: Value, crashes: u32, state: &str) {
    let gate = Gate::before(|call| &*call.route.handler == "crash" && format!("{:?}", call.payload).contains("last"));
    let host = subscribed(json!({ "s": { "event": "*", "path": "on" } }))
        .limit(GUEST, "concurrency", 1)
        .workers(2)
        .config(json!({ "isolate": isolate }))
        .probe(gate.probe())
        .start()
        .await;
    for crash in 1..crashes {
        host.crash_worker_0("").await;
        host.until_restarted(GUEST, 0, crash).await;
        host.until(GUEST, 0, "state", "ready").await;
    }
    tokio::join!(host.crash_worker_0("last"), async {
        eventually("worker 0 is busy", || async { gate.reached() == 1 }).await;
        for n in 0..2 {
            host.emit_in_worker_1(n).await;
        }
        let waits = || async { host.metric("fanfare_mailbox_calls", &["isolate=\"worker-0\""]).await >= 1.0 };
        eventually("a message waits in worker 0", waits).await;
        gate.open();
    });
    host.until_handled("s", 2).await;
    assert_eq!(numbers(&host.got(1).await), [0, 1]);
    host.until(GUEST, 0, "state", state).await;
    let status = host.subscription("s").await;
    assert_eq!((&status["failed"], &status["dropped"]), (&json!(0), &json!(0)), "{status}");
}

#[tokio::test]
async fn a_message_that_waits_for_a_restart_moves_to_a_worker_that_is_ready() {
    assert_moved(json!({ "restartBackoff": "1h", "restartBackoffMax": "1h" }), 2, "restarting").await;
}

#[tokio::test]
async fn a_message_that_waits_where_the_module_fails_moves_to_a_worker_that_is_ready() {
    assert_moved(json!({ "maxRestarts": 0 }), 1, "failed").await;
}

/// The address space that one memory reserves.
const MEMORY: u64 = (4 << 30) + (64 << 20);

#[tokio::test]
async fn a_message_waits_while_there_is_no_memory_for_an_instance_of_its_own() {
    let (events, grant) = (json!({ "capabilities": { "events": ["*"] } }), json!({ "events": ["*"] }));
    let host = TestHost::with("traps")
        .manifest("traps", json!({ "isolation": "fresh", "subscriptions": { "s": { "event": "*", "path": "ok" } } }))
        .limit("traps", "timeout", "2s")
        .and_as(GUEST, EMITTER)
        .manifest(EMITTER, events)
        .grant(EMITTER, grant)
        .config(json!({ "engine": { "addressSpace": 2 * MEMORY } }))
        .workers(1)
        .start()
        .await;
    let (held, ()) = tokio::join!(host.call("any", "traps", "hold", ""), async {
        host.until_running("traps", 0, 1).await;
        host.emit_event("t", json!(1)).await;
        let refused = || async { host.metric("fanfare_space_refused_total", &[]).await >= 1.0 };
        eventually("the message had no memory", refused).await;
    });
    assert_eq!(held["code"], "timeout", "{held}");
    let status = host.until_handled("s", 1).await;
    assert_eq!((&status["delivered"], &status["failed"]), (&json!(1), &json!(0)), "{status}");
}
