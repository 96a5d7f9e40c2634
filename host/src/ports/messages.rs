//! The port to brokers outside.

use super::Caller;
use crate::call::{CallError, Payload, bounds, topic};

/// The functions of brokers outside for the import `messages`. None of them waits.
pub trait Messages: Send + Sync {
    /// Queues a message for a topic. `connection` is `redis`, `redis.<name>` or `nats`. The import
    /// has checked the message.
    fn publish(&self, from: Caller, connection: String, topic: String, payload: Payload) -> Result<(), CallError>;
}

/// Checks the capability, the topic and the size of a message that a guest publishes.
pub fn check_message(from: &Caller, connection: &str, topic: &str, payload: &Payload) -> Result<(), CallError> {
    let (size, max) = (topic.len(), topic::MAX);
    if size > max {
        bounds::MESSAGE_TOPIC.count();
    }
    if !(1..=max).contains(&size) || topic.contains(char::is_control) {
        let why = format!("a topic has 1 to {max} bytes and no control characters, found {size} bytes");
        return Err(CallError::Invalid(why));
    }
    if !from.capabilities.allows_publish(connection, topic) {
        return Err(from.forbidden("publish", Some(&format!("{connection}:{topic}"))));
    }
    from.check_size("the message", payload.len())
}

/// The port of a host without connections to brokers.
#[derive(Debug, Clone, Copy)]
pub struct NoMessages;

impl Messages for NoMessages {
    fn publish(&self, _: Caller, _: String, _: String, _: Payload) -> Result<(), CallError> {
        Err(CallError::Unavailable("this host connects to no broker".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::call::IsolateId;
    use crate::config::{Capabilities, Topics};

    #[test]
    fn a_message_needs_a_grant_a_topic_and_a_size_within_the_limit() {
        let publish = Topics(vec!["redis:*".to_owned()]);
        let from = Caller {
            module: "chat".into(),
            isolate: IsolateId::Worker(0),
            capabilities: Arc::new(Capabilities { publish, ..Capabilities::default() }.into()),
            default_timeout: Duration::ZERO,
            max_payload: 3,
            max_subscriptions: 0,
            context: None,
        };
        let check = |connection: &str, topic: &str, text: &str| {
            check_message(&from, connection, topic, &Payload::Text(text.into())).map_err(|error| error.to_string())
        };
        assert_eq!(check("redis", &"x".repeat(topic::MAX), "abc"), Ok(()));
        for (connection, topic, text, why) in [
            ("redis", "", "", "a topic has 1 to 512 bytes and no control characters, found 0 bytes"),
            (
                "redis",
                &*"x".repeat(topic::MAX + 1),
                "",
                "a topic has 1 to 512 bytes and no control characters, found 513 bytes",
            ),
            ("redis", "a\n", "", "a topic has 1 to 512 bytes and no control characters, found 2 bytes"),
            ("redis", "a", "abcd", "the message has 4 bytes, but limits.payload of chat allows 3"),
            (
                "redis.cache",
                "a",
                "",
                "chat has no `publish` capability for redis.cache:a: add \"redis.cache:a\" to capabilities.publish in its module.json, then run `fanfare grant chat`",
            ),
        ] {
            assert_eq!(check(connection, topic, text), Err(why.to_owned()));
        }
    }
}
