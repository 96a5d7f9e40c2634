//! An event service that does what the test says.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// Listens on a free port. Dropping it closes the listener.
pub struct FakeService {
    pub address: SocketAddr,
    requests: UnboundedReceiver<Request>,
    task: tokio::task::JoinHandle<()>,
}

/// A request that waits for its response.
pub struct Request {
    pub method: String,
    pub body: String,
    socket: TcpStream,
    /// Where the next request of the connection goes.
    requests: UnboundedSender<Request>,
}

impl FakeService {
    pub async fn start() -> FakeService {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = unbounded_channel();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(read(socket, sender.clone()));
            }
        });
        FakeService { address, requests, task }
    }

    /// Waits for the next request, of any connection.
    pub async fn next(&mut self) -> Request {
        timeout(Duration::from_secs(20), self.requests.recv()).await.expect("a request in time").unwrap()
    }

    /// Waits for the request that subscribes, and opens its stream, which ends when it is dropped.
    pub async fn subscribed(&mut self) -> TcpStream {
        let request = self.next().await;
        assert_eq!(request.method, "GET");
        request.stream(": connected\n\nid: 1-0\n\n").await
    }
}

impl Drop for FakeService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Request {
    /// The values of the events of the body.
    pub fn values(&self) -> Vec<Value> {
        let events: Vec<Value> = serde_json::from_str(&self.body).unwrap();
        events.into_iter().map(|event| event["value"].clone()).collect()
    }

    /// Responds, and reads the next request of the connection.
    pub async fn answer(mut self, status: u16, content_type: &str, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n");
        self.socket.write_all((head + body).as_bytes()).await.unwrap();
        tokio::spawn(read(self.socket, self.requests));
    }

    /// Responds with the beginning of a stream.
    pub async fn stream(mut self, text: &str) -> TcpStream {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_owned();
        self.socket.write_all((head + text).as_bytes()).await.unwrap();
        self.socket
    }
}

/// Reads a request.
async fn read(mut socket: TcpStream, requests: UnboundedSender<Request>) {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
            if let Some(body) = bytes.get(end + 4..end + 4 + length) {
                let method = head.split(' ').next().unwrap().to_ascii_uppercase();
                let body = String::from_utf8(body.to_vec()).unwrap();
                let next = requests.clone();
                _ = requests.send(Request { method, body, socket, requests: next });
                return;
            }
        }
        if !matches!(socket.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
}
