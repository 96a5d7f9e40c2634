//! Sends one HTTP request on a new connection.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

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
    mut request: Request<Full<Bytes>>,
    within: Duration,
) -> Result<Response<Bytes>, ExchangeError> {
    if let (false, Ok(host)) = (request.headers().contains_key(HOST), HeaderValue::try_from(authority.as_str())) {
        request.headers_mut().insert(HOST, host);
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let connecting = TcpStream::connect((host, authority.port_u16().unwrap_or(80)));
    let connected = timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let stream = TokioIo::new(connected.map_err(ExchangeError::Unreachable)?);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(ExchangeError::Broken)?;
    let exchanging = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    };
    let exchanged = timeout(within, async {
        let mut exchanging = std::pin::pin!(exchanging);
        tokio::select! {
            biased;
            response = &mut exchanging => response,
            // The connection may end before the response is read from its buffer.
            _ = connection => exchanging.await,
        }
    });
    match exchanged.await {
        Ok(response) => response.map_err(ExchangeError::Broken),
        Err(_) => Err(ExchangeError::Slow(within)),
    }
}
