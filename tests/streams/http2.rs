//! Streams over HTTP/2.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;

use super::{count, host, path, publish, with};
use crate::harness::sse::{Block, Parser};
use crate::harness::{Started, eventually};

struct Stream {
    head: http::response::Parts,
    body: Incoming,
    parser: Parser,
}

impl Stream {
    /// Waits for the next event. `None` at the end.
    async fn event(&mut self) -> Option<Block> {
        loop {
            match self.parser.next() {
                Some(block) if block.data.is_some() => return Some(block),
                Some(_) => {}
                None => match self.body.frame().await {
                    Some(frame) => self.parser.push(&frame.ok()?.into_data().unwrap()),
                    None => return None,
                },
            }
        }
    }
}

async fn connect(host: &Started) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(host.http).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn open(sender: &mut SendRequest<Empty<Bytes>>, path: &str, last_id: &str) -> Stream {
    let request = Request::get(format!("http://h{path}")).header("accept", "text/event-stream");
    let request = match last_id {
        "" => request,
        id => request.header("last-event-id", id),
    };
    let (head, body) = sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap().into_parts();
    Stream { head, body, parser: Parser::default() }
}

/// Asks for a stream with a body. Returns the status, the allowed origin and the answer's text.
pub(super) async fn get_with_body(host: &Started, path: &str) -> (u16, Option<String>, String) {
    let stream = TcpStream::connect(host.http).await.unwrap();
    let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("http://h{path}")).body(Full::new(Bytes::from("body"))).unwrap();
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let origin = head.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned());
    assert!(head.status != 200, "the stream has opened");
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), origin, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn several_streams_share_a_connection_with_requests() {
    let host = crate::harness::TestHost::with("echo").config(json!({ "sse": {} })).start().await;
    let mut sender = connect(&host).await;
    let mut a = open(&mut sender, &path("a"), "").await;
    let mut b = open(&mut sender, &path("b"), "").await;
    let field = |name: &str| a.head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!((a.head.status.as_u16(), field("content-type").as_deref()), (200, Some("text/event-stream")));
    assert_eq!((field("connection"), field("transfer-encoding")), (None, None));
    assert_eq!(count(&host, None), 2);
    for number in 0..500 {
        publish(&host, "a", &number.to_string());
    }
    publish(&host, "b", "b");
    for number in 0..500 {
        assert_eq!(a.event().await.unwrap().text(), number.to_string());
    }
    assert_eq!(b.event().await.unwrap().text(), "b");
    let request = Request::get("http://h/api/echo/whoami").body(Empty::new()).unwrap();
    assert!(sender.send_request(request).await.unwrap().status().as_u16() < 500);
    // A stream that is reset ends, and the others continue.
    drop(b);
    eventually("one stream is open", || async { count(&host, None) == 1 }).await;
    let last = a.parser.last_id.clone();
    publish(&host, "a", "missed");
    assert_eq!(host.running().close_stream("a"), 1);
    assert_eq!(a.event().await.unwrap().text(), "missed");
    assert_eq!(a.event().await, None);
    let mut again = open(&mut sender, &path("a"), &last).await;
    assert_eq!(again.event().await.unwrap().text(), "missed");
    drop((sender, again));
    eventually("no stream is open", || async { count(&host, None) == 0 }).await;
}

#[tokio::test]
async fn an_event_that_is_published_when_the_head_has_arrived_is_not_missed() {
    for history in [0, 100] {
        let host = with(json!({ "history": history })).start().await;
        let mut sender = connect(&host).await;
        for number in 0..100 {
            let key = number.to_string();
            let mut stream = open(&mut sender, &path(&key), "").await;
            assert_eq!((stream.head.status.as_u16(), publish(&host, &key, "x")), (200, 1), "{number}");
            assert_eq!(stream.event().await.unwrap().text(), "x");
        }
    }
}

#[tokio::test]
async fn a_full_host_ends_the_stream_and_not_the_connection() {
    let host = with(json!({ "maxClients": 1 })).start().await;
    let mut sender = connect(&host).await;
    let mut first = open(&mut sender, &path("a"), "").await;
    let mut second = open(&mut sender, &path("a"), "").await;
    assert_eq!(second.head.status.as_u16(), 200);
    let full = second.event().await.unwrap();
    assert_eq!((full.name(), full.retry), ("full", Some(5_000)));
    assert_eq!(second.event().await, None);
    publish(&host, "a", "x");
    assert_eq!(first.event().await.unwrap().text(), "x");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let host = host().config(json!({ "sse": { "queue": { "events": 8 } } })).start().await;
    let mut sender = connect(&host).await;
    let stuck = open(&mut sender, &path("a"), "").await;
    let mut reader = open(&mut sender, &path("a"), "").await;
    let data = "x".repeat(32 << 10);
    for number in 0..1_000 {
        if count(&host, None) == 1 {
            break;
        }
        publish(&host, "a", &format!("{number} {data}"));
        assert!(reader.event().await.unwrap().text().starts_with(&format!("{number} ")));
    }
    assert_eq!(count(&host, None), 1);
    drop(stuck);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_that_is_larger_than_the_queue_cuts_no_client_that_reads() {
    // Five times the queue, and less than what hyper takes from a stream without its client.
    const EVENTS: u32 = 40;
    let padding = "x".repeat(8_192);
    // The only worker runs the module, so that it finds many events in its inbox at once.
    let host = super::guest().workers(1).config(json!({ "sse": { "queue": { "events": 8 } } })).start().await;
    let mut sender = connect(&host).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(open(&mut sender, &path("streams/feed"), "").await);
    }
    for round in 0..3 {
        let burst = json!({ "key": "streams/feed", "from": round * EVENTS, "count": EVENTS, "size": padding.len() });
        let answer = host.post("/api/streams/burst", burst.to_string()).await;
        assert_eq!((answer.status, answer.text()), (200, "4"));
        for stream in &mut streams {
            for number in round * EVENTS..(round + 1) * EVENTS {
                let event = stream.event().await.unwrap_or_else(|| panic!("cut before event {number}"));
                assert_eq!(event.text(), format!("{number}{padding}"));
            }
        }
    }
    assert_eq!(host.metric("fanfare_hub_slow_clients", &[]).await, 0.0);
}

#[tokio::test]
async fn a_stop_ends_the_streams() {
    let host = host().config(json!({ "shutdown": { "linger": "5s", "drain": "10s" } })).start().await;
    let mut sender = connect(&host).await;
    let mut stream = open(&mut sender, &path("a"), "").await;
    publish(&host, "a", "last");
    drop(sender);
    assert_eq!(host.stop().await, fanfare::Stopped::Clean);
    assert_eq!(stream.event().await.unwrap().text(), "last");
    assert_eq!(stream.event().await, None);
}
