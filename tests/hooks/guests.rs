//! Messages of guests to the master, and the options that guests see.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfare::{Failure, GuestMessage, Payload};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::hooked;
use crate::harness::{Connection, Started, TestHost, eventually, json_of};

#[tokio::test]
async fn a_handler_of_the_builder_receives_the_messages_of_startups() {
    let startups = json!({ "hello": { "type": "worker", "path": "post" } });
    let host = hooked(json!({})).manifest("master", json!({ "startups": startups }));
    let received = Arc::<AtomicUsize>::default();
    let count = received.clone();
    let host = host
        .builder(move |builder| {
            builder.on_message(move |message| {
                count.fetch_add(1, Ordering::AcqRel);
                async move { Ok(message.data) }
            })
        })
        .start()
        .await;
    eventually("it was received", || async { received.load(Ordering::Acquire) == 1 }).await;
    let echoed = send(&host, "worker-1", json!({ "data": "x" })).await;
    assert_eq!(reply(&echoed), "x");
}

/// Sends `data` from an isolate to the master, and returns the outcome in the format of
/// `tests/guests/common`.
async fn send(host: &Started, isolate: &str, message: Value) -> Value {
    json_of(&host.call(isolate, "master", "send", message.to_string()).await)
}

/// The JSON in the payload of a reply.
fn reply(outcome: &Value) -> Value {
    let payload = outcome["ok"]["payload"].as_str().unwrap_or_else(|| panic!("no reply: {outcome}"));
    serde_json::from_str(payload).unwrap_or_else(|_| json!(payload))
}

#[tokio::test]
async fn guests_see_the_options_of_the_operator_and_of_the_host() {
    let host = TestHost::with("master")
        .config(
            json!({ "options": { "deep": [{ "x": 1 }], "workers": "hidden" }, "master": { "ipcAckTimeout": "3s" } }),
        )
        .environment("production")
        .start()
        .await;
    let option = async |pointer: &str| json_of(&host.call("any", "master", "options", pointer).await);
    assert_eq!(option("/deep/0/x").await, 1);
    let facts = [option("/workers").await, option("/brokers").await, option("/environment").await];
    assert_eq!(json!(facts), json!([2, 1, "production"]));
    let facts = [option("/port").await, option("/ipcAckTimeout").await, option("/instanceId").await];
    assert_eq!(json!(facts), json!([host.http.port(), 3_000, "node-1"]));
    assert_eq!((option("/nothing").await, option("no pointer").await), (Value::Null, Value::Null));
    assert!(option("").await.as_object().unwrap().len() > 8);
}

#[tokio::test]
async fn the_embedding_program_receives_messages_and_replies() {
    let host = hooked(
        json!({ "masterMessage": { "path": "message", "in": "broker" }, "workerMessage": { "path": "message" } }),
    );
    let host = host.start().await;
    host.running().on_message(async |message: GuestMessage| {
        let GuestMessage { isolate, module, data, wants_reply } = message;
        match data.as_bytes() {
            b"\"fail\"" => Err(Failure {
                name: "no".into(),
                message: "No.".into(),
                status: 409,
                data: "1".into(),
                ..Failure::default()
            }),
            b"\"panic\"" => panic!("the handler panics on request"),
            b"\"large\"" => Ok("x".repeat(3 << 20).into()),
            _ => Ok(json!({ "from": [isolate.to_string(), module], "wantsReply": wants_reply }).into()),
        }
    });
    for isolate in ["worker-1", "broker-0", "master"] {
        let outcome = send(&host, isolate, json!({ "data": 1 })).await;
        assert_eq!(reply(&outcome), json!({ "from": [isolate, "master"], "wantsReply": true }));
    }
    let failed = send(&host, "worker-0", json!({ "data": "fail" })).await;
    assert_eq!(failed["error"]["failure"], json!({ "name": "no", "status": 409, "data": "1" }));
    let crashed = send(&host, "worker-0", json!({ "data": "panic" })).await;
    assert_eq!(crashed["error"]["kind"], "crashed");
    assert!(crashed["error"]["message"].as_str().unwrap().contains("the handler panics on request"));
    let large = send(&host, "worker-0", json!({ "data": "large" })).await;
    assert_eq!(large["error"]["kind"], "invalid", "{large}");
    let kinds = [host.raised_of("workerMessage"), host.raised_of("brokerMessage")].map(|events| events.len());
    assert_eq!(kinds, [4, 1]);
    assert_eq!(host.raised_of("brokerMessage")[0]["module"], "master");
}

#[tokio::test]
async fn the_wait_for_the_embedding_program_ends_and_its_work_with_it() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }
    let host = TestHost::with("master").config(json!({ "master": { "ipcAckTimeout": "200ms" } })).start().await;
    let dropped = Arc::<AtomicUsize>::default();
    let counted = dropped.clone();
    host.running().on_message(move |_| {
        let guard = Dropped(counted.clone());
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    for message in [json!({ "data": 1, "timeoutMs": 30 }), json!({ "data": 1 })] {
        let late = send(&host, "worker-0", message).await;
        assert_eq!(late["error"]["kind"], "timeout", "{late}");
    }
    host.call("worker-0", "master", "post", "x").await;
    eventually("all three were dropped", || async { dropped.load(Ordering::Acquire) == 3 }).await;
}

/// The test of the bound on messages that the embedding program handles at once. One module may use
/// four fifths of 1,024 places.
#[tokio::test]
async fn the_embedding_program_handles_820_messages_of_a_module_at_once_and_leaves_room_for_others() {
    let host = TestHost::with("master").and_as("master", "other").start().await;
    let (gate, handled) = (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default());
    let (closed, count) = (gate.clone(), handled.clone());
    host.running().on_message(move |_| {
        let (closed, count) = (closed.clone(), count.clone());
        async move {
            closed.acquire().await.unwrap().forget();
            count.fetch_add(1, Ordering::AcqRel);
            Ok(Payload::None)
        }
    });
    let mut admin = Connection::open(host.admin).await;
    let path = "/v1/modules/master/call?path=post&target=worker-0";
    for index in 0..820 {
        let posted = json_of(&admin.send("POST", path, &[], "x").await.json());
        assert!(posted.get("ok").is_some(), "{index}: {posted}");
    }
    let over = json_of(&admin.send("POST", path, &[], "x").await.json());
    assert_eq!(over["error"]["kind"], "overloaded", "{over}");
    assert!(host.metric("fanfare_bound_reached_total", &["bound=\"messages\""]).await >= 1.0);
    let other = json_of(&admin.send("POST", &path.replace("master", "other"), &[], "x").await.json());
    assert!(other.get("ok").is_some(), "{other}");
    gate.add_permits(1_024);
    eventually("all were handled", || async { handled.load(Ordering::Acquire) == 821 }).await;
    // More messages than events in a second: the rest raise none.
    let events = host.raised_of("workerMessage").len();
    assert!((100..820).contains(&events), "{events}");
    assert!(host.metric("fanfare_bound_reached_total", &["bound=\"message-events\""]).await >= 1.0);
}

#[tokio::test]
async fn without_an_embedding_program_a_hook_in_the_master_isolate_replies() {
    let path = || json!({ "path": "message" });
    let hooks = json!({ "workerMessage": path(), "brokerMessage": path(), "masterMessage": { "path": "message", "in": "broker" } });
    let host = hooked(hooks).start().await;
    for (isolate, hook) in [("worker-1", "workerMessage"), ("broker-0", "brokerMessage")] {
        let facts = reply(&send(&host, isolate, json!({ "data": { "n": 1 } })).await);
        assert_eq!((&facts["hook"], &facts["isolate"]), (&json!(hook), &json!("master")));
        assert_eq!(facts["payload"], json!({ "n": 1 }));
        assert!(facts["origin"].as_str().unwrap().starts_with("Origin::Guest"), "{facts}");
    }
    let failed = send(&host, "worker-0", json!({ "data": { "how": "fail" } })).await;
    assert_eq!(failed["error"]["failure"]["name"], "no-tea");
    let late = send(&host, "worker-0", json!({ "data": { "how": "hold" }, "timeoutMs": 50 })).await;
    assert_eq!(late["error"]["kind"], "timeout");
    let posted = json_of(&host.call("worker-0", "master", "post", "x").await);
    assert!(posted.get("ok").is_some(), "{posted}");
    let own = send(&host, "master", json!({ "data": 1 })).await;
    assert_eq!(own["error"]["kind"], "unavailable", "{own}");
}

#[tokio::test]
async fn the_hook_of_messages_is_not_called_for_the_event_about_a_message() {
    let hooks = json!({ "workerMessage": { "path": "hook" }, "swapCommitted": { "path": "hook" } });
    let host = hooked(hooks).and("echo").start().await;
    assert!(send(&host, "worker-0", json!({ "data": "hi" })).await.get("ok").is_some());
    host.cause_swap().await;
    eventually("the swap is recorded", || async { host.recorded().await.len() >= 2 }).await;
    let payloads: Vec<Value> = host.recorded().await.into_iter().map(|call| call["payload"].clone()).collect();
    assert_eq!((&payloads[0], &payloads[1]["type"], payloads.len()), (&json!("hi"), &json!("swapCommitted"), 2));
}

#[tokio::test]
async fn a_guests_own_hook_receives_its_messages_before_others() {
    let hooks = || json!({ "hooks": { "workerMessage": { "path": "message" } } });
    let host = hooked(json!({})).and_as("master", "a").manifest("a", hooks());
    let host = host.and_as("master", "b").manifest("b", hooks()).start().await;
    let own = json_of(&host.call("worker-0", "a", "send", json!({ "data": 1 }).to_string()).await);
    assert_eq!(reply(&own)["hook"], "workerMessage");
    let ok = ["module=\"a\"", "isolate=\"master\"", "trigger=\"hook\"", "outcome=\"ok\""];
    assert_eq!(host.metric("fanfare_calls_total", &ok).await, 1.0);
    let several = send(&host, "worker-0", json!({ "data": 1 })).await;
    let why = "2 modules in master have the hook `workerMessage`: name one of a, b";
    assert_eq!((&several["error"]["kind"], &several["error"]["message"]), (&json!("invalid"), &json!(why)));
}

#[tokio::test]
async fn a_guest_that_blocks_gets_replies_too() {
    let host = TestHost::with("blocks").and("master");
    let host = host.manifest("master", json!({ "hooks": { "workerMessage": { "path": "message" } } })).start().await;
    let ask = async |body: &str| host.call("worker-0", "blocks", "ask", body).await["payload"].clone();
    let facts: Value = serde_json::from_str(ask("1").await.as_str().unwrap()).unwrap();
    assert_eq!((&facts["hook"], &facts["payload"]), (&json!("workerMessage"), &json!(1)));
    assert!(ask(r#"{"how":"fail"}"#).await.as_str().unwrap().contains("no-tea"));
    host.running().on_message(async |message: GuestMessage| Ok(message.data));
    assert_eq!(ask("echo").await, "echo");
}

#[tokio::test]
async fn without_a_listener_and_beyond_limits_payload_messages_are_rejected() {
    let host = TestHost::with("master").limit("master", "payload", "1KiB").start().await;
    let nobody = send(&host, "worker-0", json!({ "data": 1 })).await;
    let why = "nobody listens: no embedding program receives messages, and no module has the hook `workerMessage`";
    assert_eq!((&nobody["error"]["kind"], &nobody["error"]["message"]), (&json!("unavailable"), &json!(why)));
    let posted = json_of(&host.call("worker-0", "master", "post", "x").await);
    assert_eq!(posted["error"]["kind"], "unavailable");
    assert!(host.raised_of("workerMessage").is_empty(), "they are no events");
    host.running().on_message(async |_| Ok(Payload::None));
    let exact = json_of(&host.call("worker-0", "master", "post", "x".repeat(1_024)).await);
    assert!(exact.get("ok").is_some(), "{exact}");
}
