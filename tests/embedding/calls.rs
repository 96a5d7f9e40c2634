//! Calls and broadcasts of the program, without a socket.

use std::time::Duration;

use fanfare::{CallError, CallOptions, IsolateId, Payload, RunningHost};
use serde_json::json;

use crate::harness::TestHost;

fn within(timeout: Duration) -> CallOptions {
    CallOptions { timeout: Some(timeout), ..CallOptions::default() }
}

#[tokio::test]
async fn a_call_reaches_inner_and_plain_routes_in_any_form() {
    let host = TestHost::with("echo").start().await;
    let running = host.running();
    for route in ["echo", "/echo", "POST echo", "POST /echo", "inner"] {
        let reply = running.call("echo", route, "hello", CallOptions::default()).await.unwrap();
        assert_eq!((reply.effective_status(), reply.payload), (200, Payload::from("hello")), "{route}");
    }
    let bytes = vec![0, 255];
    let reply = running.call("echo", "echo", bytes.clone(), CallOptions::default()).await.unwrap();
    assert_eq!(reply.payload, Payload::from(bytes));
    let json = Payload::json(&json!({ "a": 1 })).unwrap();
    assert_eq!(
        running.call("echo", "echo", json, CallOptions::default()).await.unwrap().payload.to_text(),
        r#"{"a":1}"#
    );
}

#[tokio::test]
async fn a_call_in_an_isolate_runs_there() {
    let host = TestHost::with("echo").workers(3).start().await;
    for index in 0..3 {
        let isolate = IsolateId::Worker(index);
        let reply = host.running().call_in(isolate, "echo", "GET who", (), CallOptions::default()).await.unwrap();
        assert!(reply.payload.to_text().contains(&isolate.to_string()), "{}", reply.payload.to_text());
    }
    let missing = host.running().call_in(IsolateId::Worker(3), "echo", "GET who", (), CallOptions::default()).await;
    assert!(matches!(missing, Err(CallError::NotFound(_))), "{missing:?}");
}

#[tokio::test]
async fn bad_calls_fail_with_the_reason() {
    let host = TestHost::with("echo").limit("echo", "payload", "4B").start().await;
    let running = host.running();
    let error = async |module: &str, route: &str, payload: &str| {
        running.call(module, route, payload, CallOptions::default()).await.unwrap_err()
    };
    let says = |error: CallError, code: &str, text: &str| {
        assert!(error.code() == code && error.to_string().contains(text), "{} {error}", error.code());
    };
    says(error("ghost", "echo", "").await, "not-found", "there is no module ghost");
    says(error("echo", "ghost", "").await, "not-found", "there is no route echo/ghost");
    says(error("echo", "FETCH echo", "").await, "invalid", "is not a method");
    says(error("echo", &"x/".repeat(100), "").await, "invalid", "segments");
    assert!(running.call("echo", "echo", "1234", CallOptions::default()).await.is_ok());
    says(error("echo", "echo", "12345").await, "invalid", "limits.payload");
}

#[tokio::test]
async fn a_call_ends_at_its_own_timeout() {
    let host = TestHost::waits_for(&[]).workers(1).start().await;
    let called = host.running().call("waits", "hold", (), within(Duration::from_millis(20))).await;
    assert_eq!(called, Err(CallError::Timeout(None)));
}

#[tokio::test]
async fn a_broadcast_is_queued_in_every_worker_and_gathered_in_their_order() {
    let broadcasts = json!({ "broadcasts": { "echo": { "path": "echo" } } });
    let host = TestHost::with("echo").manifest("echo", broadcasts).workers(3).start().await;
    let running = host.running();
    let receipt = running.emit("echo", "echo", "x", CallOptions::default()).unwrap();
    assert_eq!((receipt.seq, receipt.accepted, receipt.skipped.len()), (1, 3, 0));
    let entries = running.gather("echo", "echo", "x", CallOptions::default()).await.unwrap();
    let workers: Vec<IsolateId> = entries.iter().map(|entry| entry.isolate).collect();
    assert_eq!(workers, [0, 1, 2].map(IsolateId::Worker));
    assert!(entries.iter().all(|entry| entry.outcome.as_ref().is_ok_and(|reply| reply.payload == "x".into())));
}

#[tokio::test]
async fn bad_broadcasts_fail_with_the_reason() {
    let host = TestHost::with("echo").start().await;
    let running = host.running();
    let emit = |module: &str, name: &str| running.emit(module, name, "", CallOptions::default()).unwrap_err();
    assert!(emit("ghost", "echo").to_string().contains("there is no module ghost"));
    assert!(emit("echo", "ghost").to_string().contains("ghost"));
    let timed = running.emit("echo", "echo", "", within(Duration::from_secs(1))).unwrap_err();
    assert!(matches!(&timed, CallError::Invalid(why) if why.contains("use gather")), "{timed}");
}

#[tokio::test]
async fn calls_to_a_stopped_host_fail_at_once_with_its_state() {
    let host = TestHost::with("echo").start().await;
    let running = host.running();
    running.shutdown().await;
    let stopped = CallError::Unavailable("the host is stopping or has stopped".into());
    let options = CallOptions::default;
    assert_eq!(running.call("echo", "echo", "", options()).await.unwrap_err(), stopped);
    assert_eq!(running.call_in(IsolateId::Worker(0), "echo", "echo", "", options()).await.unwrap_err(), stopped);
    assert_eq!(running.emit("echo", "echo", "", options()).unwrap_err(), stopped);
    assert_eq!(running.gather("echo", "echo", "", options()).await.unwrap_err(), stopped);
}

#[tokio::test]
async fn tasks_on_other_threads_share_a_host() {
    fn is_shared<T: Send + Sync>(value: T) -> T {
        value
    }
    let host = TestHost::with("echo").start().await;
    let running: &RunningHost = is_shared(host.running());
    let call = is_send(running.call("echo", "echo", "hello", CallOptions::default()));
    assert_eq!(call.await.unwrap().payload, "hello".into());
    drop(is_send(running.gather("echo", "echo", "", CallOptions::default())));
    drop(is_send(running.reload("echo")));
    is_send(running.shutdown()).await;
    is_send(running.destroy()).await;
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test]
async fn a_thread_with_another_runtime_calls_too() {
    let host = std::sync::Arc::new(TestHost::waits_for(&["echo"]).workers(1).start().await);
    let shared = host.clone();
    let other = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let reply = shared.running().call("echo", "echo", "hello", CallOptions::default()).await.unwrap();
            let timeout = shared.running().call("waits", "hold", (), within(Duration::from_millis(20))).await;
            let reloaded = shared.running().reload("echo").await;
            (reply.payload, timeout, reloaded.is_ok())
        })
    });
    assert_eq!(other.await.unwrap(), ("hello".into(), Err(CallError::Timeout(None)), true));
}
