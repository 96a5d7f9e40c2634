//! The event service: as a part of a host, and in a process of its own, without modules.
//!
//! `fanfare events serve` is the same listener on workers without modules: it starts no engine, no
//! admin listener and no swap.

use std::net::SocketAddr;
use std::sync::Arc;

use super::StartError;
use super::running::Tasks;
use crate::config::secret::Secret;
use crate::config::{Config, CorsConfig, HttpConfig};
use crate::hub::ServiceLog;
use crate::net::{BufferBudget, Descriptors, Listener, ListenerId, Sockets, WorkerQueue, accept, bind};
use crate::ports::{NoTopics, Topics};
use crate::triggers::events::{EventListener, EventService, Token};
use crate::triggers::http::Settings;
use crate::worker::Worker;

/// An event service without modules.
pub struct EventServer {
    addr: SocketAddr,
    listener: Listener,
    serving: EventListener,
    sockets: Arc<Sockets>,
    config: Config,
}

impl EventServer {
    /// Binds the listener, at `events.listen` or at the default address.
    pub fn bind(mut config: Config) -> Result<EventServer, StartError> {
        let listen = *config.events.listen.get_or_insert(DEFAULT);
        let token = event_token(&config)?.map(|(_, token)| token);
        let listener = bind(ListenerId::Events, listen)?;
        let addr = listener.address().map_err(StartError::Worker)?;
        let max_buffered = config.http.max_buffered.max(config.events.max_body);
        let sockets = Arc::new(Sockets::new(Descriptors::read(), config.http.max_connections, max_buffered));
        let log = Arc::new(ServiceLog::of(&config.events.history));
        let serving = serving(&config, token, log, sockets.buffered.clone(), Arc::new(NoTopics));
        Ok(EventServer { addr, listener, serving, sockets, config })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop` resolves, and then waits for the last responses.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), StartError> {
        let workers = (0..u32::try_from(self.config.workers).unwrap_or(u32::MAX)).map(Worker::start);
        let mut workers = workers.collect::<Result<Vec<_>, _>>().map_err(StartError::Worker)?;
        let tasks = Tasks::default();
        for worker in &mut workers {
            worker.serve(None, Some(self.serving.clone()), &tasks.stopping);
        }
        self.sockets.limit_to_descriptors();
        let queues: Vec<WorkerQueue> = workers.iter().map(|worker| worker.queue.clone()).collect();
        let end = tasks.end_of_accepting.clone();
        let accept = accept(vec![self.listener], queues, self.sockets, tasks.connections.clone(), end);
        let drain = async {
            stop.await;
            tasks.stopping.announced.cancel();
            tasks.connections.close();
            _ = tokio::time::timeout(self.config.shutdown.linger, tasks.connections.wait()).await;
            tasks.end_of_accepting.cancel();
        };
        let (accepted, ()) = tokio::join!(accept, drain);
        tasks.stopping.closing.cancel();
        _ = tokio::time::timeout(self.config.shutdown.drain, tasks.connections.wait()).await;
        accepted.map_err(StartError::Worker)
    }
}

/// Where `fanfare events serve` listens without `events.listen`.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 14_440);

/// Makes the service, and how its connections are served.
pub(super) fn serving(
    config: &Config,
    token: Option<Token>,
    log: Arc<ServiceLog>,
    buffered: Arc<BufferBudget>,
    topics: Arc<dyn Topics>,
) -> EventListener {
    let http = HttpConfig { domain: None, cors: CorsConfig::default(), ..config.http.clone() };
    let service = Arc::new(EventService::new(&config.events, token, log, topics));
    EventListener { service, settings: Arc::new(Settings::new(&http, buffered)) }
}

/// Reads the token of the service, and checks it. Without one, the listener must have a loopback
/// address.
pub(super) fn event_token(config: &Config) -> Result<Option<(String, Token)>, StartError> {
    let events = &config.events;
    if events.listen.is_none() && events.connect.is_none() {
        return Ok(None);
    }
    let variables = config.sources.as_ref().map(|sources| sources.variables.clone()).unwrap_or_default();
    let secret = Secret::new(events.token_file.as_deref(), events.token_variable.as_deref(), &config.root, &variables);
    let key = if events.token_file.is_some() { "events.tokenFile" } else { "events.tokenVariable" };
    let checked = |text: String| Token::new(&text).map(|token| (text, token));
    let read = secret.read().and_then(|token| token.map(checked).transpose());
    let token = read.map_err(|why| StartError::EventToken { key, why })?;
    match events.listen {
        Some(address) if token.is_none() && !address.ip().is_loopback() => Err(StartError::EventAddress { address }),
        _ => Ok(token),
    }
}
