//! Clients that cost the host memory. None of them minds how it is refused.

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

/// How long an attacker stays.
const STAY: Duration = Duration::from_secs(5);

const LARGE: usize = 1 << 20;

/// One request on a connection of its own, whatever comes of it.
pub async fn post(address: SocketAddr, path: String, body: String) {
    let ask = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request =
            Request::post(path).header("host", address.to_string()).body(Full::new(Bytes::from(body))).ok()?;
        sender.send_request(request).await.ok()?.into_body().collect().await.ok()
    };
    _ = timeout(STAY * 2, ask).await;
}

/// Requests for paths of as many segments as a head may have.
pub async fn deep_paths(address: SocketAddr) {
    let ask = |segments: usize| async move {
        let Ok(mut stream) = TcpStream::connect(address).await else { return };
        let head = format!("GET /api/flags{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", "/a".repeat(segments));
        _ = stream.write_all(head.as_bytes()).await;
        _ = stream.read_to_end(&mut Vec::new()).await;
    };
    for segments in [100, 1_000, 10_000, 32_000] {
        _ = timeout(STAY, join_all((0..8).map(|_| ask(segments)))).await;
    }
}

/// Opens an HTTP/2 connection that answers pings and lets the host send `window` bytes a stream.
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

/// What an attacker holds on to: connections with the answers that it does not read.
pub type Kept = Vec<Option<(http2::SendRequest<Body>, Vec<Option<Response<Incoming>>>)>>;

/// Sends a request with this body on each of 200 streams of each connection, and keeps whatever
/// comes of it.
async fn attack(address: SocketAddr, connections: usize, window: u32, body: impl Fn() -> Body + Copy) -> Kept {
    let connect_and_ask = |_| async move {
        let sender = connect(address, window).await?;
        let ask = |_| {
            let mut sender = sender.clone();
            async move {
                sender.ready().await.ok()?;
                let request = Request::post(format!("http://{address}/api/echo/echo")).body(body()).ok()?;
                timeout(STAY, sender.send_request(request)).await.ok()?.ok()
            }
        };
        let answers = join_all((0..200).map(ask)).await;
        Some((sender, answers))
    };
    join_all((0..connections).map(connect_and_ask)).await
}

/// Asks for large answers, and never opens a window for them.
pub async fn unread_answers(address: SocketAddr, connections: usize) -> Kept {
    attack(address, connections, 1, || Full::from(vec![b'x'; LARGE]).boxed()).await
}

/// Sends bodies that do not end.
pub async fn endless_bodies(address: SocketAddr, connections: usize) -> Kept {
    let endless = || {
        let part = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; LARGE])))]);
        BodyExt::boxed(StreamBody::new(StreamExt::chain(part, stream::pending())))
    };
    attack(address, connections, 65_535, endless).await
}
