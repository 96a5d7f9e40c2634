//! `GET /v1/events` and `fanfare events`.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::project::Project;
use crate::harness::{EventStream, Started, TestHost, eventually};

/// The limit in `admin/events.rs`: half of the admin connections.
const MOST: usize = 32;

/// How long an event may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client that follows the events. Dropping it closes the connection.
struct Follower {
    lines: Lines<BufReader<TcpStream>>,
    status: u16,
}

/// A server-sent event.
#[derive(Debug)]
struct Sent {
    id: String,
    name: String,
    data: Value,
}

impl Follower {
    async fn open(admin: SocketAddr, query: &str, last: Option<&str>) -> Follower {
        let mut stream = TcpStream::connect(admin).await.unwrap();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request = format!("GET /v1/events{query} HTTP/1.1\r\nHost: {admin}\r\n{last}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next_line().await.unwrap().unwrap();
        let status = first.split(' ').nth(1).unwrap().parse().unwrap();
        Follower { lines, status }
    }

    /// The next event. `None` when the host ends the stream.
    async fn next(&mut self) -> Option<Sent> {
        let (mut id, mut name) = (String::new(), String::new());
        while let Some(line) = timeout(TIMEOUT, self.lines.next_line()).await.expect("an event").unwrap() {
            match line.split_once(": ") {
                Some(("id", value)) => id = value.to_owned(),
                Some(("event", value)) => name = value.to_owned(),
                Some(("data", value)) => return Some(Sent { id, name, data: serde_json::from_str(value).unwrap() }),
                _ => {}
            }
        }
        None
    }

    /// The names of the next events.
    async fn names<const N: usize>(&mut self) -> [String; N] {
        let mut names = [const { String::new() }; N];
        for name in &mut names {
            *name = self.next().await.unwrap().name;
        }
        names
    }
}

impl Started {
    async fn follow(&self, query: &str, last: Option<&str>) -> Follower {
        Follower::open(self.admin, query, last).await
    }

    async fn trap(&self, worker: u32) {
        self.call(&format!("worker-{worker}"), "traps", "trap", "").await;
    }
}

#[tokio::test]
async fn a_stream_begins_with_the_kept_events_and_continues_with_new_ones() {
    let host = TestHost::with("traps").workers(1).start().await;
    let mut follower = host.follow("", None).await;
    assert_eq!(
        follower.names().await,
        ["brokerStart", "workerClusterStart", "workerStart", "moduleLoaded", "workerClusterReady", "hostReady"]
    );
    host.trap(0).await;
    let fail = follower.next().await.unwrap();
    assert_eq!((fail.name.as_str(), &fail.data["type"], &fail.data["number"]), ("fail", &json!("fail"), &json!(7)));
    assert!(fail.id.ends_with("-7"), "{fail:?}");
    assert_eq!(follower.names().await, ["instanceRestarted"]);
}

#[tokio::test]
async fn a_stream_may_begin_with_fewer_events() {
    let host = TestHost::empty().workers(1).start().await;
    assert_eq!(host.follow("?tail=1", None).await.names().await, ["hostReady"]);
    let listed = host.admin("GET", "/v1/events?follow=false&tail=2", "").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[1]["type"], "hostReady");
    for (query, why) in [
        ("tail=1025", "tail: must be a number from 0 to 1024"),
        ("tail=x", "tail: must be a number from 0 to 1024"),
        ("follow=maybe", "follow: must be true or false"),
    ] {
        let answer = host.admin("GET", &format!("/v1/events?{query}"), "").await;
        assert_eq!((answer.status, answer.json()["detail"].as_str()), (400, Some(why)), "{query}");
    }
}

#[tokio::test]
async fn events_have_the_form_of_other_streams() {
    let host = TestHost::empty().workers(1).start().await;
    let mut stream = EventStream::try_resume(host.admin, "/v1/events?tail=1", "").await;
    let first = stream.block().await.unwrap();
    assert_eq!((first.retry, first.data), (Some(1_000), None));
    let event = stream.event().await.unwrap();
    assert_eq!(event.name(), "hostReady");
    let data: Value = serde_json::from_str(event.text()).unwrap();
    assert!(event.id.unwrap().ends_with(&format!("-{}", data["number"])), "{data}");
}

#[tokio::test]
async fn a_client_that_reconnects_misses_nothing_and_gets_nothing_twice() {
    let host = TestHost::with("traps").workers(1).start().await;
    let mut follower = host.follow("?tail=1", None).await;
    let last = follower.next().await.unwrap().id;
    drop(follower);
    host.trap(0).await;
    let mut follower = host.follow("", Some(&last)).await;
    assert_eq!(follower.names().await, ["fail", "instanceRestarted"]);
    host.trap(0).await;
    assert_eq!(follower.names().await, ["fail", "instanceRestarted"]);
}

#[tokio::test]
async fn an_id_of_another_process_resets_the_stream() {
    let host = TestHost::empty().workers(1).start().await;
    for id in ["1-2", "nonsense"] {
        let mut follower = host.follow("", Some(id)).await;
        assert_eq!(follower.names().await, ["reset", "brokerStart", "workerClusterStart"], "{id}");
    }
}

#[tokio::test]
async fn a_client_that_asks_for_events_that_are_gone_is_told_how_many() {
    let host = TestHost::with("echo").workers(1).start().await;
    let first = host.follow("", None).await.next().await.unwrap().id;
    // Each reload raises two events.
    for _ in 0..520 {
        host.operate("modules/echo/reload").await;
    }
    let count = host.metric("fanfare_host_events_total", &[]).await as u64;
    let mut follower = host.follow("", Some(&first)).await;
    let missed = follower.next().await.unwrap();
    assert_eq!((missed.name.as_str(), &missed.data["count"]), ("missed", &json!(count - 1_024 - 1)));
    assert_eq!(follower.next().await.unwrap().data["number"], count - 1_023);
    assert_eq!(host.events().await.len(), 1_024);
}

#[tokio::test]
async fn the_stop_of_the_host_ends_the_stream() {
    let host = TestHost::empty().workers(1).start().await;
    let mut follower = host.follow("?tail=0", None).await;
    let (stopped, names) = tokio::join!(host.stop(), async {
        let mut names = Vec::new();
        while let Some(event) = follower.next().await {
            names.push(event.name);
        }
        names
    });
    assert_eq!((stopped, names), (fanfare::Stopped::Clean, vec!["workerClusterExit".to_owned()]));
}

#[tokio::test]
async fn half_of_the_admin_connections_remain_for_commands() {
    let host = TestHost::empty().workers(1).start().await;
    let mut followers = Vec::new();
    for number in 1..=MOST {
        let follower = host.follow("", None).await;
        assert_eq!(follower.status, 200, "follower {number}");
        followers.push(follower);
    }
    assert_eq!(host.metric("fanfare_event_streams", &[]).await, MOST as f64);
    assert_eq!(host.follow("", None).await.status, 503);
    assert_eq!(host.metric("fanfare_event_streams_refused_total", &[]).await, 1.0);
    assert_eq!(host.admin("GET", "/v1/events?follow=false", "").await.status, 200);
    followers.pop();
    eventually("a place is free again", || async { host.follow("", None).await.status == 200 }).await;
}

#[tokio::test]
async fn the_program_prints_events_and_follows_them() {
    let project = Project::with(&["traps"]);
    let host = project.serve(&[]).await;
    let admin = host.admin();
    let listed = project.run(&["events", "--admin", &admin]).await;
    assert_eq!((listed.code, listed.err.as_str()), (0, ""));
    let last = listed.out.lines().last().unwrap();
    assert!(last.contains("  hostReady  ") && last.ends_with("workers=2 brokers=1"), "{last}");
    let json = project.run(&["events", "--json", "--tail", "1", "--admin", &admin]).await.json();
    assert_eq!(json[0]["type"], "hostReady");

    let mut command = project.command(&["events", "--follow", "--json", "--tail", "1", "--admin", &admin]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = timeout(TIMEOUT, lines.next_line()).await.expect("an event").unwrap();
        line.map(|line| serde_json::from_str::<Value>(&line).unwrap()["type"].as_str().unwrap().to_owned())
    };
    assert_eq!(next().await.as_deref(), Some("hostReady"));
    assert_eq!(project.run(&["call", "traps", "trap", "--admin", &admin]).await.code, 1);
    assert_eq!((next().await.as_deref(), next().await.as_deref()), (Some("fail"), Some("instanceRestarted")));
    host.stop().await;
    assert_eq!((next().await.as_deref(), next().await), (Some("workerClusterExit"), None));
    assert!(child.wait().await.unwrap().success());

    let refused = project.run(&["events", "--follow", "--tail", "2000", "--admin", "127.0.0.1:1"]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("cannot connect to a host at 127.0.0.1:1"), "{}", refused.err);
}
