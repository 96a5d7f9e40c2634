//! A client over HTTP/2 that makes its windows smaller when the host has asked for the next event.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{count, publish};
use crate::harness::{Started, TestHost, eventually};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

const ACK: u8 = 1;
/// The end of the head, and of the request.
const END: u8 = 0x5;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The head of a request for the stream of a key (RFC 7541).
fn head(key: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    // GET, http, and literals for `:path`, `:authority` and `accept`.
    let path = text(&format!("/stream?connectKey={key}"));
    [&[0x82, 0x86, 0x04], &*path, &[0x01], &*text("h"), &[0x0f, 0x04], &*text("text/event-stream")].concat()
}

struct Raw(TcpStream);

impl Raw {
    async fn connect(host: &Started) -> Raw {
        let mut socket = TcpStream::connect(host.http).await.unwrap();
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut raw = Raw(socket);
        raw.send(&frame(SETTINGS, 0, 0, &[])).await;
        raw
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Reads frames until one of this kind with these flags.
    async fn until(&mut self, kind: u8, flags: u8) {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.unwrap();
            if head[3] == kind && head[4] & flags == flags {
                return;
            }
        }
    }
}

#[tokio::test]
async fn what_a_client_has_no_window_for_counts_in_max_buffered() {
    const MAX: f64 = 2_097_152.0;
    let host = TestHost::empty().config(json!({ "sse": {}, "http": { "maxBuffered": "2MiB" } })).start().await;
    let mut client = Raw::connect(&host).await;
    for number in 0..8 {
        client.send(&frame(HEADERS, END, 2 * number + 1, &head(&number.to_string()))).await;
        // The first comment. hyper asks for the next frame then.
        client.until(DATA, 0).await;
    }
    // SETTINGS_INITIAL_WINDOW_SIZE
    client.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    client.until(SETTINGS, ACK).await;
    let large = "x".repeat(512 << 10);
    for number in 0..8 {
        assert_eq!(publish(&host, &number.to_string(), &large), 1);
    }
    eventually("the streams beyond http.maxBuffered have ended", || async { (1..4).contains(&count(&host, None)) })
        .await;
    let buffered = host.metric("fanfare_http_buffered_bytes", &[]).await;
    assert!(buffered > MAX / 2.0 && buffered <= MAX, "{buffered}");
    assert_eq!(host.metric("fanfare_hub_queued_bytes", &[]).await, 0.0);
    drop(client);
}
