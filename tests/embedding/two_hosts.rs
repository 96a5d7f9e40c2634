//! Two hosts in one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fanfare::{CallError, CallOptions, EventItem, Host, StartError, Stopped};
use serde_json::json;

use crate::harness::{Connection, Started, TempDir, TestHost, binary, eventually};

#[tokio::test]
async fn a_host_keeps_serving_while_another_one_in_the_process_stops() {
    let first = TestHost::with("echo").start().await;
    let second = TestHost::with("snapshot").start().await;
    // Each has its own modules.
    let call = async |running: &fanfare::RunningHost, module: &str, route: &str| {
        running.call(module, route, (), CallOptions::default()).await.map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(call(first.running(), "echo", "who").await, Ok(()));
    assert_eq!(call(first.running(), "snapshot", "count").await, Err("not-found"));
    assert_eq!(call(second.running(), "snapshot", "count").await, Ok(()));
    assert_eq!(call(second.running(), "echo", "who").await, Err("not-found"));

    let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let client = {
        let (done, served, http) = (done.clone(), served.clone(), second.http);
        tokio::spawn(async move {
            let mut kept = Connection::open(http).await;
            while !done.load(Ordering::Acquire) {
                assert_eq!(kept.send("POST", "/api/snapshot/count", &[], "").await.status, 200);
                let fresh = Connection::open(http).await.send("POST", "/api/snapshot/look", &[], "").await;
                assert_eq!(fresh.status, 200);
                served.fetch_add(1, Ordering::AcqRel);
            }
        })
    };
    let serves = async |count: usize| {
        let from = served.load(Ordering::Acquire);
        eventually("the other host serves", || async { served.load(Ordering::Acquire) >= from + count }).await;
    };
    serves(10).await;
    assert_eq!(first.running().shutdown().await, Stopped::Clean);
    serves(10).await;
    let error = first.running().call("echo", "who", (), CallOptions::default()).await.unwrap_err();
    assert!(matches!(error, CallError::Unavailable(_)));
    assert!(second.running().reload("snapshot").await.is_ok());
    serves(10).await;
    done.store(true, Ordering::Release);
    client.await.unwrap();
}

/// The names of all events of a host so far.
fn names(host: &Started) -> Vec<&'static str> {
    let mut events = host.running().events();
    let records = std::iter::from_fn(|| match events.try_next()? {
        EventItem::Event(record) => Some(record.event.name()),
        EventItem::Missed(count) => panic!("missed {count} events"),
    });
    records.collect()
}

#[tokio::test]
async fn a_destroyed_host_and_a_crash_reach_no_other_host() {
    let crashing = TestHost::with("traps").config(json!({ "isolate": { "maxRestarts": 0 } })).start().await;
    let other = TestHost::with("echo").start().await;
    let trap = crashing.running().call("traps", "trap", (), CallOptions::default()).await;
    assert!(matches!(trap, Err(CallError::Crashed(_))), "{trap:?}");
    eventually("the crash is an event", || async { names(&crashing).contains(&"fail") }).await;
    crashing.running().destroy().await;
    assert_eq!(other.post("/api/echo/echo", "hello").await.text(), "hello");
    assert!(!names(&other).contains(&"fail"));
    assert_eq!(other.running().shutdown().await, Stopped::Clean);
}

#[tokio::test]
async fn two_hosts_in_one_process_cannot_share_a_state_dir() {
    let dir = TempDir::new();
    dir.make_state_dir();
    let settings = json!({
        "stateDir": TempDir::STATE, "workers": 1,
        "http": { "listen": "127.0.0.1:0" }, "admin": { "listen": "127.0.0.1:0" },
    });
    let start = || Host::builder().text(settings.to_string(), dir.path()).compiler(binary()).start();
    let first = start().await.unwrap();
    let Err(StartError::StateDir { path, holder }) = start().await else { panic!("it is refused") };
    assert_eq!(path, dir.path().join(TempDir::STATE));
    assert!(holder.contains(&format!("process {}", std::process::id())), "{holder}");
    first.shutdown().await;
    let second = start().await.unwrap();
    drop(second);
    start().await.unwrap().shutdown().await;
}
