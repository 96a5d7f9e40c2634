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

/// A kind of [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    Event,
    Redis,
    Channel,
}

impl Source {
    pub fn kind(&self) -> SourceKind {
        match self {
            Source::Event(_) => SourceKind::Event,
            Source::Redis(_) => SourceKind::Redis,
            Source::Channel(_) => SourceKind::Channel,
        }
    }

    /// The key of the source in the manifest, or its kind, and its value.
    pub fn described(&self) -> (&'static str, &Arc<str>) {
        match self {
            Source::Event(pattern) => ("event", pattern),
            Source::Channel(channel) => ("channel", channel),
            Source::Redis(RedisSource { topic, .. }) => match topic {
                RedisTopic::Channel(channel) => ("redis", channel),
                RedisTopic::Pattern(pattern) => ("redisPattern", pattern),
                RedisTopic::Stream { key, .. } => ("redisStream", key),
            },
        }
    }
}

impl SourceKind {
    /// The source that a guest sees.
    pub fn as_str(self) -> &'static str {
        match self {
            SourceKind::Event => "event",
            SourceKind::Redis => "redis",
            SourceKind::Channel => "channel",
        }
    }
}

impl RedisSource {
    /// The entry of the capability `subscribe` that allows it.
    pub(super) fn capability(&self) -> String {
        let name = match &self.topic {
            RedisTopic::Channel(name) | RedisTopic::Stream { key: name, .. } => name.to_string(),
            RedisTopic::Pattern(pattern) => {
                let literal = pattern.find(['*', '?', '[', '\\']);
                format!("{}{ALL}", literal.and_then(|end| pattern.get(..end)).unwrap_or(pattern))
            }
        };
        format!("{}:{name}", topic::connection(topic::REDIS, &self.connection))
    }
}
