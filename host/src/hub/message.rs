//! The plain types of the hub: messages, positions, limits.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::call::{ChannelMessage, position};

/// A message that someone publishes. The hub does not look into it.
pub trait Message: Send + Sync {
    /// Encodes the message. The hub keeps the result, so that each message is encoded at most once.
    /// `id` is the position to send with the message, if it has none of its own and its topic has a
    /// history.
    fn encode(&self, encoding: Encoding, id: Option<&Position>) -> Bytes;

    /// Returns the id that the publisher chose.
    fn own_id(&self) -> Option<&str>;

    /// Returns the message of a channel, if it is one.
    fn of_channel(&self) -> Option<&ChannelMessage> {
        None
    }

    /// Returns about how many bytes of memory the message and one encoding of it use. The hub adds
    /// 256 for itself.
    fn size(&self) -> usize;
}

/// How a client wants to receive messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// A server-sent event as a chunk of HTTP/1.1, made with [`chunk`](super::chunk). The text
    /// inside it is what other clients get.
    Sse,
    /// A frame of a plain WebSocket.
    Plain,
    /// A frame of a WebSocket that speaks SocketCluster's protocol.
    SocketCluster,
}

impl Encoding {
    pub const COUNT: usize = 3;
}

/// A place in the order of all messages of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Differs for each start of the host.
    pub epoch: u64,
    /// The number of the last message before this place.
    pub number: u64,
}

impl Position {
    /// Reads the text that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Position> {
        position::parse(text).map(|(epoch, number)| Position { epoch, number })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.number)
    }
}

/// What the hub itself tells a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The first notice. The messages that follow begin after this position. `None` if the topic
    /// has no history, or if [`Notice::Reset`] follows.
    Open(Option<Position>),
    /// The hub cannot tell what the client has missed. All that it has kept follows, after this
    /// position. `None` if the topic has no history.
    Reset(Option<Position>),
    /// Asks whether the client is there, or shows that the host is ([`TopicSettings::pinged`]).
    Ping,
    /// The host stops. The connection ends after this notice.
    Stop,
}

/// Who gets a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All connections of this node.
    Node,
    /// The connections of one worker. The history does not keep such a message, and the message has
    /// no position.
    Worker(u32),
}

/// The place after which a client that returns continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resume {
    /// The last id that the client has received: the id of a publisher, or a position.
    Id(String),
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// On this node.
    pub max: u32,
    /// In one topic.
    pub max_per_topic: u32,
}

/// Why the hub rejects a connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    #[error("the host already serves {max} streams, its maximum: retry later")]
    Full { max: u32 },
    #[error("there are already {max} streams of this key, the maximum: retry later")]
    TopicFull { max: u32 },
    #[error("the host already has {max} topics (hub.topics): retry later")]
    TooManyTopics { max: u32 },
    #[error("the host is stopping")]
    Stopping,
}

/// The settings of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    pub kind: ClientKind,
    pub history: HistoryLimits,
    pub queue: QueueLimits,
    /// How often a connection gets [`Notice::Ping`]. Zero for never.
    pub ping: Duration,
    /// Which connections are pinged.
    pub pinged: Pinged,
    /// A client that sends nothing for this long is lost. Zero for never.
    pub silence: Duration,
    /// A client is lost when the rest of a message takes longer than this. Zero for any time.
    pub message: Duration,
    /// A connection is cut when its client reads nothing for this long although bytes wait.
    pub idle_timeout: Duration,
    /// When the host stops, connections end in batches over this time.
    pub drain: Duration,
}

/// How clients are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    Sse,
    WebSocket,
}

impl ClientKind {
    /// The name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            ClientKind::Sse => "sse",
            ClientKind::WebSocket => "websocket",
        }
    }
}

/// Which connections get a ping when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinged {
    /// Those that got nothing else since the last one was due.
    Quiet,
    /// All of them.
    All,
}

/// What a topic keeps for clients that return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Zero for no history.
    pub count: usize,
    pub age: Duration,
    pub bytes: u64,
}

impl HistoryLimits {
    pub const OFF: HistoryLimits = HistoryLimits { count: 0, age: Duration::ZERO, bytes: 0 };

    pub fn is_on(&self) -> bool {
        self.count > 0
    }
}

/// What may wait for one connection. An empty queue accepts a message of any size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    pub events: usize,
    pub bytes: u64,
}

impl QueueLimits {
    pub fn half(&self) -> QueueLimits {
        QueueLimits { events: self.events / 2, bytes: self.bytes / 2 }
    }
}

/// Why a connection was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowReason {
    /// The queue of the connection was full.
    Queue,
    /// The inbox of the connection's worker was full, so that it would have missed messages.
    Inbox,
    /// The messages that wait for clients used more than `hub.queued`.
    Queued,
    /// The client read nothing for [`TopicSettings::idle_timeout`].
    Timeout,
}

impl SlowReason {
    pub const ALL: [SlowReason; 4] = [SlowReason::Queue, SlowReason::Inbox, SlowReason::Queued, SlowReason::Timeout];

    /// The name in metrics and events.
    pub fn as_str(self) -> &'static str {
        match self {
            SlowReason::Queue => "queue",
            SlowReason::Inbox => "inbox",
            SlowReason::Queued => "hubQueued",
            SlowReason::Timeout => "timeout",
        }
    }
}
