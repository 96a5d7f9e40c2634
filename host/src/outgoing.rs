//! Requests of guests to other servers: a client for each generation, which reaches only the
//! origins that were granted, and only public addresses unless the operator names others.

mod body;
mod connector;
mod error;
mod names;
mod policy;
mod sockets;
mod stats;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::config::OutgoingConfig;
use crate::config::origin::Origin;
use crate::net::Tls;

pub use body::{RequestBody, ResponseBody};
pub use error::RequestError;
pub use policy::Policy;
pub use sockets::Sockets;
pub use stats::Stats;

use body::OpenResponse;
use connector::Connector;
use names::AllNames;

/// The most bytes of the head of a response, and of each piece of its body.
const BUFFER: usize = 64 << 10;

/// What the clients of all modules share.
pub struct Outgoing {
    settings: OutgoingConfig,
    /// The file with further authorities.
    ca: Option<PathBuf>,
    /// Loaded with the first module that needs it.
    tls: Mutex<Option<Tls>>,
    names: AllNames,
    pub stats: Arc<Stats>,
}

impl Outgoing {
    pub fn new(settings: OutgoingConfig, ca: Option<PathBuf>) -> Outgoing {
        Outgoing { settings, ca, tls: Mutex::default(), names: AllNames::default(), stats: Arc::default() }
    }

    /// The endpoints of a generation.
    pub fn sockets(&self, entries: &[String]) -> Sockets {
        Sockets::new(entries, self.settings.networks(), self.names.of_module())
    }

    /// Creates the client of a generation. Blocks while it reads the certificates of authorities.
    /// The error says what is wrong with them.
    pub fn client(&self, origins: Vec<String>) -> Result<Client, String> {
        let mut tls = self.tls.lock();
        let tls = match &*tls {
            Some(tls) => tls.clone(),
            None => tls.insert(Tls::for_web(self.ca.as_deref())?).clone(),
        };
        let policy = Policy::new(origins, self.settings.networks());
        let connector = Connector::new(policy, &self.settings, tls, self.names.of_module(), self.stats.clone());
        Ok(Client::new(connector, self.settings.clone(), self.stats.clone()))
    }
}

/// How long a request and its parts may take. Each counts only if it is shorter than the
/// operator's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timeouts {
    /// Until the connection is open.
    pub connect: Option<Duration>,
    /// From then to the head of the response.
    pub first_byte: Option<Duration>,
    /// Between two parts of the body.
    pub between_bytes: Option<Duration>,
    /// When the whole exchange ends.
    pub deadline: Option<std::time::Instant>,
}

/// The client of one generation, with connections of its own.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

type BoxBody = UnsyncBoxBody<Bytes, RequestError>;

struct Inner {
    policy: Arc<Policy>,
    pool: legacy::Client<Connector, RequestBody<BoxBody>>,
    places: Arc<Semaphore>,
    settings: OutgoingConfig,
    stats: Arc<Stats>,
}

impl Client {
    fn new(connector: Connector, settings: OutgoingConfig, stats: Arc<Stats>) -> Client {
        let policy = connector.policy.clone();
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(settings.idle_timeout)
            .http1_max_buf_size(BUFFER)
            .http2_max_header_list_size(BUFFER as u32)
            .http2_initial_stream_window_size(BUFFER as u32)
            .http2_initial_connection_window_size(4 * BUFFER as u32)
            .http2_max_send_buf_size(BUFFER)
            .build(connector);
        let places = Arc::new(Semaphore::new(settings.requests as usize));
        Client(Arc::new(Inner { policy, pool, places, settings, stats }))
    }

    /// Sends a request. The host follows no redirects.
    pub async fn send(
        &self,
        request: Request<BoxBody>,
        timeouts: Timeouts,
    ) -> Result<Response<ResponseBody>, RequestError> {
        let sent = self.exchange(request, timeouts).await;
        self.0.stats.count(&sent);
        sent
    }

    async fn exchange(
        &self,
        request: Request<BoxBody>,
        timeouts: Timeouts,
    ) -> Result<Response<ResponseBody>, RequestError> {
        let Inner { policy, pool, places, settings, stats } = &*self.0;
        let origin = Origin::of(request.uri()).ok_or(RequestError::Uri)?;
        if !policy.admits(&origin) {
            return Err(RequestError::Denied(origin));
        }
        let place = places.clone().try_acquire_owned().map_err(|_| RequestError::TooManyRequests)?;
        let most = Instant::now() + settings.timeout;
        let deadline = timeouts.deadline.map_or(most, |deadline| most.min(deadline.into()));
        let request = request.map(|body| RequestBody::new(body, settings.max_request));
        let connect = timeouts.connect.map_or(settings.connect_timeout, |time| time.min(settings.connect_timeout));
        let first_byte = timeouts.first_byte.map(|time| Instant::now() + connect + time);
        let head = first_byte.map_or(deadline, |first| first.min(deadline));
        let response = match tokio::time::timeout_at(head, pool.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(RequestError::of(&error)),
            Err(_) => return Err(RequestError::HeadTimeout),
        };
        Ok(response.map(|body| {
            let open = OpenResponse::new(body, place, stats.clone());
            ResponseBody::new(open, settings.max_response, deadline, timeouts.between_bytes)
        }))
    }
}
