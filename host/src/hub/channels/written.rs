//! Channels whose histories a stream of the cluster keeps, on the node that is their home.
//!
//! The home numbers a message after the last record of the stream, writes it there, and only then
//! keeps and sends it. So it first reads what the stream has, and again whenever another node may
//! have written meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::counters::Counters;
use super::super::inbox::Wakers;
use super::super::ring::Ring;
use super::all::Channels;
use super::channel::{Channel, ChannelListener, State, limits};
use super::joined::ChannelError;
use super::map::Map;
use super::renewal::renew;
use super::written_state::{ReadHistory, Written};
use crate::call::{
    ChannelMessage, ChannelPlace, ChannelPosition, ChannelRecord, ChannelSettings, RecordPlaces, WrittenChannel, time,
};

/// What members have missed when the history was read.
#[derive(Default)]
struct News {
    /// What nobody here, and perhaps no other node, has received.
    messages: Vec<ChannelMessage>,
    is_missing: bool,
    /// `None` if the number is not known.
    missed: Option<u64>,
}

impl Channels {
    /// What this node knows of the history of a channel, and the position of its last message.
    pub fn written(&self, name: &str) -> (Written, ChannelPosition) {
        let written = self.with(name, Map::get, |_, state| (state.written.clone(), state.position()));
        written.unwrap_or((Written::Unread, ChannelPosition { epoch: 0, offset: 0 }))
    }

    /// Whether the messages after a position, or the newest ones, are some that this node has
    /// dropped for `hub.history`. The stream has them.
    pub fn is_shrunk(&self, name: &str, after: Option<ChannelPosition>, most: usize) -> bool {
        let shrunk = self.with(name, Map::get, |_, state| {
            let ring = &state.ring;
            let lacks = match after {
                Some(after) => after.epoch != state.epoch || after.offset < ring.dropped(),
                None => ring.len() < most.min(state.settings.count),
            };
            lacks && ring.is_shrunk()
        });
        shrunk.unwrap_or_default()
    }

    /// Another node may have written to the history of a channel.
    pub fn doubt(&self, name: &str) {
        self.with(name, Map::get, |_, state| {
            if state.written != Written::Unread {
                state.written = Written::Doubtful;
            }
        });
    }

    /// Nothing is read from the history of a channel, nor written to it, any more.
    pub fn release(&self, name: &str) {
        self.with(name, Map::get, |_, state| state.is_busy = false);
    }

    /// Whether members or listeners are to get what is written to the history of a channel.
    pub fn has_listeners(&self, name: &str) -> bool {
        self.with(name, Map::get, |_, state| !state.is_idle()).unwrap_or_default()
    }

    /// This node is the home, but has not read the history yet. What has arrived stays until then.
    pub fn wait_for_history(&self, name: &str) {
        self.with(name, Map::get, |_, state| {
            if let Some(replica) = &mut state.replica {
                (replica.home, replica.is_mending) = (None, false);
            }
        });
    }

    /// Takes the history of a channel that has its home here. Members and listeners get what they
    /// have missed. Returns the epoch, and the messages that other nodes may lack as well. Fails if
    /// there are too many channels.
    pub fn read(
        &self,
        name: &str,
        history: WrittenChannel,
        settings: &ChannelSettings,
    ) -> Result<(u64, Vec<ChannelMessage>), ChannelError> {
        let mut wakers = Wakers::default();
        let order = self.namespace.order.read();
        let read = self.with(name, Map::get_or_add, |channel, state| {
            self.apply(channel, state, settings, Instant::now());
            let news = self.take_history(channel, state, history, &mut wakers);
            let listeners = state.listeners.iter().filter(|_| news.is_missing).map(|(_, listener)| listener.clone());
            let listeners: Vec<Arc<dyn ChannelListener>> = listeners.collect();
            (news, state.epoch, listeners)
        });
        drop(order);
        drop(wakers);
        self.namespace.memory.evict();
        let (news, epoch, listeners) = read.ok_or_else(|| self.refuse())?;
        listeners.iter().for_each(|listener| listener.missed(news.missed));
        if news.is_missing {
            Counters::add(&self.counters.gaps, 1);
        }
        Ok((epoch, news.messages))
    }

    fn take_history(
        &self,
        channel: &Arc<Channel>,
        state: &mut State,
        history: WrittenChannel,
        wakers: &mut Wakers,
    ) -> News {
        let replica = state.replica.take();
        let is_known = replica.map_or(state.written != Written::Unread || state.last > 0, |replica| replica.is_known);
        (state.is_shared, state.is_busy) = (true, true);
        let first_read = (state.written == Written::Unread).then(Instant::now);
        state.written = Written::Read(ReadHistory { places: history.places, first_read });
        let mut news = News::default();
        let record = history.record.filter(|record| !record.messages.is_empty());
        let Some(ChannelRecord { epoch, messages }) = record else {
            if is_known && state.last > 0 {
                news.is_missing = !state.is_idle();
                self.begin_anew(channel, state, 0);
            }
            return news;
        };
        let first = messages.first().map_or(0, |message| message.offset);
        let latest = messages.last().map_or(0, |message| message.offset);
        if is_known && (state.epoch > epoch && state.last > 0 || state.epoch == epoch && state.last > latest) {
            // The stream has lost what this node has received.
            news.is_missing = !state.is_idle();
            self.begin_anew(channel, state, epoch);
            return news;
        }
        let received = match is_known {
            false => latest,
            true if state.epoch == epoch => state.last,
            true => {
                // The channel has begun anew.
                news.is_missing = state.last > 0 && !state.is_idle();
                first.saturating_sub(1)
            }
        };
        let gap = first.saturating_sub(received.saturating_add(1));
        if gap > 0 && !news.is_missing && !state.is_idle() {
            (news.is_missing, news.missed) = (true, Some(gap));
        }
        state.ring.clear();
        state.ring = Ring::new(first.saturating_sub(1));
        (state.epoch, state.last) = (epoch, first.saturating_sub(1));
        let (now, wall) = (Instant::now(), time::now());
        for message in messages {
            let is_news = message.offset > received;
            let at = now.checked_sub(Duration::from_millis(wall.saturating_sub(message.at))).unwrap_or(now);
            if is_news {
                news.messages.push(message.clone());
                let added = self.add_placed(channel, state, message, at);
                self.pass_on(channel, state, added, wakers);
            } else {
                self.keep(channel, state, message, at);
            }
        }
        state.expire(now);
        self.map.shards.note_history(channel.shard, state.ring.bytes());
        news
    }

    fn begin_anew(&self, channel: &Channel, state: &mut State, seen: u64) {
        renew(state, seen);
        self.map.shards.note_history(channel.shard, 0);
    }

    /// Keeps a message that members have received.
    fn keep(&self, channel: &Arc<Channel>, state: &mut State, message: ChannelMessage, at: Instant) {
        (state.last, state.last_at) = (message.offset, message.at);
        let (_, frame) = self.frame(channel, state, message, true);
        state.ring.push(frame, at, &limits(&state.settings));
    }

    /// Other nodes have seen this position of a channel, whose history this node has read. If it is
    /// a later one, the stream has lost it: the channel begins anew.
    pub fn renew_after(&self, name: &str, seen: ChannelPosition) {
        self.with(name, Map::get, |channel, state| {
            let is_lost = state.epoch < seen.epoch || state.epoch == seen.epoch && state.last < seen.offset;
            if matches!(state.written, Written::Read(_)) && is_lost {
                self.begin_anew(channel, state, seen.epoch);
            }
        });
    }

    /// Keeps a message that the stream has, and queues it for all members and listeners. `places`
    /// are those of its record and of earlier ones. `None` if the channel has moved to another
    /// node, or was read again meanwhile: then the message comes from there.
    pub fn publish_written(
        &self,
        name: &str,
        epoch: u64,
        message: ChannelMessage,
        places: RecordPlaces,
        settings: &ChannelSettings,
    ) -> Option<ChannelPlace> {
        let mut wakers = Wakers::default();
        let order = self.namespace.order.read();
        let placed = self.with(name, Map::get, |channel, state| {
            let is_next = state.epoch == epoch && state.last.saturating_add(1) == message.offset;
            if !is_next || !matches!(state.written, Written::Read(_)) {
                return None;
            }
            self.apply(channel, state, settings, Instant::now());
            state.written = Written::Read(ReadHistory { places, first_read: None });
            let added = self.add_placed(channel, state, message, Instant::now());
            self.pass_on(channel, state, added, &mut wakers);
            Some(ChannelPlace { position: state.position(), at: state.last_at })
        });
        drop(order);
        drop(wakers);
        self.namespace.memory.evict();
        let placed = placed.flatten();
        if placed.is_some() {
            Counters::add(&self.counters.published, 1);
        }
        placed
    }
}
