//! Requests to the service.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::net::{Stream, connect};

/// How long a connection, and a response to a request, may take.
const CONNECT: Duration = Duration::from_secs(5);
const RESPONSE: Duration = Duration::from_secs(30);

/// The most bytes of a response to a request.
const MAX_RESPONSE: usize = 1 << 20;

/// Why the service is away.
#[derive(Debug, thiserror::Error)]
pub(super) enum Away {
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    #[error("the connection failed: {0}")]
    Broken(#[from] hyper::Error),
    #[error("no response within {} s", .0.as_secs())]
    Slow(Duration),
    #[error("it responds with the status {status}: {detail}")]
    Refused { status: StatusCode, detail: String },
    #[error("its response is not that of an event service: check events.connect")]
    Strange,
    #[error("it has sent an event that is longer than this host accepts (limits.max.payload)")]
    TooLong,
    #[error("it has ended the stream of events")]
    Ended,
}

/// The service.
pub(super) struct Target {
    pub(super) authority: Authority,
    /// The value of `Authorization`.
    pub(super) bearer: Option<HeaderValue>,
}

/// A connection to the service. Dropping it closes the connection.
pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
    host: HeaderValue,
    bearer: Option<HeaderValue>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Client {
    pub(super) async fn connect(target: &Target) -> Result<Client, Away> {
        let Target { authority, bearer } = target;
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let stream = connect(name, authority.port_u16().unwrap_or(80), CONNECT).await;
        let stream: TokioIo<Stream> = TokioIo::new(stream.map_err(Away::Unreachable)?);
        let (sender, connection) = http1::handshake(stream).await?;
        // The exchange itself reports an error of the connection.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Client { sender, connection, host: host(authority), bearer: bearer.clone() })
    }

    /// Opens the stream of events after a position, or of those from now on.
    pub(super) async fn open(&mut self, after: Option<&str>) -> Result<Incoming, Away> {
        let mut request = self.request(Method::GET, Bytes::new());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(after) = after.and_then(|after| HeaderValue::try_from(after).ok()) {
            request.headers_mut().insert("last-event-id", after);
        }
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::OK if is_stream(response.headers()) => Ok(response.into_body()),
            StatusCode::OK => Err(Away::Strange),
            _ => Err(refused(response).await),
        }
    }

    /// Emits a list of events. `key` makes the request repeatable.
    pub(super) async fn emit(&mut self, key: &str, list: Bytes) -> Result<(), Away> {
        let mut request = self.request(Method::POST, list);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(key) = HeaderValue::try_from(key) {
            request.headers_mut().insert("idempotency-key", key);
        }
        let response = self.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(response).await);
        }
        // Reads the body, so that the connection can be used again.
        match timeout(RESPONSE, Limited::new(response.into_body(), MAX_RESPONSE).collect()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Away::Strange),
            Err(_) => Err(Away::Slow(RESPONSE)),
        }
    }

    fn request(&self, method: Method, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = http::Uri::from_static("/events");
        request.headers_mut().insert(HOST, self.host.clone());
        if let Some(bearer) = &self.bearer {
            request.headers_mut().insert(AUTHORIZATION, bearer.clone());
        }
        request
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Away> {
        let sending = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        timeout(RESPONSE, sending).await.map_err(|_| Away::Slow(RESPONSE))?.map_err(Away::Broken)
    }
}

fn is_stream(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
}

async fn refused(response: Response<Incoming>) -> Away {
    let status = response.status();
    let body = timeout(RESPONSE, Limited::new(response.into_body(), MAX_RESPONSE).collect()).await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let detail = problem.get("detail").and_then(serde_json::Value::as_str).unwrap_or("no reason given").to_owned();
    Away::Refused { status, detail }
}

fn host(authority: &Authority) -> HeaderValue {
    HeaderValue::try_from(authority.as_str()).unwrap_or(HeaderValue::from_static("localhost"))
}

/// A text of 32 characters that is random enough to be unique.
pub(super) fn random() -> String {
    // Each state has other keys.
    let part = || RandomState::new().hash_one(std::time::SystemTime::now());
    format!("{:016x}{:016x}", part(), part())
}
