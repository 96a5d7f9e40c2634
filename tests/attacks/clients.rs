//! Clients that use the host's memory. They ignore all errors.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

type Body = BoxBody<Bytes, Infallible>;

/// How long an attacker waits for a response.
const STAY: Duration = Duration::from_secs(5);

const LARGE: usize = 1 << 20;

/// Sends one request on a new connection, and ignores the result.
pub async fn post(address: SocketAddr, path: String, body: String) {
    let send = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request =
            Request::post(path).header("host", address.to_string()).body(Full::new(Bytes::from(body))).ok()?;
        sender.send_request(request).await.ok()?.into_body().collect().await.ok()
    };
    _ = timeout(STAY * 2, send).await;
}

/// Sends requests for paths with up to 32,000 segments, which is as many as fit into a head.
pub async fn deep_paths(address: SocketAddr) {
    let get = |segments: usize| async move {
        let Ok(mut stream) = TcpStream::connect(address).await else { return };
        let head = format!("GET /api/flags{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "/a".repeat(segments));
        _ = stream.write_all(head.as_bytes()).await;
        _ = stream.read_to_end(&mut Vec::new()).await;
    };
    for segments in [100, 1_000, 10_000, 32_000] {
        _ = timeout(STAY, join_all((0..8).map(|_| get(segments)))).await;
    }
}

/// Opens an HTTP/2 connection that answers PINGs and accepts `window` bytes per stream.
async fn connect(address: SocketAddr, window: u32) -> Option<http2::SendRequest<Body>> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(window)
        .keep_alive_interval(Duration::from_millis(500))
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(stream))
        .await
        .ok()?;
    tokio::spawn(connection);
    Some(sender)
}

/// Connections that stay open, with their unread responses.
pub type OpenConnections = Vec<Option<(http2::SendRequest<Body>, Vec<Option<Response<Incoming>>>)>>;

/// Sends a request with this body on each of 200 streams of each connection, and keeps all
/// responses.
async fn attack(
    address: SocketAddr,
    connections: usize,
    window: u32,
    body: impl Fn() -> Body + Copy,
) -> OpenConnections {
    let connect_and_send = |_| async move {
        let sender = connect(address, window).await?;
        let send = |_| {
            let mut sender = sender.clone();
            async move {
                sender.ready().await.ok()?;
                let request = Request::post(format!("http://{address}/api/echo/echo")).body(body()).ok()?;
                timeout(STAY, sender.send_request(request)).await.ok()?.ok()
            }
        };
        let responses = join_all((0..200).map(send)).await;
        Some((sender, responses))
    };
    join_all((0..connections).map(connect_and_send)).await
}

/// Requests large responses, and never reads them.
pub async fn unread_responses(address: SocketAddr, connections: usize) -> OpenConnections {
    attack(address, connections, 1, || Full::from(vec![b'x'; LARGE]).boxed()).await
}

/// Sends request bodies that do not end.
pub async fn endless_bodies(address: SocketAddr, connections: usize) -> OpenConnections {
    let endless = || {
        let part = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; LARGE])))]);
        BodyExt::boxed(StreamBody::new(StreamExt::chain(part, stream::pending())))
    };
    attack(address, connections, 65_535, endless).await
}
