//! An HTTP/2 client with one connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

#[derive(Clone)]
pub struct Http2(SendRequest<Full<Bytes>>);

/// A request whose response has not arrived yet.
pub struct Stream(JoinHandle<Response<Incoming>>);

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Http2 {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Http2(sender)
    }

    /// Sends a request on a new stream.
    pub fn send(&self, path: &str, body: String) -> Stream {
        let uri = format!("http://example.test{path}");
        let request = Request::post(uri).body(Full::from(body)).unwrap();
        let mut sender = self.0.clone();
        Stream(tokio::spawn(async move {
            sender.ready().await.unwrap();
            sender.send_request(request).await.unwrap()
        }))
    }
}

impl Stream {
    /// Waits for the response. Returns its status and body.
    pub async fn answer(self) -> (u16, String) {
        let (head, body) = self.0.await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    /// Resets the stream.
    pub fn reset(self) {
        self.0.abort();
    }
}
