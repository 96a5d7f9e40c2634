//! A server of WebSockets without modules, which returns every message: what WebSockets cost apart
//! from guests. Only the benchmarks use it.

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;
use crate::call::{CallError, CallResult, ChannelCall, ChannelRule, ClientHook, ClientMessage, Outcome, Reply};
use crate::config::Config;
use crate::events::EventLog;
use crate::hub::{Hub, SessionSettings, SocketName, TopicSettings};
use crate::net::{AcceptedConnection, Descriptors, ListenerId, Sockets, WorkerQueue, accept, bind};
use crate::triggers::channels::{ChannelBackend, ChannelService, Keeping, StartedCall};
use crate::triggers::http::{self as http_trigger, HostRoute, HostRoutes, Settings, Stopping, WithoutModules};
use crate::triggers::websocket::{ChannelFrames, ClientBackend, SocketTarget, WebSockets};
use crate::worker::RuntimeThread;

/// Connections that may wait between the acceptor and the worker.
const HANDOVERS: usize = 1_024;

/// A server with one thread. It serves until it is dropped.
pub struct EchoServer {
    addr: SocketAddr,
    _thread: RuntimeThread,
}

impl EchoServer {
    /// Serves WebSockets on `http.listen`, at every path.
    pub fn start(config: &Config) -> Result<EchoServer, StartError> {
        let thread = RuntimeThread::start("echo").map_err(StartError::Worker)?;
        let runtime = thread.handle.enter();
        let listener = bind(ListenerId::Http, config.http.listen)?;
        let addr = listener.address().map_err(StartError::Worker)?;
        let idle_timeout = config.http.idle_timeout;
        let sessions = SessionSettings {
            topics: TopicSettings::of_sessions(&config.websocket, idle_timeout, config.shutdown.linger),
            node: config.node.id.clone(),
            max_values: config.websocket.session_size,
            max_channels: config.websocket.socket_channel_limit,
            encoder: Arc::new(ChannelFrames),
        };
        let events = Arc::new(EventLog::new(false, false));
        let hub = Hub::new(&config.hub, TopicSettings::new(&config.sse, idle_timeout), sessions, 1, events);
        let sockets = Descriptors::read();
        let sockets = Arc::new(Sockets::new(sockets, config.http.max_connections, config.http.max_buffered));
        sockets.limit_to_descriptors();
        let settings = Arc::new(Settings::new(&config.http, sockets.buffered.clone()));
        let stopping = Stopping::default();
        for fanout in hub.fanouts(0) {
            thread.handle.spawn(fanout.run(stopping.announced.clone(), stopping.closing.clone()));
        }
        let channels = ChannelService::new(
            hub,
            Arc::new(NoRoutes),
            false,
            Arc::new(crate::ports::NoTopics),
            None,
            Keeping::none(),
            thread.handle.clone(),
        );
        let web_sockets = Arc::new(WebSockets::new(&config.websocket, channels, sockets.clone(), None));
        let echo = WithoutModules(Echo(web_sockets));
        let (send, mut accepted) = mpsc::channel(HANDOVERS);
        let queue = WorkerQueue { open: Arc::new(AtomicUsize::new(0)), send };
        let accept = accept(vec![listener], vec![queue], sockets, TaskTracker::new(), CancellationToken::new());
        thread.handle.spawn(accept);
        thread.handle.spawn(async move {
            while let Some(AcceptedConnection { socket, peer, guard, .. }) = accepted.recv().await {
                let Ok(stream) = socket.open() else { continue };
                let connection =
                    http_trigger::serve(stream, peer, guard, settings.clone(), echo.clone(), stopping.clone());
                tokio::spawn(connection);
            }
        });
        drop(runtime);
        Ok(EchoServer { addr, _thread: thread })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Replies to each message with its payload.
#[derive(Clone)]
struct Echo(Arc<WebSockets>);

/// There are no modules, so no route decides about a channel.
struct NoRoutes;

impl ChannelBackend for NoRoutes {
    fn rule(&self, _: &str) -> ChannelRule {
        ChannelRule::Undeclared
    }

    fn call(&self, _: ChannelCall) -> Result<StartedCall, CallError> {
        Err(CallError::Unavailable("this server has no modules".to_owned()))
    }
}

impl ClientBackend for Echo {
    fn worker(&self) -> u32 {
        0
    }

    fn has_socket(&self, _: &SocketName) -> bool {
        true
    }

    fn message(&self, message: ClientMessage) -> Result<impl Future<Output = CallResult> + Send + 'static, CallError> {
        let reply = Reply { status: 0, headers: Vec::new(), payload: message.payload, extra: Vec::new() };
        Ok(ready(Ok(Outcome::Reply(reply))))
    }

    fn hook(&self, _: ClientHook) -> Option<impl Future<Output = CallResult> + Send + 'static> {
        None::<Ready<CallResult>>
    }
}

impl HostRoutes for Echo {
    fn route(&self, path: &str) -> Option<HostRoute> {
        let name = SocketName { module: "echo".into(), pattern: path.into() };
        let target = SocketTarget { name, params: [].into(), protocols: Vec::new(), max_message: None };
        Some(self.0.route(target, self))
    }
}
