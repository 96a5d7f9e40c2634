//! A channel: its history, its members and its listeners, under one lock.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use super::super::eviction::HasRing;
use super::super::message::HistoryLimits;
use super::super::ring::Ring;
use super::super::sync::Mutex;
use super::crowd::Crowd;
use super::follower::Replica;
use super::members::Members;
use super::written_state::Written;
use crate::call::channel::announced;
use crate::call::{ChannelMessage, ChannelPosition, ChannelSettings};

/// Set in the number under which a channel has its share of an inbox. Topics have lower numbers.
const SHARE: u64 = 1 << 63;

/// Gets every message of a channel. It is called under the lock of the channel: it must not block,
/// nor use the hub.
pub trait ChannelListener: Send + Sync {
    /// The position is `None` if the channel keeps no history.
    fn message(&self, channel: &Arc<str>, message: &ChannelMessage, position: Option<ChannelPosition>);

    /// Messages of another node are missing: this number, if it is known. No lock is held.
    fn missed(&self, _count: Option<u64>) {}
}

pub struct Channel {
    /// Unique among channels.
    pub id: u64,
    pub name: Arc<str>,
    /// The index of its part of the map.
    pub shard: usize,
    pub state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    /// Unique among all channels of all starts of the host, and anew when another node has given
    /// messages their places meanwhile.
    pub epoch: u64,
    /// Those of the last subscription or publish.
    pub settings: ChannelSettings,
    pub ring: Ring,
    /// The offset of the last message. Zero if there was none.
    pub last: u64,
    /// When the last message got its place, in milliseconds since 1970-01-01 UTC.
    pub last_at: u64,
    pub members: Members,
    pub listeners: Vec<(u64, Arc<dyn ChannelListener>)>,
    pub crowd: Crowd,
    /// Dropped when nobody listens any more.
    pub followed: Option<Box<dyn Any + Send>>,
    /// What is known of the stream that keeps the history, on the home of the channel.
    pub written: Written,
    /// Whether messages may be on their way to that stream.
    pub is_busy: bool,
    /// Whether other nodes get the messages from this one.
    pub is_shared: bool,
    /// How this node follows the home of the channel. `None` if it gives the places itself.
    pub replica: Option<Box<Replica>>,
    /// Whether the channel is not, or soon no longer, in the map. Its users must look it up again.
    pub is_removed: bool,
}

impl Channel {
    /// The number under which its messages share an inbox.
    pub fn share(&self) -> u64 {
        self.id | SHARE
    }

    /// Replaces the settings. What exceeds the new ones leaves the history.
    pub fn apply(&self, state: &mut State, settings: &ChannelSettings, now: Instant) {
        let settings = match announced(&self.name) {
            // The announcements of members are neither kept nor announced.
            Some(_) => ChannelSettings { envelope: settings.envelope, ..ChannelSettings::default() },
            None => *settings,
        };
        if state.settings != settings {
            state.settings = settings;
            state.ring.trim(now, &limits(&settings));
        }
    }
}

impl State {
    /// The position of the last message.
    pub fn position(&self) -> ChannelPosition {
        ChannelPosition { epoch: self.epoch, offset: self.last }
    }

    pub fn is_kept(&self) -> bool {
        self.settings.count > 0
    }

    /// Whether nobody listens, so that the channel may be removed with its history.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty() && self.listeners.is_empty()
    }

    pub fn is_unused(&self) -> bool {
        self.is_idle() && self.ring.is_empty() && !self.is_busy
    }

    /// Drops the messages that are too old.
    pub fn expire(&mut self, now: Instant) {
        self.ring.expire(now, &limits(&self.settings));
    }
}

impl HasRing for Channel {
    fn with_ring<R>(&self, look: impl FnOnce(&mut Ring) -> R) -> R {
        look(&mut self.state.lock().ring)
    }
}

pub fn limits(settings: &ChannelSettings) -> HistoryLimits {
    HistoryLimits { count: settings.count, age: settings.age, bytes: settings.bytes }
}
