//! Readers of live streams over HTTP/2 that open their windows by a few bytes at a time.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::clients;
use crate::cli::project::Project;

/// The size of the large event in bytes. Less than `sse.queue` allows for one client.
const LARGE: usize = 500_000;

/// The small events in front of the large one.
const SMALL: usize = 20;

const READERS: usize = 100;

/// How long a reader waits for bytes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A reader, and what it has received.
struct Reader {
    body: Incoming,
    text: String,
}

impl Reader {
    /// Reads until this text has arrived. The window stays closed for what follows.
    async fn until(&mut self, text: &str) {
        while !self.text.contains(text) {
            let frame = timeout(PATIENCE, self.body.frame()).await.unwrap_or_else(|_| panic!("no {text:?} arrives"));
            let frame = frame.expect("the stream is open").unwrap();
            self.text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_event_behind_a_small_one_is_not_copied_for_each_reader_that_is_slow() {
    let project = Project::with(&["streams"]).config(json!({ "sse": { "pingInterval": "0ms" } }));
    let serving = project.start(project.command(&["serve"])).await;
    let stream = TcpStream::connect(serving.http).await.unwrap();
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(60)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let request = Request::get("http://h/stream?connectKey=streams/a").body(Empty::<Bytes>::new()).unwrap();
        let body = sender.send_request(request).await.unwrap().into_body();
        readers.push(Reader { body, text: String::new() });
    }
    for reader in &mut readers {
        reader.until(": connected").await;
    }
    let publish = async |number: usize, size: usize| {
        let body = json!({ "key": "streams/a", "from": number, "count": 1, "size": size }).to_string();
        clients::post(serving.http, "/api/streams/burst".to_owned(), body).await;
    };
    // The first ones fill the windows. The others wait in front of the large one.
    for number in 0..SMALL {
        publish(number, 0).await;
    }
    let before = serving.peak_memory();
    publish(SMALL, LARGE).await;
    let last = format!("data: {}\n", SMALL - 1);
    for reader in &mut readers {
        reader.until(&last).await;
    }
    // Another request after them: the streams have passed on what they can.
    assert_eq!(serving.operator("GET", "/livez").await.status, 200);
    let grown = serving.peak_memory().saturating_sub(before);
    let copies = (READERS * LARGE) as u64;
    assert!(grown < copies / 2, "{grown} bytes for {READERS} readers of one event");
    readers.first_mut().unwrap().until(&format!("data: {SMALL}xxxx")).await;
}
