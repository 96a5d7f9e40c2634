//! Messages of the embedding program and the operator to isolates.

use fanfare::tooling::CallError;
use serde_json::{Value, json};

use super::{hooked, parsed};
use crate::harness::{Connection, TestHost, eventually};

/// A host whose guest `master` receives messages in workers and brokers.
fn receiving() -> TestHost {
    hooked(json!({ "masterMessage": { "path": "message", "in": ["worker", "broker"] } }))
}

fn not_found(why: &str) -> CallError {
    CallError::NotFound(why.to_owned())
}

#[tokio::test]
async fn a_message_runs_the_hook_in_its_isolate_and_returns_the_reply() {
    let host = receiving().config(json!({ "brokers": 2 })).start().await;
    let running = host.running();
    let reply = parsed(running.send_to_worker(1, Some("master"), json!({ "n": 7 })).await);
    let expected = json!({ "hook": "masterMessage", "isolate": "worker-1", "origin": "Origin::Operator", "payload": { "n": 7 }, "subdomain": null });
    assert_eq!(reply, expected);
    let reply = parsed(running.send_to_broker(1, Some("master"), "plain text").await);
    assert_eq!((&reply["isolate"], &reply["payload"]), (&json!("broker-1"), &json!("plain text")));
    let reply = parsed(running.send_to_worker(0, None, vec![0xff, 0]).await);
    assert_eq!(reply["payload"], json!({ "bytes": 2 }), "without a module, the only one with the hook");
    let reply = parsed(running.send_to_worker(0, None, ()).await);
    assert_eq!(reply["payload"], Value::Null);
}

#[tokio::test]
pub async fn a_message_without_a_receiver_says_what_is_missing() {
    let host = receiving().and("echo").start().await;
    let running = host.running();
    let workers = async |id, module| running.send_to_worker(id, module, "x").await.unwrap_err();
    let brokers = async |id, module| running.send_to_broker(id, module, "x").await.unwrap_err();
    assert_eq!(workers(9, Some("master")).await, not_found("there is no worker-9: this node has 2 workers"));
    assert_eq!(brokers(3, None).await, not_found("there is no broker-3: this node has 1 broker"));
    assert_eq!(workers(0, Some("ghost")).await, not_found("there is no module ghost in worker-0"));
    let no_hook = "echo has no hook `masterMessage` for worker-0: declare it in `hooks` of its module.json, with the isolates in `in`";
    assert_eq!(workers(0, Some("echo")).await, not_found(no_hook));
    assert_eq!(running.post_to_worker(9, None, "x").unwrap_err(), workers(9, None).await);
    assert_eq!(running.post_to_broker(9, None, "x").unwrap_err(), brokers(9, None).await);

    let none = TestHost::with("echo").config(json!({ "brokers": 0 })).start().await;
    let nobody = "no module in worker-0 has the hook `masterMessage`: declare it in `hooks` of a module.json";
    assert_eq!(none.running().send_to_worker(0, None, "x").await.unwrap_err(), not_found(nobody));
    let no_broker = "there is no broker-0: this node has no brokers";
    assert_eq!(none.running().send_to_broker(0, None, "x").await.unwrap_err(), not_found(no_broker));
}

#[tokio::test]
async fn a_hook_receives_messages_only_in_the_isolates_that_it_names() {
    let host = hooked(json!({ "masterMessage": { "path": "message", "in": "broker" } })).start().await;
    assert!(host.running().send_to_worker(0, Some("master"), "x").await.is_err());
    assert!(host.running().send_to_broker(0, Some("master"), "x").await.is_ok());
    let host = hooked(json!({ "masterMessage": { "path": "message" } })).start().await;
    assert!(host.running().send_to_worker(0, Some("master"), "x").await.is_ok());
    let absent = host.running().send_to_broker(0, Some("master"), "x").await.unwrap_err();
    assert_eq!(absent, not_found("there is no module master in broker-0"));
}

#[tokio::test]
async fn a_message_for_one_of_several_modules_names_the_module() {
    let host = receiving()
        .and_as("master", "second")
        .manifest("second", json!({ "hooks": { "masterMessage": { "path": "message" } } }));
    let host = host.start().await;
    let why = "2 modules in worker-0 have the hook `masterMessage`: name one of master, second";
    assert_eq!(host.running().send_to_worker(0, None, "x").await.unwrap_err(), CallError::Invalid(why.to_owned()));
    assert!(host.running().send_to_worker(0, Some("second"), "x").await.is_ok());
    assert!(host.running().send_to_broker(0, None, "x").await.is_ok(), "only one is in the brokers");
}

#[tokio::test]
async fn a_failure_keeps_its_name_message_status_and_data() {
    let host = receiving().start().await;
    let error = host.running().send_to_worker(0, None, json!({ "how": "fail" })).await.unwrap_err();
    let CallError::Failure(failure) = error else { panic!("{error:?}") };
    assert_eq!((&*failure.name, &*failure.message, failure.status), ("no-tea", "There is no tea.", 418));
    assert_eq!(failure.data.as_bytes(), br#"{"pots":0}"#);
    let crash = host.running().send_to_worker(0, None, json!({ "how": "trap" })).await.unwrap_err();
    assert_eq!(crash.code(), "crashed");
}

/// The test of `master.ipcAckTimeout`.
#[tokio::test]
pub async fn a_message_without_a_reply_ends_at_ipc_ack_timeout() {
    let host = receiving().config(json!({ "master": { "ipcAckTimeout": "100ms" } })).start().await;
    let begun = std::time::Instant::now();
    let late = host.running().send_to_worker(0, None, json!({ "how": "hold" })).await;
    assert_eq!(late.unwrap_err(), CallError::Timeout(None));
    assert!((100..3_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert!(host.running().send_to_worker(0, None, "in time").await.is_ok());
}

#[tokio::test]
async fn a_message_waits_while_the_instance_restarts_and_at_most_limits_mailbox_wait() {
    let host = receiving()
        .limit("master", "mailbox", 2)
        .config(json!({ "isolate": { "restartBackoff": "700ms" } }))
        .start()
        .await;
    let running = host.running();
    for _ in 0..2 {
        assert!(running.send_to_worker(0, None, json!({ "how": "trap" })).await.is_err());
    }
    eventually("the second restart waits", || async { host.place("worker-0").await["state"] == "restarting" }).await;
    let (first, second) = (running.send_to_worker(0, None, "1"), running.send_to_worker(0, None, "2"));
    let third = async {
        eventually("both wait", || async {
            host.metric("fanfare_mailbox_calls", &["worker-0", "master"]).await == 2.0
        })
        .await;
        running.send_to_worker(0, None, "3").await
    };
    let (first, second, third) = tokio::join!(first, second, third);
    assert_eq!((parsed(first)["payload"].clone(), parsed(second)["payload"].clone()), (json!(1), json!(2)));
    let full = "2 calls already wait for master in worker-0: limits.mailbox allows no more";
    assert_eq!(third.unwrap_err(), CallError::Overloaded(full.to_owned()));
}

#[tokio::test]
async fn a_message_that_waits_during_a_swap_finds_its_hook_again_by_name() {
    let host =
        receiving().limit("master", "concurrency", 1).config(json!({ "swap": { "quiesce": "0ms" } })).start().await;
    let running = host.running();
    let held = running.send_to_worker(0, None, json!({ "how": "hold" }));
    let waiting = async {
        eventually("the first one runs", || async { host.place("worker-0").await["inFlight"] == 1 }).await;
        running.send_to_worker(0, None, "second").await
    };
    let swap = async {
        let waits = async || host.metric("fanfare_mailbox_calls", &["worker-0", "master"]).await == 1.0;
        eventually("the second one waits", &waits).await;
        let file = host.dir.path().join("modules/master/module.json");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace(r#""path":"message""#, r#""path":"moved""#)).unwrap();
        running.reload("master").await.unwrap();
    };
    let (held, waited, ()) = tokio::join!(held, waiting, swap);
    assert_eq!(parsed(waited)["payload"], "second");
    assert_eq!(held.unwrap_err().code(), "timeout", "it stays in the old instance, where nothing releases it");
}

#[tokio::test]
async fn a_message_beyond_limits_payload_is_invalid() {
    let host = receiving().limit("master", "payload", "1KiB").start().await;
    let send = async |size| host.running().send_to_worker(0, None, "x".repeat(size)).await;
    assert_eq!(send(1_025).await.unwrap_err().code(), "invalid");
    let why = host.running().post_to_worker(0, None, "x".repeat(1_025)).unwrap_err();
    assert_eq!(why.to_string(), "the payload has 1025 bytes, but limits.payload of master allows 1024");
    // Its reply has the message too, so that one is too large.
    let CallError::Failure(failure) = send(1_024).await.unwrap_err() else { panic!() };
    assert_eq!(failure.name, "payload-too-large");
}

#[tokio::test]
async fn a_posted_message_runs_and_nobody_waits() {
    let host = receiving().start().await;
    host.running().post_to_worker(1, None, "x").unwrap();
    host.running().post_to_broker(0, Some("master"), "x").unwrap();
    for isolate in ["isolate=\"worker-1\"", "isolate=\"broker-0\""] {
        let ok = ["trigger=\"hook\"", "outcome=\"ok\"", isolate];
        eventually("it ran", || async { host.metric("fanfare_calls_total", &ok).await == 1.0 }).await;
    }
}

#[tokio::test]
async fn the_operator_sends_messages_through_the_admin_listener() {
    let host = receiving().and_as("master", "second").start().await;
    let answer = host.admin("POST", "/v1/workers/1/message?module=master", r#"{"n":1}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let reply = answer.json();
    assert_eq!(reply["status"], 200);
    let facts: Value = serde_json::from_str(reply["payload"].as_str().unwrap()).unwrap();
    assert_eq!((&facts["isolate"], &facts["payload"]), (&json!("worker-1"), &json!({ "n": 1 })));
    let answer = host.admin("POST", "/v1/brokers/0/message", "x").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let queued = host.admin("POST", "/v1/workers/0/message?module=master&wait=false", "x").await;
    assert_eq!((queued.status, queued.json()), (202, json!({ "isolate": "worker-0", "module": "master" })));

    for (path, body, status, code) in [
        ("/v1/workers/7/message", "", 404, "not-found"),
        ("/v1/brokers/1/message", "", 404, "not-found"),
        ("/v1/workers/x/message", "", 400, "invalid"),
        ("/v1/workers/0/message?module=ghost", "", 404, "not-found"),
        ("/v1/workers/0/message?module=second", "", 404, "not-found"),
        ("/v1/workers/0/message?module=master", r#"{"how":"fail"}"#, 418, "no-tea"),
    ] {
        let answer = host.admin("POST", path, body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{path}: {}", answer.text());
    }
    let failure = host.admin("POST", "/v1/workers/0/message", r#"{"how":"fail"}"#).await.json();
    assert_eq!((&failure["detail"], &failure["data"]), (&json!("There is no tea."), &json!({ "pots": 0 })));
    assert_eq!(host.admin("GET", "/v1/workers/0/message", "").await.status, 405);
}

#[tokio::test]
async fn a_stopping_host_accepts_no_messages() {
    let host = receiving()
        .manifest("master", json!({ "hooks": { "stop": { "path": "stop" } }, "config": { "stop": "never" } }))
        .config(json!({ "shutdown": { "drain": "2s", "linger": "0ms" } }))
        .start()
        .await;
    let mut admin = Connection::open(host.admin).await;
    let stopping = tokio::spawn(host.stop());
    let path = "/v1/workers/0/message?module=master";
    let answer = loop {
        let answer = admin.send("POST", path, &[], "x").await;
        if answer.status != 200 {
            break answer;
        }
    };
    let why = "master in worker-0 is stopping and accepts no messages";
    assert_eq!((answer.status, &answer.json()["detail"]), (503, &json!(why)), "{}", answer.text());
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_stopped_host_accepts_no_messages() {
    for at_once in [false, true] {
        let host = receiving().start().await;
        let running = host.running();
        match at_once {
            true => running.destroy().await,
            false => drop(running.shutdown().await),
        }
        let errors = [
            running.send_to_worker(0, Some("master"), "x").await.unwrap_err(),
            running.send_to_broker(0, None, "x").await.unwrap_err(),
            running.post_to_worker(0, None, "x").unwrap_err(),
            running.post_to_broker(0, None, "x").unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.code(), "unavailable", "{error}");
        }
    }
}
