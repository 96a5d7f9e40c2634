//! Every outcome of a call, as the calling guest gets it.

use serde_json::{Value, json};

use super::{end, message, replied};
use crate::harness::{Connection, Started, TestHost, eventually};

async fn to(host: &Started, worker: u32, route: &str) -> Value {
    host.nested(0, json!({ "route": route, "target": { "worker": worker } })).await
}

#[tokio::test]
async fn a_reply_arrives() {
    let host = TestHost::waits_for(&["traps"]).start().await;
    let ended = to(&host, 1, "traps/ok").await;
    assert_eq!(ended["ok"]["payload"], "ok");
}

#[tokio::test]
async fn a_pass_without_a_further_handler_is_a_reply() {
    let host = TestHost::waits_for(&["echo"]).limit("echo", "payload", 100).start().await;
    let pass = async |route: &str, payload: Value| {
        host.nested(0, json!({ "route": route, "target": { "worker": 1 }, "payload": payload })).await
    };
    assert_eq!(pass("echo/pass", json!("new")).await["ok"], json!({ "status": 0, "payload": "new" }));
    assert_eq!(pass("echo/pass", Value::Null).await["ok"], json!({ "status": 0, "payload": null }));
    let fits = pass("echo/pass?beside=96", json!("new")).await;
    assert_eq!(fits["ok"], json!({ "status": 0, "payload": "new" }), "the name of the fact has four bytes");
    let over = pass("echo/pass?beside=97", json!("new")).await;
    assert_eq!(over["error"]["failure"]["name"], "payload-too-large", "{over}");
    let why = "the handler returned 101 bytes of other text; \
               limits.payload allows 100 bytes of payload and 100 bytes of other text";
    assert!(message(&over).ends_with(why), "{over}");
    let entries = host.run(0, "waits", "every", json!({ "route": "echo/pass", "payload": "new" })).await;
    for entry in entries.as_array().unwrap() {
        assert_eq!(entry["outcome"]["ok"], json!({ "status": 0, "payload": "new" }), "{entries}");
    }
    for (body, status) in [("new", 200), ("", 204)] {
        let answer = host.post("/api/echo/pass", body).await;
        assert_eq!((answer.status, answer.text()), (status, body));
        assert!(answer.header("fact").is_none());
    }
}

#[tokio::test]
async fn a_trap_is_crashed_and_the_next_instance_answers() {
    let host = TestHost::waits_for(&["traps"]).start().await;
    for route in ["traps/trap", "traps/later"] {
        let ended = to(&host, 1, route).await;
        assert_eq!(end(&ended), "crashed");
        let message = message(&ended);
        assert!(
            message.starts_with("the instance of traps in worker-1 (generation ")
                && message.contains(") ended while `"),
            "{message}"
        );
        assert_eq!(end(&to(&host, 1, "traps/ok").await), "ok", "the next instance answers");
    }
    assert_eq!(host.slot("waits", 0).await["restarts"], 0, "the caller does not crash");
}

#[tokio::test]
async fn a_failed_module_is_unavailable() {
    let host = TestHost::waits_for(&["traps"]).config(json!({ "isolate": { "maxRestarts": 0 } })).start().await;
    to(&host, 1, "traps/trap").await;
    eventually("the module has failed there", || async { host.slot("traps", 1).await["state"] == "failed" }).await;
    let ended = to(&host, 1, "traps/ok").await;
    assert_eq!(end(&ended), "unavailable");
    assert!(message(&ended).starts_with("traps has failed in worker-1: "), "{}", message(&ended));
}

#[tokio::test]
async fn a_call_that_never_ends_times_out() {
    let host = TestHost::waits_for(&["never"]).limit("never", "timeout", "300ms").start().await;
    assert_eq!(end(&to(&host, 1, "never/never").await), "timeout");
    assert_eq!(end(&to(&host, 1, "never/ok").await), "ok");
}

#[tokio::test]
async fn another_module_without_a_grant_is_forbidden() {
    let host = TestHost::with("ungranted").and("echo").start().await;
    for (handler, ended) in [
        ("nested", host.run(0, "ungranted", "nested", json!({ "route": "echo/echo" })).await),
        ("notify", host.run(0, "ungranted", "notify", json!({ "route": "echo/echo" })).await),
    ] {
        assert_eq!(end(&ended), "forbidden", "{handler}");
        assert!(message(&ended).contains("`fanfare grant ungranted`"), "{}", message(&ended));
    }
    let own = host.run(0, "ungranted", "nested", json!({ "route": "/own" })).await;
    assert_eq!(end(&own), "ok", "the caller's own module needs no grant");
}

#[tokio::test]
async fn a_full_mailbox_is_overloaded() {
    let host = TestHost::waits_for(&["serial"]).limit("serial", "mailbox", 1).start().await;
    let hold = async || {
        let mut connection = Connection::open(host.admin).await;
        let path = "/v1/modules/serial/call?target=worker-1&path=hold";
        tokio::spawn(async move { connection.send("POST", path, &[], "").await });
    };
    hold().await;
    eventually("one runs", || async { host.slot("serial", 1).await["inFlight"] == 1 }).await;
    hold().await;
    eventually("one waits", || async { host.slot("serial", 1).await["waiting"] == 1 }).await;
    let ended = to(&host, 1, "serial/ok").await;
    assert_eq!(end(&ended), "overloaded");
    assert!(message(&ended).contains("limits.mailbox"), "{}", message(&ended));
    let notify = json!({ "route": "serial/ok", "target": { "worker": 1 } });
    assert_eq!(end(&host.run(0, "waits", "notify", notify).await), "overloaded");
    assert_eq!(end(&to(&host, 0, "serial/ok").await), "ok");
}

#[tokio::test]
async fn a_call_beyond_the_configured_depth_is_too_deep() {
    let host = TestHost::with("deep").config(json!({ "calls": { "maxDepth": 5 } })).start().await;
    let under = host.run(0, "deep", "dive", json!(5)).await;
    assert_eq!(under, json!({ "reached": 5, "end": null }));
    let over = host.run(0, "deep", "dive", json!(6)).await;
    assert_eq!((&over["reached"], end(&over["end"])), (&json!(5), "too-deep"), "{over}");
    assert!(message(&over["end"]).contains("calls.maxDepth"), "{over}");
}

#[tokio::test]
async fn the_default_depth_is_sixteen() {
    let host = TestHost::with("deep").start().await;
    assert_eq!(host.run(0, "deep", "dive", json!(16)).await["end"], Value::Null);
    let over = host.run(0, "deep", "dive", json!(17)).await;
    assert_eq!((&over["reached"], end(&over["end"])), (&json!(16), "too-deep"));
}

#[tokio::test]
async fn calls_that_a_startup_makes_do_not_wait_for_instances_that_are_not_ready() {
    let host = TestHost::with("startup").manifest("startup", json!({ "config": { "mode": "calls" } })).start().await;
    for worker in [0, 1] {
        let started = host.run(worker, "startup", "started&method=GET", Value::Null).await;
        let own = format!("worker-{worker} unavailable");
        assert!(started.as_array().unwrap().contains(&json!(own)), "{started}");
        assert_eq!(host.slot("startup", worker as usize).await["restarts"], 0);
    }
}

#[tokio::test]
async fn a_gather_in_a_startup_does_not_wait_for_instances_that_are_not_ready() {
    const WORKERS: u32 = 6;
    let host = TestHost::with("startup").manifest("startup", json!({ "config": { "mode": "gathers" } }));
    let host = host.workers(WORKERS).start().await;
    for worker in 0..WORKERS {
        let started = host.run(worker, "startup", "started&method=GET", Value::Null).await;
        let noted = started.as_array().unwrap();
        assert_eq!(noted.len(), 1 + WORKERS as usize, "an entry for each worker: {started}");
        assert!(noted.contains(&json!(format!("worker-{worker} unavailable"))), "{started}");
        assert_eq!(host.slot("startup", worker as usize).await["restarts"], 0);
        let run = || async { host.ended("startup", worker, "broadcast", "ok").await == f64::from(WORKERS) };
        eventually("the broadcasts of all workers run there", run).await;
    }
}

#[tokio::test]
async fn nested_calls_of_a_startup_do_not_wait_for_instances_that_are_not_ready() {
    let rights = json!({ "rpc": ["warms"], "broadcast": [] });
    let host = TestHost::with("waits")
        .manifest("waits", json!({ "capabilities": rights }))
        .grant("waits", rights)
        .and_as("startup", "warms")
        .manifest("warms", json!({ "config": { "mode": "relays" }, "capabilities": { "rpc": ["waits"] } }))
        .grant("warms", json!({ "rpc": ["waits"] }));
    let host = host.start().await;
    for worker in [0, 1] {
        let started = host.run(worker, "warms", "started&method=GET", Value::Null).await;
        assert!(started.as_array().unwrap().contains(&json!("\"unavailable\"")), "{started}");
        assert_eq!(host.slot("warms", worker as usize).await["restarts"], 0);
    }
}

#[tokio::test]
async fn a_module_can_call_itself_and_wait() {
    let host = TestHost::waits_for(&[]).start().await;
    assert_eq!(replied(&host.nested(0, json!({ "route": "/who" })).await)["isolate"], "worker-0");
}
