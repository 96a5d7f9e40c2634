//! Many requests at once on one connection.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::{Started, TestHost, eventually};

#[derive(Clone)]
struct Client(SendRequest<Full<Bytes>>);

impl Client {
    async fn connect(host: &Started) -> Client {
        let stream = TcpStream::connect(host.http).await.unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Client(sender)
    }

    /// A request on a stream of its own.
    fn send(&self, path: &str, body: String) -> JoinHandle<Response<Incoming>> {
        let uri = format!("http://example.test{path}");
        let request = Request::post(uri).body(Full::from(body)).unwrap();
        let mut sender = self.0.clone();
        tokio::spawn(async move {
            sender.ready().await.unwrap();
            sender.send_request(request).await.unwrap()
        })
    }
}

async fn text(response: JoinHandle<Response<Incoming>>) -> (u16, String) {
    let (head, body) = response.await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
}

/// How many calls of `waits` run in each worker.
async fn running(host: &Started) -> [u64; 2] {
    let count = async |worker| host.slot("waits", worker).await["in_flight"].as_u64().unwrap();
    [count(0).await, count(1).await]
}

async fn release(host: &Started) {
    for worker in [0, 1] {
        host.run(worker, "waits", "release", serde_json::Value::Null).await;
    }
}

#[tokio::test]
async fn every_stream_gets_its_own_answer() {
    let host = TestHost::with("echo").start().await;
    let client = Client::connect(&host).await;
    let streams = (0..2_000).map(|number| client.send("/api/echo/echo", number.to_string()));
    for (number, answer) in join_all(streams.map(text)).await.into_iter().enumerate() {
        assert_eq!(answer, (200, number.to_string()));
    }
}

#[tokio::test]
async fn streams_beyond_the_local_ones_run_in_other_workers() {
    let host = TestHost::waits_for(&[]).config(json!({ "http": { "localStreams": 4 } })).start().await;
    let client = Client::connect(&host).await;
    let streams: Vec<_> = (0..12).map(|number| client.send("/api/waits/hold", number.to_string())).collect();
    eventually("all run", || async { running(&host).await.iter().sum::<u64>() == 12 }).await;
    let counts = running(&host).await;
    assert!(counts.iter().all(|count| *count >= 4), "{counts:?}");
    release(&host).await;
    for (number, stream) in streams.into_iter().enumerate() {
        assert_eq!(text(stream).await, (200, number.to_string()));
    }
}

#[tokio::test]
async fn as_many_as_are_local_stay_with_the_connections_worker() {
    let host = TestHost::waits_for(&[]).start().await;
    let client = Client::connect(&host).await;
    let streams: Vec<_> = (0..16).map(|number| client.send("/api/waits/hold", number.to_string())).collect();
    eventually("all run", || async { running(&host).await.iter().sum::<u64>() == 16 }).await;
    assert!(running(&host).await.contains(&0), "{:?}", running(&host).await);
    release(&host).await;
    for stream in streams {
        assert_eq!(text(stream).await.0, 200);
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_ends_nothing() {
    let host = TestHost::waits_for(&[]).start().await;
    let client = Client::connect(&host).await;
    let left = client.send("/api/waits/hold", String::new());
    eventually("it runs", || async { running(&host).await.iter().sum::<u64>() == 1 }).await;
    left.abort();
    // The host has seen the reset when it has answered what came after it.
    assert_eq!(text(client.send("/api/waits/ok", String::new())).await, (200, "ok".to_owned()));
    assert_eq!(running(&host).await.iter().sum::<u64>(), 1);
    release(&host).await;
    eventually("both end well", || async {
        host.metric("fanfare_calls_total", &["waits", "http", "\"ok\""]).await == 2.0
    })
    .await;
}

#[tokio::test]
async fn an_error_on_one_stream_leaves_the_others() {
    let host = TestHost::waits_for(&["traps"]).start().await;
    let client = Client::connect(&host).await;
    let held = client.send("/api/waits/hold", "held".to_owned());
    eventually("it runs", || async { running(&host).await.iter().sum::<u64>() == 1 }).await;
    assert_eq!(text(client.send("/api/traps/trap", String::new())).await.0, 500);
    assert_eq!(text(client.send("/api/nobody/x", String::new())).await.0, 404);
    release(&host).await;
    assert_eq!(text(held).await, (200, "held".to_owned()));
}
