//! Liveness and readiness.

use std::net::SocketAddr;

use fanfare::Stopped;
use fanfare::tooling::Trigger;
use futures_util::future::join;
use serde_json::json;

use crate::harness::{Connection, Gate, TestHost, eventually};

async fn said(admin: SocketAddr, path: &str) -> (u16, String) {
    let answer = Connection::open(admin).await.send("GET", path, &[], "").await;
    (answer.status, answer.text().trim().to_owned())
}

fn unready(why: &str) -> (u16, String) {
    (503, why.to_owned())
}

/// A free address.
fn own_address() -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 90, high, low], 18_081))
}

#[tokio::test]
async fn the_host_is_starting_until_every_module_has_tried_to_start() {
    let admin = own_address();
    let gate = Gate::before(|call| matches!(call.trigger, Trigger::Startup { .. }));
    let starting = TestHost::with("startup")
        .and("echo")
        .config(json!({ "admin": { "listen": admin } }))
        .probe(gate.probe())
        .start();
    let looking = async {
        eventually("a startup begins", || async { gate.reached() > 0 }).await;
        let seen = (said(admin, "/readyz").await, said(admin, "/livez").await);
        gate.open();
        seen
    };
    let (host, (ready, live)) = join(starting, looking).await;
    assert_eq!((ready, live), (unready("starting"), (200, "ok".to_owned())));
    assert_eq!(said(admin, "/readyz").await, (200, "ready".to_owned()));
    assert_eq!(host.status().await["ready"], true);
}

#[tokio::test]
async fn the_host_is_ready_even_if_a_module_is_rejected_or_has_failed() {
    let host = TestHost::with("echo")
        .and("startup")
        .manifest("startup", json!({ "config": { "mode": "fails" } }))
        .config(json!({ "isolate": { "maxRestarts": 0 } }))
        .file("modules/broken/module.json", r#"{ "component": "broken.wasm" }"#)
        .file("modules/broken/broken.wasm", "this is no component")
        .file("modules/unbuilt/module.json", r#"{ "component": "unbuilt.wasm" }"#)
        .start()
        .await;
    assert_eq!(said(host.admin, "/readyz").await, (200, "ready".to_owned()));
    let status = host.status().await;
    let states: Vec<_> = status["modules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|module| (module["name"].as_str().unwrap(), module["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states, [("broken", "refused"), ("echo", "ready"), ("startup", "failed"), ("unbuilt", "waiting")]);
    assert_eq!(host.get("/api/echo/who").await.status, 200);
}

#[tokio::test]
async fn a_draining_host_is_alive_but_not_ready_and_completes_calls() {
    let host = TestHost::waits_for(&[]).start().await;
    let (http, admin) = (host.http, host.admin);
    let held =
        tokio::spawn(
            async move { Connection::open(http).await.send("POST", "/api/waits/hold", &[], "to the end").await },
        );
    let in_flight = || async { host.metric("fanfare_calls_in_flight", &["module=\"waits\""]).await };
    eventually("the call runs", || async { in_flight().await == 1.0 }).await;

    let stopping = tokio::spawn(host.stop());
    eventually("the host drains", || async { said(admin, "/readyz").await == unready("draining") }).await;
    assert_eq!(said(admin, "/livez").await, (200, "ok".to_owned()));
    let release = "/v1/modules/waits/call?path=release&target=workers";
    assert_eq!(Connection::open(admin).await.send("POST", release, &[], "").await.status, 200);
    let answer = held.await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "to the end"));
    assert_eq!(stopping.await.unwrap(), Stopped::Clean);
}

#[tokio::test]
async fn a_call_that_does_not_end_is_cut_off() {
    let host = TestHost::with("never").config(json!({ "shutdown": { "drain": "200ms" } })).start().await;
    let http = host.http;
    tokio::spawn(async move { Connection::open(http).await.send("POST", "/api/never/never", &[], "").await });
    let in_flight = || async { host.metric("fanfare_calls_in_flight", &["module=\"never\""]).await };
    eventually("the call runs", || async { in_flight().await == 1.0 }).await;
    assert_eq!(host.stop().await, Stopped::CutOff);
}
