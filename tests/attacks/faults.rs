//! Faults around the host: its process is frozen, and it is stopped under load.

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cli::project::{Project, Serving};
use crate::harness::{Connection, EventStream, WebSocket};

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
    serving.signal(Signal::STOP);
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
