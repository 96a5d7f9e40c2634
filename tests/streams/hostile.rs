//! Clients and modules that ask for more than they should.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{count, host, path, publish, with};
use crate::harness::{EventStream, Started, eventually};

const PATIENCE: Duration = Duration::from_secs(10);

/// Sends bytes and returns the head of the first response. `None` if the host closes without one.
async fn raw(host: &Started, request: &[u8]) -> (TcpStream, Option<String>) {
    let mut socket = TcpStream::connect(host.http).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        match timeout(PATIENCE, socket.read_buf(&mut head)).await.expect("an answer in time") {
            Ok(0) | Err(_) => return (socket, None),
            Ok(_) => {}
        }
    }
    (socket, Some(String::from_utf8_lossy(&head).into_owned()))
}

#[tokio::test]
async fn unusual_requests_get_a_stream_or_an_error_and_never_hang() {
    let host = host().start().await;
    let address = host.http;
    let accept = "host: h\r\naccept: text/event-stream\r\n";
    for (request, status) in [
        (format!("GET http://{address}/stream?connectKey=k HTTP/1.1\r\n{accept}\r\n"), 200),
        (format!("GET http://other.test/stream HTTP/1.1\r\n{accept}\r\n"), 200),
        (format!("GET //stream HTTP/1.1\r\n{accept}\r\n"), 404),
        (format!("GET /stream/ HTTP/1.1\r\n{accept}\r\n"), 404),
        (format!("GET /./stream HTTP/1.1\r\n{accept}\r\n"), 404),
        (format!("GET /%73tream HTTP/1.1\r\n{accept}\r\n"), 404),
        (format!("GET /stream#fragment HTTP/1.1\r\n{accept}\r\n"), 200),
        (format!("GET /stream? HTTP/1.1\r\n{accept}\r\n"), 200),
        (format!("GET /stream?&&&=&connectKey=k&= HTTP/1.1\r\n{accept}\r\n"), 200),
        (format!("GET /stream HTTP/1.0\r\n{accept}\r\n"), 200),
        (format!("GET /stream HTTP/1.0\r\nconnection: keep-alive\r\n{accept}\r\n"), 200),
        (format!("GET /stream HTTP/1.1\r\nconnection: close\r\n{accept}\r\n"), 200),
        (format!("GET /stream HTTP/1.1\r\nexpect: 100-continue\r\n{accept}\r\n"), 200),
        (format!("GET /stream HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n{accept}\r\n"), 200),
        (format!("GET /stream HTTP/1.1\r\nrange: bytes=0-\r\nif-none-match: *\r\n{accept}\r\n"), 200),
        (format!("GET /stream HTTP/1.1\r\naccept-encoding: gzip\r\nte: trailers\r\n{accept}\r\n"), 200),
        (format!("get /stream HTTP/1.1\r\n{accept}\r\n"), 405),
        (format!("TRACE /stream HTTP/1.1\r\n{accept}\r\n"), 405),
        (format!("DELETE /stream HTTP/1.1\r\n{accept}\r\n"), 405),
        (format!("GET /stream HTTP/1.1\r\ncontent-length: 0\r\n{accept}\r\n"), 200),
        (format!("GET /stream HTTP/1.1\r\ntransfer-encoding: chunked\r\n{accept}\r\n0\r\n\r\n"), 400),
        (format!("GET /stream HTTP/1.1\r\ncontent-length: 5\r\n{accept}\r\nhello"), 400),
    ] {
        let (socket, head) = raw(&host, request.as_bytes()).await;
        let head = head.unwrap_or_else(|| panic!("no response to {request:?}"));
        let found: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert_eq!(found, status, "{request:?}: {head}");
        assert!(!head.to_ascii_lowercase().contains("content-encoding"), "{head}");
        drop(socket);
    }
    eventually("all have left", || async { count(&host, None) == 0 }).await;
    assert_eq!(host.metric("fanfare_panics", &[]).await, 0.0);
}

#[tokio::test]
async fn requests_behind_a_stream_are_never_answered_nor_run() {
    let host = super::guest().start().await;
    let publish_it = |key: &str| {
        let body = json!({ "key": key, "data": "smuggled" }).to_string();
        format!("POST /api/streams/publish HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let mut listener = EventStream::open(host.http, &path("streams/feed")).await;
    let pipelined = publish_it("streams/feed").repeat(100);
    let open = "GET /stream?connectKey=streams/feed HTTP/1.1\r\nhost: h\r\naccept: text/event-stream\r\n\r\n";
    let mut stream = EventStream::send(host.http, &format!("{open}{pipelined}")).await;
    assert_eq!(stream.block().await.unwrap().comments, ["connected"]);
    stream.socket.write_all(pipelined.as_bytes()).await.unwrap();

    publish(&host, "streams/feed", "real");
    assert_eq!((listener.data().await.as_str(), stream.data().await.as_str()), ("real", "real"));
    // A request that came before the stream on the same connection is answered.
    let before = format!("{}{open}", publish_it("streams/feed"));
    let (_socket, head) = raw(&host, before.as_bytes()).await;
    assert!(head.unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(listener.data().await, "smuggled");
    eventually("the stream behind a request is open", || async { count(&host, None) == 3 }).await;
}

#[tokio::test]
async fn a_forged_last_event_id_gets_a_reset_and_nothing_of_other_keys() {
    let host = with(json!({ "history": 10 })).start().await;
    let mut reader = EventStream::open(host.http, &path("mine")).await;
    let mut other = EventStream::open(host.http, &path("other")).await;
    for number in 0..20 {
        publish(&host, "mine", &format!("mine-{number}"));
        publish(&host, "other", &format!("other-{number}"));
    }
    for _ in 0..20 {
        reader.data().await;
        other.data().await;
    }
    let (epoch, last) = reader.last_id().split_once('-').map(|(epoch, n)| (epoch.to_owned(), n.to_owned())).unwrap();
    let last: u64 = last.parse().unwrap();
    let forged = [
        format!("{epoch}-{}", last + 2),
        format!("{epoch}-{}", u64::MAX),
        format!("{epoch}-18446744073709551616"),
        format!("{epoch}-1"),
        format!("{epoch}-0"),
        format!("{epoch}-"),
        format!("{epoch}--1"),
        format!("{epoch}-+{last}"),
        format!("{epoch}- {last}"),
        format!("{epoch}-{last}.0"),
        format!("{epoch}-0x{last:x}"),
        format!("-{last}"),
        format!("0-{last}"),
        format!("{epoch}0-{last}"),
        format!("ffffffffffffffff-{last}"),
        format!("{epoch}-\u{0661}\u{0662}"),
        "-".to_owned(),
        "%".to_owned(),
        "null".to_owned(),
        "\u{1f600}".to_owned(),
        "x".repeat(8_000),
    ];
    for id in &forged {
        let mut stream = EventStream::resume(host.http, &path("mine"), id).await;
        let reset = stream.event().await.unwrap();
        assert_eq!((reset.name(), reset.text()), ("reset", ""), "{id}");
        for number in 10..20 {
            assert_eq!(stream.data().await, format!("mine-{number}"), "{id}");
        }
    }
    // A position that is ours, but was sent with an event of another key, is a position.
    let mut stream = EventStream::resume(host.http, &path("mine"), other.last_id()).await;
    publish(&host, "mine", "next");
    assert_eq!(stream.data().await, "next");
    // Leading zeros name the same position.
    let mut stream = EventStream::resume(host.http, &path("mine"), &format!("{epoch}-00{last}")).await;
    let event = stream.event().await.unwrap();
    assert!(matches!(event.text(), "next" | ""), "{event:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_never_read_on_keys_of_their_own_stay_below_hub_queued() {
    const STUCK: usize = 60;
    const QUEUED: f64 = 4.0 * 1_048_576.0;
    let host = with(json!({ "history": 0, "queue": { "bytes": "1GiB", "events": 1_000_000 } }))
        .config(json!({ "hub": { "queued": "4MiB" } }))
        .start()
        .await;
    let mut good = EventStream::open(host.http, &path("good")).await;
    let open = (0..STUCK).map(|number| {
        let address = host.http;
        async move { EventStream::open_small(address, &path(&format!("stuck-{number}"))).await }
    });
    let stuck = join_all(open).await;
    let data = "x".repeat(32 << 10);
    let (mut round, mut peak) = (0, 0f64);
    while host.metric("fanfare_hub_slow_clients", &["reason=\"hubQueued\""]).await == 0.0 {
        assert!(round < 2_000, "hub.queued does not bite: {}", host.metrics().await);
        for number in 0..STUCK {
            publish(&host, &format!("stuck-{number}"), &data);
        }
        publish(&host, "good", &round.to_string());
        assert_eq!(good.data().await, round.to_string());
        peak = peak.max(host.metric("fanfare_hub_queued_bytes", &[]).await);
        round += 1;
    }
    assert!(peak < QUEUED * 2.0, "{peak} bytes wait");
    // The good reader keeps its stream.
    publish(&host, "good", "last");
    assert_eq!(good.data().await, "last");
    drop(stuck);
    eventually("only the good reader is open", || async { count(&host, None) == 1 }).await;
    eventually("nothing waits", || async { host.metric("fanfare_hub_queued_bytes", &[]).await == 0.0 }).await;
}

#[tokio::test]
async fn a_flood_of_keys_takes_bounded_memory_and_the_place_of_no_reader() {
    let host = with(json!({ "history": { "count": 100, "age": "1s" } }))
        .config(json!({ "hub": { "topics": 1_000 } }))
        .start()
        .await;
    for number in 0..100_000 {
        publish(&host, &format!("key-{number}"), "x");
    }
    let topics = host.metric("fanfare_hub_topics", &[]).await;
    assert!(topics <= 1_000.0, "{topics}");
    // The histories that nobody reads make room for a reader of a new key.
    let mut stream = EventStream::open(host.http, &path("new")).await;
    assert_eq!(publish(&host, "new", "hello"), 1);
    assert_eq!(stream.data().await, "hello");
    eventually("the topics are gone", || async { host.metric("fanfare_hub_topics", &[]).await < 3.0 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_while_a_thousand_clients_leave_at_once() {
    const CLIENTS: usize = 1_000;
    fanfare::raise_descriptor_limit();
    let host = super::guest().workers(1).start().await;
    // Before the streams, so that a descriptor is left for it. The first request must not be late.
    let mut connection = crate::harness::Connection::open(host.http).await;
    assert_eq!(connection.send("POST", "/api/streams/count", &[], "null").await.json(), 0);
    let open = (0..CLIENTS).map(|_| EventStream::open(host.http, "/stream?connectKey=streams/feed"));
    let streams: Vec<EventStream> = stream::iter(open).buffer_unordered(200).collect().await;
    let mut worst = Duration::ZERO;
    let all = tokio::task::spawn_blocking(move || drop(streams));
    let begun = Instant::now();
    while count(&host, None) > 0 {
        let sent = Instant::now();
        assert_eq!(connection.send("POST", "/api/streams/count", &[], "null").await.status, 200);
        worst = worst.max(sent.elapsed());
        assert!(begun.elapsed() < PATIENCE, "{} are still open", count(&host, None));
    }
    all.await.unwrap();
    println!("the slowest of the requests meanwhile took {worst:?}");
}
