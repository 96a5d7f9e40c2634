//! Sends one HTTP request on a new connection.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::response::Parts;
use http::uri::Authority;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use fanfare::tooling::dial;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    #[error(transparent)]
    Broken(hyper::Error),
    #[error("no response within {} s", .0.as_secs())]
    Slow(Duration),
}

/// Sends a request and returns the whole response. Adds a `Host` header if the request has none.
pub async fn exchange(
    authority: &Authority,
    request: Request<Full<Bytes>>,
    within: Duration,
) -> Result<Response<Bytes>, ExchangeError> {
    let (mut sender, connection) = connect(authority).await?;
    let exchanging = async {
        let (head, body) = sender.send_request(with_host(authority, request)).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    match timeout(within, driven(connection, exchanging)).await {
        Ok(response) => response.map_err(ExchangeError::Broken),
        Err(_) => Err(ExchangeError::Slow(within)),
    }
}

/// A response whose body arrives while it is read. Dropping it closes the connection.
pub struct OpenResponse {
    pub head: Parts,
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Drop for OpenResponse {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl OpenResponse {
    /// Returns the next part of the body, or `None` at its end or if the connection fails.
    pub async fn part(&mut self) -> Option<Bytes> {
        loop {
            if let Ok(data) = self.body.frame().await?.ok()?.into_data() {
                return Some(data);
            }
        }
    }

    /// Returns the rest of the body.
    pub async fn rest(&mut self, within: Duration) -> Result<Bytes, ExchangeError> {
        let rest = timeout(within, (&mut self.body).collect()).await.map_err(|_| ExchangeError::Slow(within))?;
        Ok(rest.map_err(ExchangeError::Broken)?.to_bytes())
    }
}

/// Sends a request and returns the response as soon as its head has arrived.
pub async fn open(
    authority: &Authority,
    request: Request<Full<Bytes>>,
    within: Duration,
) -> Result<OpenResponse, ExchangeError> {
    let (mut sender, connection) = connect(authority).await?;
    // The exchange itself reports an error of the connection.
    let connection = tokio::spawn(async move { drop(connection.await) });
    let sent = timeout(within, sender.send_request(with_host(authority, request))).await;
    let sent = sent.map_err(|_| ExchangeError::Slow(within)).and_then(|sent| sent.map_err(ExchangeError::Broken));
    match sent {
        Ok(response) => {
            let (head, body) = response.into_parts();
            Ok(OpenResponse { head, body, connection })
        }
        Err(error) => {
            connection.abort();
            Err(error)
        }
    }
}

/// Sends a request and passes the head of the response, and then each part of its body, to `read`
/// until it returns `false` or the body ends. The head must arrive `within` this time, and each
/// part within `pause` after the previous one.
pub async fn stream(
    authority: &Authority,
    request: Request<Full<Bytes>>,
    within: Duration,
    pause: Duration,
    mut read: impl FnMut(&Parts, Bytes) -> bool,
) -> Result<(), ExchangeError> {
    let (mut sender, connection) = connect(authority).await?;
    let streaming = async {
        let sent = timeout(within, sender.send_request(with_host(authority, request))).await;
        let response = sent.map_err(|_| ExchangeError::Slow(within))?.map_err(ExchangeError::Broken)?;
        let (head, mut body) = response.into_parts();
        while let Some(frame) = timeout(pause, body.frame()).await.map_err(|_| ExchangeError::Slow(pause))? {
            let frame = frame.map_err(ExchangeError::Broken)?;
            if let Ok(data) = frame.into_data()
                && !read(&head, data)
            {
                break;
            }
        }
        Ok(())
    };
    driven(connection, streaming).await
}

type Sender = hyper::client::conn::http1::SendRequest<Full<Bytes>>;
type Connection = hyper::client::conn::http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

async fn connect(authority: &Authority) -> Result<(Sender, Connection), ExchangeError> {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let connecting = dial(host, authority.port_u16().unwrap_or(80));
    let connected = timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let stream = TokioIo::new(connected.map_err(ExchangeError::Unreachable)?);
    hyper::client::conn::http1::handshake(stream).await.map_err(ExchangeError::Broken)
}

fn with_host(authority: &Authority, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    if let (false, Ok(host)) = (request.headers().contains_key(HOST), HeaderValue::try_from(authority.as_str())) {
        request.headers_mut().insert(HOST, host);
    }
    request
}

/// Runs an exchange and its connection.
async fn driven<T>(connection: Connection, exchange: impl Future<Output = T>) -> T {
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        result = &mut exchange => result,
        // The connection may end before the response is read from its buffer.
        _ = connection => exchange.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_stream_that_pauses_for_too_long_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority: Authority = listener.local_addr().unwrap().to_string().parse().unwrap();
        let _server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n").await.unwrap();
            // Keeps the connection open until the client closes it.
            while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
        });
        let (second, pause) = (Duration::from_secs(1), Duration::from_millis(50));
        let mut parts = Vec::new();
        let streamed = stream(&authority, Request::default(), second, pause, |_, part| {
            parts.push(part);
            true
        });
        assert!(matches!(streamed.await, Err(ExchangeError::Slow(after)) if after == pause));
        assert_eq!(parts, ["x"]);
    }
}
