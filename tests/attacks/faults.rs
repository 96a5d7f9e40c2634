//! Faults around the host: its process is frozen, it is stopped under load, and servers that are no
//! Redis answer it.

use std::net::SocketAddr;

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::steady_client::SteadyClient;
use crate::cli::project::{Project, Serving};
use crate::harness::{Connection, EventStream, WebSocket, eventually, source_of};

/// A project with a guest for streams and one for WebSockets.
fn streams_and_sockets(websocket: Value) -> Project {
    let modules = json!({ "sessions": { "grants": { "sessions": true } } });
    Project::with(&["streams", "sessions"]).config(json!({ "modules": modules, "websocket": websocket }))
}

/// Publishes events with the numbers of the range.
async fn publish(serving: &Serving, numbers: std::ops::Range<u64>) {
    let burst = json!({ "key": "streams/a", "from": numbers.start, "count": numbers.end - numbers.start });
    let mut connection = Connection::open(serving.http).await;
    let answer = connection.send("POST", "/api/streams/burst", &[], burst.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_host_fails_commands_in_time_and_loses_no_client() {
    let project = streams_and_sockets(json!({ "pingTimeout": "2m" }));
    let serving = project.serve(&[]).await;
    let mut stream = EventStream::open(serving.http, "/stream?connectKey=streams/a").await;
    let mut socket = WebSocket::open(serving.http, "/api/sessions/echo").await;
    serving.freeze().await;
    socket.send("sent while the host was frozen").await;

    let admin = serving.admin();
    let commands: [&[&str]; 4] = [&["status"], &["events"], &["reload", "streams"], &["workers", "kill"]];
    let ended = commands.iter().map(|command| {
        let args = [command, &["--admin", &admin][..]].concat();
        let project = &project;
        async move { project.run(&args).await }
    });
    for (ended, command) in join_all(ended).await.iter().zip(commands) {
        assert_eq!(ended.code, 1, "{command:?}: {}", ended.err);
        let words = "did not respond to a health check (/livez) within 10 s";
        assert!(ended.err.contains(words) && ended.err.lines().count() == 1, "{command:?}: {}", ended.err);
    }

    serving.signal(Signal::CONT);
    assert_eq!(socket.text().await, "sent while the host was frozen");
    publish(&serving, 0..3).await;
    for number in 0..3 {
        assert_eq!(stream.data().await, number.to_string());
    }
    assert_eq!(project.run(&["status", "--admin", &admin]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_sends_what_was_published_and_closes_every_client_in_order() {
    const STREAMS: usize = 200;
    const SOCKETS: usize = 100;
    let project = streams_and_sockets(json!({}));
    let mut serving = project.serve(&[]).await;
    let streams = (0..STREAMS).map(|_| EventStream::open(serving.http, "/stream?connectKey=streams/a"));
    let sockets = (0..SOCKETS).map(|_| WebSocket::open(serving.http, "/api/sessions/echo"));
    let (mut streams, mut sockets) = (join_all(streams).await, join_all(sockets).await);

    publish(&serving, 0..100).await;
    // Every client has begun to talk, and none has read an answer.
    join_all(sockets.iter_mut().map(|socket| socket.send("the last words"))).await;
    serving.signal(Signal::TERM);
    let read = streams.iter_mut().map(EventStream::rest);
    let closed = sockets.iter_mut().map(WebSocket::closed);
    let (read, closed, ended) = tokio::join!(join_all(read), join_all(closed), serving.ended());
    let published: Vec<String> = (0..100).map(|number: u64| number.to_string()).collect();
    assert!(read.iter().all(|events| *events == published), "a stream lacks events");
    assert!(closed.iter().all(|code| *code == 1001), "{closed:?}");
    assert_eq!(ended.code(), Some(0), "{}", serving.log());
}

/// What a server does that is no Redis, once a client has sent something.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Impostor {
    Silent,
    Closes,
    /// Bytes that are no part of the protocol.
    Noise,
    /// A line that does not end.
    Line,
    /// Arrays in arrays.
    Nested,
    /// A text that is longer than memory.
    Endless,
    /// Messages of a channel in place of the answers.
    Messages,
}

use Impostor::{Closes, Endless, Line, Messages, Nested, Noise, Silent};

const IMPOSTORS: [Impostor; 7] = [Silent, Closes, Noise, Line, Nested, Endless, Messages];

impl Impostor {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// What the status says about the connection. The host notices some of these by what arrives,
    /// and others only because no answer does.
    fn reasons(self) -> &'static [&'static str] {
        match self {
            Silent | Endless | Messages => &["has not answered"],
            Closes => &["closed", "reset", "broken pipe", "terminated", "end of file"],
            Noise => &["is it a Redis server?"],
            Line => &["a line that is too long: is it a Redis server?"],
            Nested => &["nested deeper than 32"],
        }
    }

    /// Accepts clients until the test ends.
    async fn listen(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(self.talk(stream));
            }
        });
        address
    }

    async fn talk(self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut received = [0; 4_096];
        if stream.read(&mut received).await? == 0 || self == Closes {
            return Ok(());
        }
        let (first, rest): (&[u8], Vec<u8>) = match self {
            Silent | Closes => (b"", Vec::new()),
            Noise => (b"", b"\x8f\x02noise\r\n".to_vec()),
            Line => (b"+", vec![b'x'; 65_536]),
            Nested => (b"", b"*1\r\n".repeat(1_000)),
            Endless => (b"$9223372036854775807\r\n", vec![b'x'; 65_536]),
            Messages => (b"", b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n".repeat(100)),
        };
        stream.write_all(first).await?;
        if rest.is_empty() {
            // Keeps the connection until the host closes it.
            while stream.read(&mut received).await? > 0 {}
        }
        loop {
            stream.write_all(&rest).await?;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_no_redis_are_named_in_the_status_and_cost_neither_memory_nor_log() {
    /// Far more than the host needs, and far less than the servers send.
    const MAX_PEAK: u64 = 300_000_000;
    let mut connections = json!({});
    let mut subscriptions = json!({});
    for impostor in IMPOSTORS {
        let (name, address) = (impostor.name(), impostor.listen().await);
        connections[&name] = json!({
            "url": format!("redis://{address}"), "timeout": "500ms", "reconnect": "10ms", "reconnectMax": "50ms",
        });
        subscriptions[format!("{name}-news")] = json!({ "redis": "news", "connection": name, "path": "on" });
        subscriptions[format!("{name}-jobs")] = json!({ "redisStream": "jobs", "connection": name, "path": "on" });
    }
    let text = std::fs::read_to_string(source_of("subscriptions").join("module.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["subscriptions"] = subscriptions;
    let modules = json!({ "subscriptions": { "grants": { "subscribe": ["*"] } } });
    let project = Project::with(&["subscriptions", "flags"])
        .config(json!({ "redis": connections, "modules": modules }))
        .file("modules/subscriptions/module.json", manifest.to_string());
    let serving = project.serve(&[]).await;

    let good = SteadyClient::start(serving.http, "/api/flags/dark-mode");
    eventually("the status names what each server does", || async {
        let status = serving.operator("GET", "/v1/status").await.json();
        IMPOSTORS.iter().all(|impostor| {
            let mut listed = status["redis"].as_array().unwrap().iter();
            let listed = listed.find(|listed| listed["name"] == impostor.name()).unwrap();
            let reasons = listed["reasons"].to_string().to_lowercase();
            let is_named = impostor.reasons().iter().any(|reason| reasons.contains(&reason.to_lowercase()));
            listed["state"] == "down" && is_named
        })
    })
    .await;
    let (answered, failed) = good.stop().await;
    assert!(failed.is_empty() && answered > 0, "{answered} answered; failed: {failed:?}");
    let (log, peak) = (serving.log(), serving.peak_memory());
    for impostor in IMPOSTORS {
        let connection = format!("\"connection\":\"{}\"", impostor.name());
        let lines = log.lines().filter(|line| line.contains("Redis is away") && line.contains(&connection)).count();
        assert_eq!(lines, 1, "{impostor:?}: {log}");
    }
    assert!(peak < MAX_PEAK, "{peak}");
    assert_eq!(serving.stop().await.0, Some(0));
}
