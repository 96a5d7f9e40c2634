//! The histories of channels: reading them, and dropping what is too old or too much.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::super::eviction::shrink_all;
use super::super::frame::Frame;
use super::super::histories::Histories;
use super::super::message::Position;
use super::all::Channels;
use super::channel::{Channel, State};
use super::crowd::INTERVAL;
use super::message::PlacedMessage;
use crate::call::{ChannelMessage, ChannelPage, ChannelPosition};

/// How often a part of the channels is swept. All of 64 parts take 16 seconds.
const SWEEP: Duration = Duration::from_millis(250);

impl Channels {
    /// Returns up to `most` kept messages after a position, or the newest ones, of at most
    /// `max_bytes`, but at least one. Without a position, they are complete if they begin with the
    /// first message of the channel. `None` if there is no such channel: its messages, if there
    /// were any, are lost.
    pub fn history(
        &self,
        name: &str,
        after: Option<ChannelPosition>,
        most: usize,
        max_bytes: u64,
    ) -> Option<ChannelPage> {
        let Some(channel) = self.map.get(name) else { return self.map.ended(name).map(|last| ended(last, after)) };
        let mut state = channel.state.lock();
        if state.is_removed {
            drop(state);
            return self.map.ended(name).map(|last| ended(last, after));
        }
        self.own(&mut state);
        if state.replica.is_some() {
            // The cluster keeps it, and another node is the home.
            return None;
        }
        state.expire(Instant::now());
        let (epoch, latest, ring) = (state.epoch, state.last, &state.ring);
        let known = after.filter(|at| at.epoch == epoch && at.offset <= latest && at.offset >= ring.dropped());
        let mut bytes = 0u64;
        let mut fits = |frame: &&Arc<Frame>| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(frame.cost);
            is_first || bytes <= max_bytes
        };
        let frames: Vec<Arc<Frame>> = match after {
            Some(_) => {
                let after = known.map_or(0, |at| at.offset);
                ring.after(after).take(most).take_while(&mut fits).cloned().collect()
            }
            None => {
                let mut newest: Vec<_> = ring.after(0).rev().take(most).take_while(&mut fits).cloned().collect();
                newest.reverse();
                newest
            }
        };
        drop(state);
        let complete = match after {
            Some(_) => known.is_some(),
            None => latest == 0 || frames.first().is_some_and(|first| first.number() == 1),
        };
        let messages: Vec<ChannelMessage> = frames.iter().filter_map(|frame| frame.of_channel().cloned()).collect();
        Some(ChannelPage { epoch, messages, latest, complete })
    }

    /// The page of a channel that does not exist on this node, its home: readers on other nodes ask
    /// for its history before its first message, too. `None` if it exists, or if there are no other
    /// nodes.
    pub fn first_page(&self, name: &str, after: Option<ChannelPosition>) -> Option<ChannelPage> {
        self.map.begins_at(name).map(|last| ended(last, after))
    }

    /// Announces the numbers of members that are due, drops messages of one part of the channels
    /// that are too old, and channels that nobody uses. Returns when to do it again.
    pub fn sweep(&self, now: Instant) -> Duration {
        let is_due = self.tell_due(now);
        if self.map.shards.capacity.entries() == 0 && !is_due {
            return INTERVAL;
        }
        let index = self.next_sweep.fetch_add(1, Relaxed) % self.map.shards.capacity.shards().max(1);
        for channel in self.map.to_note(index) {
            let mut state = channel.state.lock();
            state.expire(now);
            self.map.shards.note_history(index, state.ring.bytes());
            let is_unused = state.is_unused();
            drop(state);
            if is_unused {
                self.remove_if_unused(&channel);
            }
        }
        SWEEP
    }

    /// The last message of a channel, as it is sent and kept.
    pub(super) fn frame(
        &self,
        channel: &Channel,
        state: &State,
        message: ChannelMessage,
        is_kept: bool,
    ) -> (Arc<PlacedMessage>, Arc<Frame>) {
        let position = state.position();
        let message = Arc::new(PlacedMessage {
            channel: channel.name.clone(),
            message,
            position: state.is_kept().then_some(position),
            envelope: state.settings.envelope,
            encoder: self.encoder.clone(),
        });
        let mut frame = Frame::new(message.clone(), &self.namespace.memory, is_kept);
        frame.set_position(Position { epoch: position.epoch, number: position.offset });
        (message, Arc::new(frame))
    }

    pub(super) fn remove_if_unused(&self, channel: &Arc<Channel>) {
        self.map.remove(channel, State::is_unused);
    }
}

/// The page of a channel that has ended with this message, because nothing of it was left.
fn ended(last: ChannelPosition, after: Option<ChannelPosition>) -> ChannelPage {
    let (epoch, latest) = (last.epoch, last.offset);
    let complete = after.map_or(latest == 0, |after| after == last);
    ChannelPage { epoch, messages: Vec::new(), latest, complete }
}

impl Histories for Channels {
    fn largest(&self, look: &mut dyn FnMut(usize, u64)) {
        self.map.shards.largest().for_each(|(part, bytes)| look(part, bytes));
    }

    fn shrink(&self, part: usize, least: u64, target: u64) {
        let channels = self.map.to_note(part);
        let emptied = |channel: &Arc<Channel>| self.remove_if_unused(channel);
        let left = shrink_all(&self.namespace.memory, &self.counters, &channels, least, target, emptied);
        self.map.shards.note_history(part, left);
    }
}
