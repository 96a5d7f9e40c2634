//! What a subscription receives from Redis.

use crate::registry::{RedisSource, RedisTopic, Source};
use crate::triggers::subscriptions::Subscription;

fn source_of(one: &Subscription) -> Option<&RedisSource> {
    match &one.source {
        Source::Redis(source) => Some(source),
        _ => None,
    }
}

/// The name of the connection of a subscription to Redis.
pub fn connection_of(one: &Subscription) -> &str {
    source_of(one).map_or("", |source| &source.connection)
}

pub fn topic_of(one: &Subscription) -> Option<&RedisTopic> {
    source_of(one).map(|source| &source.topic)
}
