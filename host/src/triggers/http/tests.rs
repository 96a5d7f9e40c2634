//! Tests of the trigger over real sockets. The worker is fake: its handlers are closures.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, StatusCode, Version};
use http_body_util::Full;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::content::{Content, DetachedSocket, HttpResponse, SocketHandler};
use super::host_route::{HostRequest, HostRoute};
use super::*;
use crate::call::{self, CallError, CallResult, HttpRequest, Outcome, Payload, Reply};
use crate::config::{HttpConfig, opens_test_routes};
use crate::net::{self, BufferBudget};
use crate::registry::router::{MatchedRoute, RouteLookup, RouteSpec, Router};
use crate::registry::segment::Segment;
use crate::registry::{Access, Middleware};

mod bodies;
mod buffer_budget;
mod connections;
mod errors;
mod heads;
mod http2;
mod requests;
mod sockets;
mod streams;

type Handler = Arc<dyn Fn(Vec<(String, String)>, HttpRequest) -> BoxFuture<'static, CallResult> + Send + Sync>;

type HostHandler = Arc<dyn Fn(HostRequest) -> HttpResponse + Send + Sync>;

/// The largest payload that the module accepts.
const MAX_PAYLOAD: u64 = 1 << 20;

/// A worker with one module, `m`.
#[derive(Clone)]
struct FakeWorker {
    router: Arc<Router>,
    handlers: Arc<HashMap<String, Handler>>,
    host_routes: Arc<HashMap<String, HostHandler>>,
    panics: Arc<Mutex<Vec<String>>>,
}

impl Backend for FakeWorker {
    type Module = ();

    fn module(&self, name: &str) -> Result<(), CallError> {
        match name {
            "m" => Ok(()),
            "absent" => Err(CallError::Unavailable("absent was rejected".to_owned())),
            name => Err(CallError::NotFound(format!("there is no module {name}"))),
        }
    }

    fn find(&self, (): &(), method: &Method, path: &str) -> RouteLookup {
        self.router.find(method, path)
    }

    fn max_payload(&self, (): &()) -> u64 {
        MAX_PAYLOAD
    }

    async fn call(&self, (): &(), matched: MatchedRoute, request: HttpRequest) -> CallResult {
        let handler = self.handlers[&*matched.route.handler].clone();
        handler(matched.params, request).await
    }

    fn host_route(&self, path: &str) -> Option<HostRoute> {
        let handler = self.host_routes.get(path)?.clone();
        Some(Box::new(move |request| Box::pin(std::future::ready(handler(request)))))
    }

    fn panicked(&self, panic: &str) {
        self.panics.lock().push(panic.to_owned());
    }
}

/// Builds a host: `host().route("GET hello", ..).start()`.
struct Builder {
    config: HttpConfig,
    environment: &'static str,
    routes: Vec<RouteSpec>,
    handlers: HashMap<String, Handler>,
    host_routes: HashMap<String, HostHandler>,
}

fn host() -> Builder {
    Builder {
        config: HttpConfig::default(),
        environment: "production",
        routes: Vec::new(),
        handlers: HashMap::new(),
        host_routes: HashMap::new(),
    }
}

impl Builder {
    fn config(mut self, change: impl FnOnce(&mut HttpConfig)) -> Builder {
        change(&mut self.config);
        self
    }

    fn environment(self, environment: &'static str) -> Builder {
        Builder { environment, ..self }
    }

    /// Adds a route, `METHOD path`, with an async handler. A path that starts with `inner`,
    /// `test` or `cors` gets that middleware.
    fn async_route<F>(
        mut self,
        text: &str,
        handler: impl Fn(Vec<(String, String)>, HttpRequest) -> F + Send + Sync + 'static,
    ) -> Builder
    where
        F: Future<Output = CallResult> + Send + 'static,
    {
        let (method, path) = text.split_once(' ').unwrap();
        let segment = |text: &str| match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => Segment::Param(name.to_owned()),
            None => Segment::Literal(text.to_owned()),
        };
        let prefixes =
            [("inner", Middleware::Inner), ("test", Middleware::Test), ("cors", Middleware::Cors)].into_iter();
        let middlewares: Vec<Middleware> =
            prefixes.filter(|(prefix, _)| path.starts_with(prefix)).map(|(_, middleware)| middleware).collect();
        self.routes.push(RouteSpec {
            method: method.parse().unwrap(),
            path: path.split('/').filter(|text| !text.is_empty()).map(segment).collect(),
            route: Arc::new(call::Route { deployment: 0, handler: text.into(), text: text.into(), chain: Vec::new() }),
            access: Access::of(&middlewares, opens_test_routes(self.environment)),
        });
        self.handlers.insert(text.to_owned(), Arc::new(move |params, request| Box::pin(handler(params, request))));
        self
    }

    fn route(
        self,
        text: &str,
        handler: impl Fn(Vec<(String, String)>, HttpRequest) -> CallResult + Send + Sync + 'static,
    ) -> Builder {
        self.async_route(text, move |params, request| std::future::ready(handler(params, request)))
    }

    /// Adds a route of the host itself.
    fn host_route(
        mut self,
        path: &str,
        handler: impl Fn(HostRequest) -> HttpResponse + Send + Sync + 'static,
    ) -> Builder {
        self.host_routes.insert(path.to_owned(), Arc::new(handler));
        self
    }

    /// Adds a route that replies with its request as text.
    fn echo(self, text: &str) -> Builder {
        self.route(text, |params, request| {
            let headers: Vec<String> =
                request.head.headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
            let (head, query, payload) = (&request.head, &request.query, &request.payload);
            let trace = head.headers.contains_key("traceparent").then(|| request.trace.to_string());
            ok(&format!(
                "{} {} query={query} params={params:?} payload={payload:?} subdomain={:?} trace={trace:?} authority={} headers={}",
                request.method,
                head.path,
                request.subdomain,
                head.authority,
                headers.join("|"),
            ))
        })
    }

    async fn start(self) -> Host {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let buffered = Arc::new(BufferBudget::new(self.config.max_buffered));
        let settings = Arc::new(Settings::new(&self.config, buffered.clone()));
        let fake = FakeWorker {
            router: Arc::new(Router::new(self.routes.into_iter())),
            handlers: Arc::new(self.handlers),
            host_routes: Arc::new(self.host_routes),
            panics: Arc::default(),
        };
        let panics = fake.panics.clone();
        let (stopping, tasks) = (Stopping::default(), TaskTracker::new());
        let (token, tracker) = (stopping.clone(), tasks.clone());
        let connect = Arc::new(move |stream, peer| {
            let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            let guard = net::ConnectionGuard::new(&Arc::default(), permit, tracker.token());
            _ = tokio::spawn(serve(stream, peer, guard, settings.clone(), fake.clone(), token.clone()));
        });
        let connects = connect.clone();
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                connects(net::Stream::Tcp(stream), peer);
            }
        });
        Host { address, stopping, tasks, buffered, panics, connect }
    }
}

struct Host {
    address: SocketAddr,
    stopping: Stopping,
    tasks: TaskTracker,
    buffered: Arc<BufferBudget>,
    /// The panics that the backend was told of.
    panics: Arc<Mutex<Vec<String>>>,
    /// Serves a stream of any transport.
    connect: Arc<dyn Fn(net::Stream, SocketAddr) + Send + Sync>,
}

impl Host {
    /// Takes both steps of a stop at once.
    fn shut_down(&self) {
        self.stopping.announced.cancel();
        self.stopping.closing.cancel();
    }

    async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), buffer: Vec::new() }
    }

    /// Sends one request on a new connection, and returns the response.
    async fn send(&self, request: &str) -> Received {
        let mut client = self.connect().await;
        client.send(request).await;
        client.receive().await
    }

    async fn get(&self, path: &str) -> Received {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n")).await
    }
}

/// A client that sends raw bytes on one connection.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A response: its status line and header fields as text, and its body.
#[derive(Debug)]
struct Received {
    head: String,
    body: String,
}

impl Received {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Returns all values of a header field.
    fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| *found == name).map(|(_, value)| value).collect()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).first().copied()
    }

    fn json(&self) -> serde_json::Value {
        assert_eq!(self.field("content-type"), Some("application/problem+json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap()
    }

    #[track_caller]
    fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status(), self.json()["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.json()["status"], status);
        assert_eq!(self.json()["type"], format!("urn:fanfare:{code}"));
    }
}

impl Client {
    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Receives the next response, with a body of its `Content-Length`.
    async fn receive(&mut self) -> Received {
        self.receive_with(true).await
    }

    /// Receives the response to a `HEAD`.
    async fn receive_head(&mut self) -> Received {
        self.receive_with(false).await
    }

    async fn receive_with(&mut self, with_body: bool) -> Received {
        let end = loop {
            match self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(end) => break end,
                None => {
                    assert!(self.more().await, "closed in a head: {:?}", String::from_utf8_lossy(&self.buffer));
                }
            }
        };
        let head = String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap().trim_end().to_owned();
        let mut received = Received { head, body: String::new() };
        let length: usize = received.field("content-length").unwrap_or("0").parse().unwrap();
        if with_body {
            while self.buffer.len() < length {
                assert!(self.more().await, "the host closed in a body: {received:?}");
            }
            received.body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        }
        received
    }

    /// Reads once. Returns false at the end of the stream.
    async fn more(&mut self) -> bool {
        let reading = tokio::time::timeout(Duration::from_secs(20), self.stream.read_buf(&mut self.buffer));
        reading.await.expect("the host sends or closes").is_ok_and(|count| count > 0)
    }

    /// Asserts that the host closes the connection without sending anything else.
    async fn assert_closed(&mut self) {
        while self.more().await {}
        assert_eq!(String::from_utf8_lossy(&self.buffer), "");
    }
}

fn ok(text: &str) -> CallResult {
    replied(0, &[], Payload::Text(text.to_owned()))
}

fn replied(status: u16, headers: &[(&str, &str)], payload: Payload) -> CallResult {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Ok(Outcome::Reply(Reply { status, headers, payload, extra: Vec::new() }))
}
