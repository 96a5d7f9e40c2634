//! The subscriptions that a module declares: where messages come from, and where they go.

mod source;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

pub use source::{NatsSource, RedisSource, RedisTopic, Source, SourceKind};

use super::one_or_many::{environments, one_or_many};
use crate::call::topic;
use crate::config::capabilities::ALL;
use crate::config::formats::{
    ConnectionName, EventTypes, KeyTemplate, NatsName, NatsSubject, RedisName, RouteRef, StreamEventName, is_nats_name,
};
use crate::document::units::Size;

/// The text in the key of a feed that stands for the topic of the message.
const TOPIC: &str = "{topic}";

/// The consumer of a subscription to a stream of Redis or JetStream that names none.
const GROUP: &str = "fanfare";

/// A subscription: messages that the host brings to a route or to live streams.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Subscription")]
#[expect(dead_code, reason = "the schema needs every field; the checks read some from the tree")]
pub struct RawSubscription {
    /// The events to receive: a type, `prefix/*` for all types that begin with `prefix/`, or `*`
    /// for all. Default none: the subscription names another source.
    #[serde(default)]
    #[schemars(with = "EventTypes")]
    pub event: Option<String>,
    /// The channel of Redis to receive. Default none: the subscription names another source.
    #[serde(default)]
    #[schemars(with = "RedisName")]
    pub redis: Option<String>,
    /// The channels of Redis to receive, as a pattern of Redis such as `price:*`. Default none: the
    /// subscription names another source.
    #[serde(default)]
    #[schemars(with = "RedisName")]
    pub redis_pattern: Option<String>,
    /// The stream of Redis to receive. Redis delivers an entry again until the handler has
    /// succeeded. Default none: the subscription names another source.
    #[serde(default)]
    #[schemars(with = "RedisName")]
    pub redis_stream: Option<String>,
    /// The subject of NATS to receive. `*` stands for one token, and `>` at the end for one or
    /// more: `orders.>`. The first token has no wildcard. Default none: the subscription names
    /// another source.
    #[serde(default)]
    #[schemars(with = "NatsSubject")]
    pub nats: Option<String>,
    /// The stream of JetStream that keeps the messages of `nats`. It delivers a message again until
    /// the handler has succeeded. Default none: a message is delivered once, and only while the
    /// host is connected.
    #[serde(default)]
    #[schemars(with = "NatsName")]
    pub jet_stream: Option<String>,
    /// The consumer group for `redisStream`, or the durable consumer for `jetStream`: default
    /// `fanfare`. For `nats` without `jetStream` the queue group, of which one host receives each
    /// message: default none, every host receives each message.
    #[serde(default)]
    #[schemars(with = "RedisName")]
    pub group: Option<String>,
    /// The connection to Redis, by its name in `redis` of `fanfare.json`. Default `default`.
    #[serde(default)]
    #[schemars(with = "ConnectionName")]
    pub connection: Option<String>,
    /// The route that receives the messages, as `[METHOD ]path`. Without a method it is the `post`
    /// route with that path, or else the only route with that path. Default none: `sse` receives
    /// them.
    #[serde(default)]
    #[schemars(with = "RouteRef")]
    pub path: Option<String>,
    /// The live streams that receive the messages, without a handler. Default none: `path` receives
    /// them.
    #[serde(default)]
    #[schemars(with = "RawFeed")]
    pub sse: Option<RawFeed>,
    /// Which workers receive a message: `one`, in turns, or `all`. Default `one`.
    #[serde(default)]
    #[schemars(with = "Deliver")]
    pub deliver: Option<Deliver>,
    /// How much may wait for the handler. With `"deliver": "all"`, as much may wait for each
    /// worker.
    #[serde(default)]
    #[schemars(with = "RawQueue")]
    pub queue: Option<RawQueue>,
    /// What happens when the queue is full: `drop-oldest` drops the oldest message, `wait` receives
    /// no more until there is room. Default `drop-oldest`, and `wait` for `redisStream` and
    /// `jetStream`.
    #[serde(default)]
    #[schemars(with = "Overflow")]
    pub overflow: Option<Overflow>,
    /// How many messages of the subscription a worker handles at once, 1 to 1024. With 1, each
    /// worker handles the messages in their order. Default 1.
    #[serde(default)]
    #[schemars(with = "u32", extend("minimum" = 1, "maximum" = 1_024))]
    pub concurrency: Option<u32>,
    /// The environments (`--env`) in which the host has the subscription: a name, or a list of
    /// names. Default all.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(schema_with = "environments")]
    pub env: Vec<String>,
}

/// The live streams that a subscription feeds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Feed", extend("required" = ["key"]))]
pub struct RawFeed {
    /// The key of the streams. `{topic}` stands for the topic of the message. `null` means the
    /// streams of all keys, and those without a key. Required.
    #[schemars(with = "Option<KeyTemplate>")]
    pub key: Option<String>,
    /// The type of the server-sent events. Default none: readers receive `message`.
    #[serde(default)]
    #[schemars(with = "StreamEventName")]
    pub event: Option<String>,
}

/// How much may wait in the queue of a subscription.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(inline)]
pub struct RawQueue {
    /// The most messages, 1 to 65536. Default 1024.
    #[schemars(with = "u32", extend("minimum" = 1, "maximum" = 65_536))]
    pub messages: Option<usize>,
    /// The most bytes, 1 to 64 MiB. A message counts with its payload, its topic, and 256 bytes
    /// more. An empty queue accepts a message of any size. Default `1MiB`.
    #[schemars(with = "Size", extend("minimum" = 1, "maximum" = 67_108_864))]
    pub bytes: Option<Size>,
}

/// Which workers receive a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Deliver {
    /// One worker; the workers take turns.
    #[default]
    One,
    /// Every worker.
    All,
}

impl Deliver {
    pub fn as_str(self) -> &'static str {
        match self {
            Deliver::One => "one",
            Deliver::All => "all",
        }
    }
}

/// What happens when the queue of a subscription is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Overflow {
    /// The oldest message is dropped.
    #[default]
    DropOldest,
    /// The source waits until there is room.
    Wait,
}

impl Overflow {
    pub fn as_str(self) -> &'static str {
        match self {
            Overflow::DropOldest => "drop-oldest",
            Overflow::Wait => "wait",
        }
    }
}

/// A subscription of a checked manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredSubscription {
    pub source: Source,
    pub action: Action,
    pub settings: SubscriptionSettings,
    /// The environments in which the host has it. Empty for all.
    pub env: Vec<String>,
}

/// Where the messages of a subscription go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// To the route at this index of `routes`.
    Call(usize),
    /// To live streams.
    Feed(Feed),
}

/// The live streams that a subscription feeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// The key, in which `{topic}` stands for the topic. `None` for the streams of all keys.
    pub key: Option<Arc<str>>,
    /// The type of the server-sent events.
    pub event: Option<Arc<str>>,
}

/// How messages reach the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionSettings {
    pub deliver: Deliver,
    pub overflow: Overflow,
    /// The most messages in a queue.
    pub messages: usize,
    /// The most bytes in a queue.
    pub bytes: u64,
    /// How many messages a worker handles at once.
    pub concurrency: u32,
}

impl Default for SubscriptionSettings {
    fn default() -> SubscriptionSettings {
        SubscriptionSettings {
            deliver: Deliver::One,
            overflow: Overflow::DropOldest,
            messages: 1_024,
            bytes: 1 << 20,
            concurrency: 1,
        }
    }
}

/// Why a subscription is wrong: the key that is wrong, if it is one, and the rule.
type Wrong = (Option<&'static str>, &'static str);

impl DeclaredSubscription {
    /// Checks a subscription. `route` is the route that its `path` refers to.
    pub(super) fn new(route: Option<usize>, raw: RawSubscription) -> Result<DeclaredSubscription, Wrong> {
        let source = source(&raw)?;
        if raw.jet_stream.is_some() && source.kind() != SourceKind::Nats {
            return Err((Some("jetStream"), "needs `nats`, the subjects of the stream to receive"));
        }
        let (kind, is_kept) = (source.kind(), source.is_kept());
        if raw.group.is_some() && !is_kept && kind != SourceKind::Nats {
            return Err((Some("group"), "has no effect without `redisStream` or `nats`: remove it"));
        }
        if raw.connection.is_some() && kind == SourceKind::Event {
            return Err((Some("connection"), "has no effect on events: remove it"));
        }
        if raw.connection.is_some() && kind == SourceKind::Nats {
            return Err((Some("connection"), "has no effect on `nats`, which has one connection: remove it"));
        }
        let action = match (route, &raw.sse) {
            (Some(route), None) => Action::Call(route),
            (None, Some(RawFeed { key, event })) => {
                Action::Feed(Feed { key: key.as_deref().map(Arc::from), event: event.as_deref().map(Arc::from) })
            }
            _ => return Err((None, "must have either `path`, a route, or `sse`, live streams")),
        };
        if matches!(action, Action::Feed(_)) {
            let keys = [
                ("deliver", raw.deliver.is_some()),
                ("queue", raw.queue.is_some()),
                ("overflow", raw.overflow.is_some()),
                ("concurrency", raw.concurrency.is_some()),
            ];
            if let Some((key, _)) = keys.into_iter().find(|(_, written)| *written) {
                return Err((Some(key), "has no effect with `sse`, which has no queue and no handler: remove it"));
            }
        }
        let default = SubscriptionSettings::default();
        let overflow = match raw.overflow {
            Some(Overflow::DropOldest) if is_kept => {
                let rule = "must be `wait` for a stream, because the server keeps what the handler has not received";
                return Err((Some("overflow"), rule));
            }
            None if is_kept => Overflow::Wait,
            Some(Overflow::Wait) if !is_kept && kind == SourceKind::Redis => {
                let rule = "must be `drop-oldest` for a channel, because Redis closes connections that do not read";
                return Err((Some("overflow"), rule));
            }
            Some(Overflow::Wait) if !is_kept && kind == SourceKind::Nats => {
                let rule =
                    "must be `drop-oldest` without `jetStream`, because NATS closes connections that do not read";
                return Err((Some("overflow"), rule));
            }
            overflow => overflow.unwrap_or_default(),
        };
        let queue = raw.queue.unwrap_or_default();
        let settings = SubscriptionSettings {
            deliver: raw.deliver.unwrap_or_default(),
            overflow,
            messages: queue.messages.unwrap_or(default.messages),
            bytes: queue.bytes.map_or(default.bytes, Size::number),
            concurrency: raw.concurrency.unwrap_or(default.concurrency),
        };
        Ok(DeclaredSubscription { source, action, settings, env: raw.env })
    }

    /// Whether the host has it in an environment.
    pub fn is_in(&self, environment: &str) -> bool {
        self.env.is_empty() || self.env.iter().any(|name| name == environment)
    }

    /// The index in `routes` of the route that receives the messages.
    pub fn route(&self) -> Option<usize> {
        match &self.action {
            Action::Call(route) => Some(*route),
            Action::Feed(_) => None,
        }
    }

    /// The stream keys that it feeds, as an entry of the capability `sse`.
    pub fn fed_keys(&self) -> Option<String> {
        let Action::Feed(Feed { key, .. }) = &self.action else { return None };
        let Some(key) = key else { return Some(ALL.to_owned()) };
        Some(match key.split_once(TOPIC) {
            None => key.to_string(),
            // A pattern ends with a slash and a star, and a topic may have any text.
            Some((before, _)) => match before.rfind('/').and_then(|slash| before.get(..=slash)) {
                Some(prefix) => format!("{prefix}{ALL}"),
                None => ALL.to_owned(),
            },
        })
    }

    /// What it receives of an outside server, as an entry of the capability `subscribe`.
    pub fn outside_topic(&self) -> Option<String> {
        match &self.source {
            Source::Event(_) | Source::Channel(_) => None,
            Source::Redis(redis) => Some(redis.capability()),
            Source::Nats(nats) => Some(nats.capability()),
        }
    }

    /// The connection of Redis that it needs.
    pub fn connection(&self) -> Option<&str> {
        match &self.source {
            Source::Event(_) | Source::Channel(_) | Source::Nats(_) => None,
            Source::Redis(redis) => Some(&redis.connection),
        }
    }
}

fn source(raw: &RawSubscription) -> Result<Source, Wrong> {
    let text = |text: &str| Arc::<str>::from(text);
    let group = raw.group.as_deref();
    let topic = match (&raw.event, &raw.redis, &raw.redis_pattern, &raw.redis_stream, &raw.nats) {
        (Some(event), None, None, None, None) => return Ok(Source::Event(text(event))),
        (None, Some(channel), None, None, None) => RedisTopic::Channel(text(channel)),
        (None, None, Some(pattern), None, None) => RedisTopic::Pattern(text(pattern)),
        (None, None, None, Some(key), None) => {
            RedisTopic::Stream { key: text(key), group: text(group.unwrap_or(GROUP)) }
        }
        (None, None, None, None, Some(subject)) => return nats(subject, raw.jet_stream.as_deref(), group),
        _ => return Err((None, "must have exactly one of `event`, `redis`, `redisPattern`, `redisStream` and `nats`")),
    };
    Ok(Source::Redis(RedisSource { connection: text(raw.connection.as_deref().unwrap_or(topic::DEFAULT)), topic }))
}

fn nats(subject: &str, stream: Option<&str>, group: Option<&str>) -> Result<Source, Wrong> {
    if group.is_some_and(|group| !is_nats_name(group)) {
        return Err((Some("group"), "must be 1 to 128 bytes without spaces and without any of `.*>/\\\\` for NATS"));
    }
    let group = group.or(stream.map(|_| GROUP));
    Ok(Source::Nats(NatsSource { subject: subject.into(), stream: stream.map(Arc::from), group: group.map(Arc::from) }))
}

impl Feed {
    /// The key for a topic. `None` for the streams of all keys.
    pub fn key_for(&self, topic: &str) -> Option<String> {
        self.key.as_ref().map(|key| key.replace(TOPIC, topic))
    }
}
