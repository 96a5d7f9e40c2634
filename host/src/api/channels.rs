//! The JSON documents about channels.

use serde::{Deserialize, Serialize};

use crate::call::ChannelKeep;

/// The channels of a host that have members, a history, or a module that listens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChannelsStatus {
    /// The number of channels.
    pub open: u32,
    /// The limit: the setting `hub.topics`.
    pub max: u32,
    /// The number of subscriptions of clients.
    pub subscriptions: u32,
    /// The number of messages that wait for the route of their channel.
    pub waiting: u64,
    /// The channels with the most members, at most 32, the largest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub largest: Vec<ChannelStatus>,
}

/// A channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChannelStatus {
    /// Its name.
    pub name: String,
    /// The number of subscribed clients.
    pub members: u32,
    /// The number of messages in its history.
    pub kept: u32,
}

/// A pattern of channels that a module declares in `channels`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChannelPatternStatus {
    /// A channel, or `prefix/*`.
    pub pattern: String,
    /// The route that decides what happens on the channels, as method and path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// What the route is asked about, such as `publish`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
    /// The messages that the host keeps for each channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<ChannelHistoryStatus>,
    /// Whether the host tells who is subscribed.
    pub presence: bool,
    /// Whether plain WebSockets get the name of the channel with each message.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub envelope: bool,
}

/// The messages that the host keeps for a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ChannelHistoryStatus {
    /// The most messages.
    pub count: usize,
    /// How long each is kept, in milliseconds.
    pub age: u64,
    /// The most bytes.
    pub bytes: u64,
    /// Where they are kept: `cluster`, or `memory` if it is not there.
    #[serde(skip_serializing_if = "is_in_memory")]
    pub keep: ChannelKeep,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_in_memory(keep: &ChannelKeep) -> bool {
    *keep == ChannelKeep::Memory
}
