//! Where the messages of a subscription come from.

use std::sync::Arc;

use crate::call::topic;
use crate::config::capabilities::ALL;

/// Where the messages of a subscription come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The events whose types match this pattern.
    Event(Arc<str>),
    Redis(RedisSource),
    Nats(NatsSource),
    /// The messages of this channel. Only a guest subscribes to it, at run time.
    Channel(Arc<str>),
}

/// Messages of a Redis server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSource {
    /// The name of the connection in `redis` of `fanfare.json`.
    pub connection: Arc<str>,
    pub topic: RedisTopic,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisTopic {
    Channel(Arc<str>),
    /// A pattern of Redis.
    Pattern(Arc<str>),
    Stream {
        key: Arc<str>,
        /// The consumer group.
        group: Arc<str>,
    },
}

/// Messages of the NATS servers of `cluster.nats`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsSource {
    /// The subject, which may have wildcards.
    pub subject: Arc<str>,
    /// The stream of JetStream that keeps the messages. `None` for messages that nothing keeps.
    pub stream: Option<Arc<str>>,
    /// The durable consumer of the stream, or else the queue group.
    pub group: Option<Arc<str>>,
}

/// A kind of [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    Event,
    Redis,
    Nats,
    Channel,
}

impl Source {
    pub fn kind(&self) -> SourceKind {
        match self {
            Source::Event(_) => SourceKind::Event,
            Source::Redis(_) => SourceKind::Redis,
            Source::Nats(_) => SourceKind::Nats,
            Source::Channel(_) => SourceKind::Channel,
        }
    }

    /// The key of the source in the manifest, or its kind, and its value.
    pub fn described(&self) -> (&'static str, &Arc<str>) {
        match self {
            Source::Event(pattern) => ("event", pattern),
            Source::Channel(channel) => ("channel", channel),
            Source::Nats(NatsSource { subject, .. }) => ("nats", subject),
            Source::Redis(RedisSource { topic, .. }) => match topic {
                RedisTopic::Channel(channel) => ("redis", channel),
                RedisTopic::Pattern(pattern) => ("redisPattern", pattern),
                RedisTopic::Stream { key, .. } => ("redisStream", key),
            },
        }
    }
}

impl Source {
    /// The consumer group of Redis, the queue group of NATS, or the consumer of JetStream.
    pub fn group(&self) -> Option<&Arc<str>> {
        match self {
            Source::Redis(RedisSource { topic: RedisTopic::Stream { group, .. }, .. }) => Some(group),
            Source::Nats(NatsSource { group, .. }) => group.as_ref(),
            Source::Redis(_) | Source::Event(_) | Source::Channel(_) => None,
        }
    }

    /// Whether a server keeps each message until its handler has succeeded.
    pub(super) fn is_kept(&self) -> bool {
        match self {
            Source::Redis(redis) => matches!(redis.topic, RedisTopic::Stream { .. }),
            Source::Nats(nats) => nats.stream.is_some(),
            Source::Event(_) | Source::Channel(_) => false,
        }
    }
}

impl SourceKind {
    /// The source that a guest sees.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceKind::Event => "event",
            SourceKind::Redis => "redis",
            SourceKind::Nats => "nats",
            SourceKind::Channel => "channel",
        }
    }
}

impl RedisSource {
    /// The entry of the capability `subscribe` that allows it.
    pub(super) fn capability(&self) -> String {
        let name = match &self.topic {
            RedisTopic::Channel(name) | RedisTopic::Stream { key: name, .. } => name.to_string(),
            RedisTopic::Pattern(pattern) => until_wildcard(pattern, &['*', '?', '[', '\\']),
        };
        format!("{}:{name}", topic::connection(topic::REDIS, &self.connection))
    }
}

impl NatsSource {
    /// The entry of the capability `subscribe` that allows it.
    pub(super) fn capability(&self) -> String {
        let wildcards = ['*', '>'];
        let subject = match self.subject.contains(wildcards) {
            true => until_wildcard(&self.subject, &wildcards),
            false => self.subject.to_string(),
        };
        format!("{}:{subject}", topic::NATS)
    }
}

/// The text of a pattern before its first wildcard, as an entry that allows all that begins so.
fn until_wildcard(pattern: &str, wildcards: &[char]) -> String {
    let literal = pattern.find(wildcards).and_then(|end| pattern.get(..end)).unwrap_or(pattern);
    format!("{literal}{ALL}")
}
