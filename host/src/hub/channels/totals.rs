//! The facts about channels, for operators.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::super::sessions::Session;
use super::all::Channels;
use super::channel::Channel;
use super::map::Map;

/// The facts about a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelInfo {
    pub name: Arc<str>,
    pub members: u32,
    /// The number of messages in its history.
    pub kept: u32,
}

/// The numbers of all channels, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelTotals {
    pub channels: u32,
    pub subscriptions: u32,
    /// Messages that were published, without the announcements of members.
    pub published: u64,
    /// Messages that histories dropped because of `hub.history`.
    pub evicted_messages: u64,
    /// Messages that this node has got from the histories of other nodes, because they were
    /// missing.
    pub mended: u64,
    /// How often messages of other nodes stayed missing.
    pub gaps: u64,
    /// Channels without members that made room for others.
    pub evicted: u64,
    /// Subscriptions, and messages to keep, of channels beyond `hub.topics`.
    pub refused: u64,
}

impl Channels {
    pub fn is_subscribed(&self, name: &str, session: &Session) -> bool {
        session.joined.contains(name)
    }

    /// The channels that a session is subscribed to, sorted.
    #[cfg(test)]
    pub fn of_session(&self, session: &Session) -> Vec<Arc<str>> {
        session.joined.names()
    }

    /// The number of members of a channel.
    pub fn count(&self, name: &str) -> u32 {
        self.with(name, Map::get, |_, state| count(state.members.len())).unwrap_or_default()
    }

    /// The facts about up to `most` channels, in no order.
    pub fn list(&self, most: usize) -> Vec<ChannelInfo> {
        let channels = (0..self.map.shards.capacity.shards()).flat_map(|index| self.map.all_of(index));
        let info = |channel: Arc<Channel>| {
            let state = channel.state.lock();
            let (members, kept) = (count(state.members.len()), count(state.ring.len()));
            ChannelInfo { name: channel.name.clone(), members, kept }
        };
        channels.take(most).map(info).collect()
    }

    pub fn totals(&self) -> ChannelTotals {
        ChannelTotals {
            channels: self.map.shards.capacity.entries(),
            subscriptions: self.subscriptions.load(Relaxed),
            published: self.counters.published.load(Relaxed),
            evicted_messages: self.counters.evicted.load(Relaxed),
            mended: self.counters.mended.load(Relaxed),
            gaps: self.counters.gaps.load(Relaxed),
            evicted: self.map.shards.capacity.evicted(),
            refused: self.counters.refused_topics.load(Relaxed),
        }
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
