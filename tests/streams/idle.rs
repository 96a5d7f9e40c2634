//! Ten thousand idle streams. The host and the clients are processes of their own.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::json;

use crate::cli::project::{Project, Serving, memory_of};
use crate::harness::crowd::{Crowd, come_and_go, read_until};

const CROWD: &str = "streams::idle::the_clients_in_a_process_of_their_own";

#[test]
fn the_clients_in_a_process_of_their_own() {
    Crowd::run(connect);
}

fn connect(mut stream: TcpStream, number: usize) -> TcpStream {
    // A tenth of the clients share a key, the others have one each.
    let key = if number.is_multiple_of(10) { "shared".to_owned() } else { format!("own-{number}") };
    write!(stream, "GET /stream?connectKey=streams/{key} HTTP/1.1\r\nhost: h\r\naccept: text/event-stream\r\n\r\n")
        .unwrap();
    read_until(&mut stream, ": connected").unwrap_or_else(|| panic!("stream {number} is not open"));
    stream
}

fn host() -> Project {
    let manifest = fs::read_to_string(crate::harness::source_of("streams").join("module.json")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    manifest["capabilities"] = json!({ "sse": ["*"] });
    let project = Project::with(&["streams"]).config(json!({
        "http": { "listen": "127.0.0.1:0", "maxConnections": 1_000_000 },
        "sse": { "maxClients": 1_000_000, "pingInterval": 0 },
        "modules": { "streams": { "grants": { "sse": ["*"] } } },
    }));
    project.dir.write("modules/streams/module.json", manifest.to_string());
    project
}

async fn post(serving: &Serving, route: &str, body: serde_json::Value) -> u64 {
    let mut connection = crate::harness::Connection::open(serving.http).await;
    let answer = connection.send("POST", &format!("/api/streams/{route}"), &[], body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().as_u64().unwrap()
}

async fn count(serving: &Serving) -> u64 {
    post(serving, "count", json!(null)).await
}

/// The resident memory of the host.
fn resident(serving: &Serving) -> f64 {
    memory_of(serving.pid(), "VmRSS").unwrap() as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_streams_cost_little_and_leave_nothing() {
    let serving = host().serve(&[]).await;
    let publish = async |crowd: &mut Crowd, streams: usize, round: u32| {
        let data = format!("to all in round {round}");
        assert_eq!(post(&serving, "publish-all", json!({ "data": data })).await, streams as u64);
        assert_eq!(crowd.read(&data), streams);
        let shared = post(&serving, "publish", json!({ "key": "streams/shared", "data": "x" })).await;
        assert_eq!(shared, streams.div_ceil(10) as u64);
    };
    come_and_go(CROWD, serving.http, || resident(&serving), async || count(&serving).await, publish).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_clients_are_cut_and_hold_up_nobody() {
    let serving = host().serve(&[]).await;
    let mut stopped = Crowd::start(CROWD, serving.http, 100);
    let mut others = Crowd::start(CROWD, serving.http, 100);
    assert_eq!((stopped.open(), others.open()), (100, 100));
    stopped.signal(Signal::STOP);
    // The default of `sse.queue.bytes` is 1 MiB, and the sockets hold some more.
    let data = "x".repeat(200_000);
    let mut round = 0;
    while count(&serving).await > 190 {
        assert!(round < 200, "the stopped clients of `shared` are not cut");
        let (last, data) = (format!("end {round}."), format!("{data} end {round}."));
        post(&serving, "publish", json!({ "key": "streams/shared", "data": data })).await;
        post(&serving, "publish-all", json!({ "data": last })).await;
        assert_eq!(others.read(&last), 100);
        round += 1;
    }
    stopped.signal(Signal::CONT);
    // The others of the stopped process are small, and alive.
    assert_eq!(count(&serving).await, 190);
    post(&serving, "publish-all", json!({ "data": "after that" })).await;
    assert_eq!(stopped.read("after that"), 90);
}
