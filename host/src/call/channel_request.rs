//! Requests to the home of a channel, which is another node, as plain data.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ChannelAction, ChannelPage, ChannelPosition, Context, Envelope, Origin, Payload};

/// What a node asks the home of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChannelAsk {
    /// To publish the payload. `seen` is the epoch of the channel that the node has seen last.
    Publish { seen: Option<u64> },
    /// Whether the route of the channel allows an action.
    Allow(ChannelAction),
    /// For kept messages, for a reader.
    History { after: Option<ChannelPosition>, most: usize, max_bytes: u64 },
    /// For what the node has missed. Without a position, only for the last one.
    Missed { after: Option<ChannelPosition>, max_bytes: u64 },
}

/// A request about a channel, before its node sends it.
#[derive(Debug, Clone)]
pub struct HomeCall {
    pub channel: Arc<str>,
    pub ask: ChannelAsk,
    pub origin: Origin,
    /// The session of the client that acts.
    pub session: Option<Arc<str>>,
    /// The call of the guest that acts.
    pub parent: Option<Arc<Context>>,
    /// Whether that call waits for the answer.
    pub awaited: bool,
    pub timeout: Option<Duration>,
    pub payload: Payload,
}

/// A request about a channel, for its home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelRequest {
    pub envelope: Envelope,
    pub channel: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    pub ask: ChannelAsk,
    pub payload: Payload,
}

/// What the home of a channel answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelAnswer {
    /// The message has this place. `None` if the channel keeps no history.
    Published(Option<ChannelPosition>),
    /// The action is allowed, perhaps with another payload.
    Allowed(Option<Payload>),
    Page(ChannelPage),
}
