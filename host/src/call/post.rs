//! What a node tells the others about topics, as plain data.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ChannelPlace, Event, Payload, StreamEvent};

/// A message of a topic, for the other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    pub about: PostAbout,
    /// The data of an event, or the value.
    pub payload: Payload,
    /// The place of a message of a channel that has a home.
    pub place: Option<ChannelPlace>,
}

/// What a [`Post`] says besides its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PostAbout {
    /// An event for the readers of a key, or of all keys.
    Stream {
        key: Option<String>,
        event: Option<String>,
        id: Option<String>,
        retry: Option<Duration>,
        comment: Option<String>,
    },
    /// The streams of a key, or all of them, end.
    Close { key: Option<String> },
    /// A message of a channel. `session` is the client that has published it.
    Channel { channel: String, session: Option<String> },
    /// An event of the event service. The payload is its value.
    Event { module: Option<String>, kind: String, source: Option<String> },
}

/// A kind of topics that spans nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicKind {
    /// The keys of live streams.
    Stream,
    /// Channels.
    Channel,
    /// The event service, which has no topics: everything is about all of them.
    Event,
}

impl TopicKind {
    pub const ALL: [TopicKind; 3] = [TopicKind::Stream, TopicKind::Channel, TopicKind::Event];

    /// The name in subjects and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            TopicKind::Stream => "stream",
            TopicKind::Channel => "channel",
            TopicKind::Event => "event",
        }
    }
}

impl Post {
    /// An event for the readers of a key, or of all keys.
    pub fn stream(key: Option<&str>, event: &StreamEvent) -> Post {
        let StreamEvent { data, event, id, retry, comment } = event.clone();
        let about = PostAbout::Stream { key: key.map(str::to_owned), event, id, retry, comment };
        Post { about, payload: data, place: None }
    }

    /// The streams of a key, or all of them, end.
    pub fn close(key: Option<&str>) -> Post {
        Post { about: PostAbout::Close { key: key.map(str::to_owned) }, payload: Payload::None, place: None }
    }

    /// A message of a channel.
    pub fn channel(channel: &str, session: Option<&str>, payload: Payload) -> Post {
        let (channel, session) = (channel.to_owned(), session.map(str::to_owned));
        Post { about: PostAbout::Channel { channel, session }, payload, place: None }
    }

    /// An event of a module, or for `None` of another process.
    pub fn event(module: Option<&str>, event: &Event) -> Post {
        let about = PostAbout::Event {
            module: module.map(str::to_owned),
            kind: event.kind.as_ref().to_owned(),
            source: event.source.as_deref().map(str::to_owned),
        };
        Post { about, payload: Payload::Text(event.value.as_ref().to_owned()), place: None }
    }

    pub fn kind(&self) -> TopicKind {
        match &self.about {
            PostAbout::Event { .. } => TopicKind::Event,
            PostAbout::Channel { .. } => TopicKind::Channel,
            PostAbout::Stream { .. } | PostAbout::Close { .. } => TopicKind::Stream,
        }
    }

    /// The name of the topic. `None` for all topics of the kind.
    pub fn topic(&self) -> Option<&str> {
        match &self.about {
            PostAbout::Stream { key, .. } | PostAbout::Close { key } => key.as_deref(),
            PostAbout::Channel { channel, .. } => Some(channel),
            PostAbout::Event { .. } => None,
        }
    }
}
