//! Whole connections of WebSocket clients, plain and of SocketCluster, with modules that the target
//! plays.

use std::future::Ready;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::call::{
    CallError, CallResult, ChannelAction, ChannelCall, ChannelRule, ChannelSettings, ClientHook, ClientMessage,
    Failure, Outcome, Payload, Reply,
};
use crate::config::{HttpConfig, HubConfig, SocketListener, SseConfig, WebSocketConfig};
use crate::events::EventLog;
use crate::hub::{FanoutTask, Hub, SessionSettings, SocketName, TopicSettings};
use crate::net::{ConnectionGuard, Descriptors, Sockets, Stream};
use crate::triggers::channels::{ChannelBackend, ChannelService, Keeping, StartedCall};
use crate::triggers::http::{self as http_trigger, HostRoute, HostRoutes, Settings, Stopping, WithoutModules};
use crate::triggers::websocket::{ChannelFrames, ClientBackend, SocketTarget, WebSockets};

/// A connection must end within this time after its client has left.
const END: Duration = Duration::from_secs(5);

/// The largest message.
const MAX_MESSAGE: u64 = 4_096;

/// A client of SocketCluster, version 2, unless it is plain.
const SOCKET_CLUSTER: u8 = 1;
const VERSION_ONE: u8 = 2;
/// The input has frames, instead of one message in each line.
const FRAMES: u8 = 4;
/// The client begins with a handshake.
const GREETS: u8 = 8;

/// Serves a client. The first byte says what client it is, the second one how many bytes it sends
/// at once. The rest is what it sends, before it closes. Whatever that is, the connection ends, the
/// client gets only valid frames and the answers to its questions, and nothing of it remains.
pub fn clients(bytes: &[u8]) {
    let Some(([kind, part], rest)) = bytes.split_first_chunk() else { return };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(serve(*kind, usize::from(*part).max(1), &sent(*kind, rest)));
}

/// The bytes of a client after its request.
fn sent(kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut sent = Vec::new();
    if kind & (SOCKET_CLUSTER | GREETS) == SOCKET_CLUSTER | GREETS {
        masked(1, br##"{"event":"#handshake","data":{},"cid":1}"##, &mut sent);
    }
    match kind & FRAMES {
        0 => rest.split(|byte| *byte == b'\n').for_each(|line| masked(1, line, &mut sent)),
        _ => sent.extend_from_slice(rest),
    }
    masked(8, &1000u16.to_be_bytes(), &mut sent);
    sent
}

fn masked(opcode: u8, payload: &[u8], sent: &mut Vec<u8>) {
    sent.push(0x80 | opcode);
    match (payload.len(), u16::try_from(payload.len())) {
        (short @ 0..126, _) => sent.push(0x80 | short as u8),
        (_, Ok(middle)) => {
            sent.push(0x80 | 126);
            sent.extend_from_slice(&middle.to_be_bytes());
        }
        (long, Err(_)) => {
            sent.push(0x80 | 127);
            sent.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    sent.extend_from_slice(&[0; 4]);
    sent.extend_from_slice(payload);
}

async fn serve(kind: u8, part: usize, sent: &[u8]) {
    let host = Server::new();
    let (stream, client) = UnixStream::pair().unwrap();
    let connection = host.serve(Stream::Unix(stream)).await;
    let (mut reader, mut writer) = client.into_split();
    let write = async {
        // The host may close before it has read everything.
        _ = writer.write_all(request(kind).as_bytes()).await;
        for bytes in sent.chunks(part) {
            if writer.write_all(bytes).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        _ = writer.shutdown().await;
    };
    let mut received = Vec::new();
    let read = reader.read_to_end(&mut received);
    let ended = tokio::time::timeout(END, async { tokio::join!(write, read) }).await;
    assert!(ended.is_ok(), "the connection does not end");
    drop((reader, writer));
    check(kind, &received);
    let dropped = tokio::time::timeout(END, connection).await;
    assert!(matches!(dropped, Ok(Ok(()))), "the connection is not dropped, or the host has panicked");
    host.check_end().await;
}

fn request(kind: u8) -> String {
    let path = match kind & (SOCKET_CLUSTER | VERSION_ONE) {
        SOCKET_CLUSTER => "/two/",
        0 | VERSION_ONE => "/plain",
        _ => "/one/",
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: \
         13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Checks what a client has received: the head of the response, then whole frames.
fn check(kind: u8, received: &[u8]) {
    let head = received.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    assert!(received.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(received));
    let mut rest = &received[head..];
    let mut is_closed = false;
    while let Some(([first, length], after)) = rest.split_first_chunk() {
        assert!(!is_closed, "a frame follows a Close frame");
        assert!(first & 0x70 == 0 && first & 0x80 != 0 && length & 0x80 == 0, "{first:x} {length:x}");
        let (length, after) = match *length {
            126 => after.split_first_chunk().map(|(length, after)| (u64::from(u16::from_be_bytes(*length)), after)),
            127 => after.split_first_chunk().map(|(length, after)| (u64::from_be_bytes(*length), after)),
            short => Some((u64::from(short), after)),
        }
        .unwrap();
        let (payload, after) = after.split_at(usize::try_from(length).unwrap());
        match first & 0x0f {
            1 => check_text(kind, std::str::from_utf8(payload).unwrap()),
            2 => assert!(kind & SOCKET_CLUSTER == 0),
            8 => {
                is_closed = true;
                assert!(payload.len() <= 125 && payload.get(2..).is_none_or(|why| std::str::from_utf8(why).is_ok()));
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                assert!(code.is_none_or(|code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)), "{code:?}");
            }
            10 => assert!(payload.len() <= 125),
            opcode => panic!("opcode {opcode}"),
        }
        rest = after;
    }
}

/// Every message to a client of SocketCluster is a ping or a packet.
fn check_text(kind: u8, text: &str) {
    if kind & SOCKET_CLUSTER == 0 || text.is_empty() || text == "#1" {
        return;
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let packet: Result<Value, _> = serde::Deserialize::deserialize(&mut reader);
    match packet {
        Ok(packet) => assert!(packet.get("rid").is_some() || packet.get("event").is_some(), "{text}"),
        // What a client has sent may be nested deeper than the parser allows.
        Err(error) => assert!(error.to_string().contains("recursion limit"), "{error}: {text}"),
    }
}

/// A host for one client.
struct Server {
    hub: Arc<Hub>,
    /// They end only if they panic.
    fanouts: Vec<JoinHandle<()>>,
    sockets: Arc<Sockets>,
    settings: Arc<Settings>,
    modules: Modules,
}

impl Server {
    fn new() -> Server {
        let listener = |path: &str, protocol| SocketListener { path: path.into(), protocol, module: "m".into() };
        let config = WebSocketConfig {
            listeners: vec![listener("/one/", 1), listener("/two/", 2)],
            max_message: MAX_MESSAGE,
            in_flight: 3,
            socket_channel_limit: 2,
            ..WebSocketConfig::default()
        };
        let sessions = SessionSettings {
            topics: TopicSettings::of_sessions(&config, END, Duration::ZERO),
            node: "n".to_owned(),
            max_values: config.session_size,
            max_channels: config.socket_channel_limit,
            encoder: Arc::new(ChannelFrames),
        };
        let events = Arc::new(EventLog::new(false, false));
        let streams = TopicSettings::new(&SseConfig::default(), END);
        let hub = Hub::new(&HubConfig { topics: 100, ..HubConfig::default() }, streams, sessions, 1, events);
        let run = |fanout: FanoutTask| tokio::spawn(fanout.run(CancellationToken::new(), CancellationToken::new()));
        let fanouts = hub.fanouts(0).map(run).collect();
        let channels = ChannelService::new(
            hub.clone(),
            Arc::new(Routes),
            false,
            Arc::new(crate::ports::NoTopics),
            None,
            Keeping::none(),
            Handle::current(),
        );
        let descriptors = Descriptors { limit: 1_000, reserved: 0 };
        let sockets = Arc::new(Sockets::new(descriptors, 10, 1 << 20));
        let settings = Arc::new(Settings::new(&HttpConfig::default(), sockets.buffered.clone()));
        let modules = Modules(Arc::new(WebSockets::new(&config, channels, sockets.clone(), None)));
        Server { hub, fanouts, sockets, settings, modules }
    }

    /// Serves a connection. The task ends when all of it has been dropped, and panics if the host
    /// has.
    async fn serve(&self, stream: Stream) -> JoinHandle<()> {
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let tracker = TaskTracker::new();
        let guard = ConnectionGuard::new(&Arc::new(AtomicUsize::new(0)), permit, tracker.token());
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let (settings, modules) = (self.settings.clone(), WithoutModules(self.modules.clone()));
        let served = tokio::spawn(http_trigger::serve(stream, peer, guard, settings, modules, Stopping::default()));
        tokio::spawn(async move {
            tracker.close();
            tracker.wait().await;
            served.await.unwrap();
        })
    }

    /// Nothing of the client is left.
    async fn check_end(&self) {
        assert!(!self.fanouts.iter().any(JoinHandle::is_finished), "the host has panicked");
        let left = || {
            let sessions = (self.hub.sessions.count(), self.hub.sessions.topics.count(None));
            let channels = self.hub.channels.totals();
            let queued = self.hub.sessions.topics.memory().queued();
            let found = self.hub.sessions.of_socket(|_, _| true).len();
            (sessions, found, channels.subscriptions, self.sockets.buffered.in_use(), queued)
        };
        for _ in 0..1_000 {
            if left() == (((0, 0), 0), 0, 0, 0, 0) {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("(sessions, topics), found sessions, subscriptions, buffered bytes, queued bytes: {:?}", left());
    }
}

/// The routes of the module: what a message asks for happens.
#[derive(Clone)]
struct Modules(Arc<WebSockets>);

impl HostRoutes for Modules {
    fn route(&self, path: &str) -> Option<HostRoute> {
        let name = SocketName { module: "m".into(), pattern: path.into() };
        let target = SocketTarget { name, params: [].into(), protocols: Vec::new(), max_message: None };
        self.0.listener(path, self).or_else(|| Some(self.0.route(target, self)))
    }
}

fn failure(close: bool) -> CallError {
    let extra = close.then(|| ("close-code".to_owned(), "4000".to_owned()));
    CallError::Failure(Failure { name: "No".into(), extra: extra.into_iter().collect(), ..Failure::default() })
}

impl ClientBackend for Modules {
    fn worker(&self) -> u32 {
        0
    }

    fn has_socket(&self, _: &SocketName) -> bool {
        true
    }

    fn message(&self, message: ClientMessage) -> Result<impl Future<Output = CallResult> + Send + 'static, CallError> {
        assert!(message.payload.len() as u64 <= MAX_MESSAGE);
        let first = message.payload.as_bytes().first().copied().unwrap_or_default();
        if first == b'o' {
            return Err(CallError::Overloaded("full".to_owned()));
        }
        let turns = message.payload.len() % 4;
        Ok(async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            match first {
                b'f' => Err(failure(false)),
                b'c' => Err(failure(true)),
                _ => {
                    let payload = message.payload;
                    Ok(Outcome::Reply(Reply { status: 0, headers: Vec::new(), payload, extra: Vec::new() }))
                }
            }
        })
    }

    fn hook(&self, _: ClientHook) -> Option<impl Future<Output = CallResult> + Send + 'static> {
        None::<Ready<CallResult>>
    }
}

/// The channels of the module, by the first letter of their names.
struct Routes;

impl ChannelBackend for Routes {
    fn rule(&self, channel: &str) -> ChannelRule {
        let kept = ChannelSettings { count: 3, age: END, bytes: 1_000, presence: true, ..ChannelSettings::default() };
        match channel.bytes().next() {
            Some(b'r') => ChannelRule::Routed {
                module: "m".into(),
                settings: kept,
                on: ChannelAction::ALL.into_iter().filter(|action| *action != ChannelAction::Deliver).collect(),
            },
            Some(b'd') => {
                ChannelRule::Routed { module: "m".into(), settings: kept, on: ChannelAction::ALL.into_iter().collect() }
            }
            Some(b'k') => ChannelRule::Open(kept),
            Some(b'u') => ChannelRule::Unavailable(CallError::Unavailable("away".to_owned())),
            _ => ChannelRule::Undeclared,
        }
    }

    fn call(&self, call: ChannelCall) -> Result<StartedCall, CallError> {
        let (turns, refuses) = (call.payload.len() % 3, call.trigger.channel.ends_with('x'));
        let outcome = async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            match refuses {
                true => Err(failure(turns == 1)),
                false => Ok(Outcome::Reply(Reply {
                    status: 0,
                    headers: Vec::new(),
                    payload: Payload::None,
                    extra: Vec::new(),
                })),
            }
        };
        Ok(StartedCall { runtime: Handle::current(), outcome: Box::pin(outcome) })
    }
}
