//! Channels whose messages get their places from another node, their home.
//!
//! This node keeps no history of them, but notices by the numbers what is missing. Until the home
//! has told what that is, further messages are held, so that members and listeners get all of them
//! in order. What cannot be had any more, they learn of.

use std::sync::Arc;
use std::time::Instant;

use super::super::counters::Counters;
use super::super::inbox::Wakers;
use super::all::Channels;
use super::channel::{Channel, ChannelListener, State};
use super::follower::Replica;
use super::map::Map;
use super::renewal::renew;
use super::written_state::Written;
use crate::call::{ChannelMessage, ChannelPage, ChannelPosition, ChannelSettings, bounds};

/// The most messages that are held while older ones are missing.
const MOST_HELD: usize = 1_024;

/// What is missing after a part of it has arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Mended {
    /// Nothing, as far as the home knows.
    Whole,
    /// What comes after this position. Without a position the numbers of the home are not known.
    After(Option<ChannelPosition>),
}

/// What follows from the home of a channel.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Assigned {
    /// Members or listeners here may lack what the home has.
    pub follows: bool,
    /// This node was the home, and has given this position last.
    pub left: Option<ChannelPosition>,
}

/// What members and listeners have got.
#[derive(Default)]
struct Given {
    mended: u64,
    /// `None` if it is not known how many messages are missing.
    missed: Option<u64>,
    is_missing: bool,
}

impl Given {
    fn miss(&mut self, count: Option<u64>) {
        self.missed = match (self.is_missing, self.missed, count) {
            (false, _, count) => count,
            (true, Some(before), Some(count)) => Some(before.saturating_add(count)),
            (true, ..) => None,
        };
        self.is_missing = true;
    }
}

impl Channels {
    /// Gives the places itself from now on. After another node has given them, with a new epoch,
    /// unless the cluster keeps the history.
    pub(super) fn own(&self, state: &mut State) {
        if !state.settings.is_in_cluster() && state.replica.take().is_some() {
            renew(state, 0);
        }
    }

    /// Another node follows a channel that has its home here, and has seen this epoch, or none yet
    /// (0). If it is a later one, others have given places meanwhile: the channel begins anew.
    pub fn saw(&self, name: &str, epoch: u64) {
        self.with(name, Map::get_or_add, |channel, state| {
            self.own(state);
            state.is_shared = true;
            if state.epoch < epoch {
                renew(state, epoch);
                self.map.shards.note_history(channel.shard, 0);
            }
        });
    }

    /// The epoch of a channel, if this node knows that of its home.
    pub fn seen(&self, name: &str) -> Option<u64> {
        let seen = self.with(name, Map::get, |_, state| {
            let is_known = state.replica.as_ref().map_or(state.is_shared, |replica| replica.is_known);
            is_known.then_some(state.epoch)
        });
        seen.flatten().or_else(|| self.map.ended(name).map(|last| last.epoch))
    }

    /// Takes a message that has its place on another node. Returns whether messages are missing
    /// before it, so that [`Channels::begin_mend`] is to be called.
    pub fn receive(
        &self,
        name: &str,
        home: &Arc<str>,
        epoch: u64,
        message: ChannelMessage,
        settings: &ChannelSettings,
    ) -> bool {
        let mut wakers = Wakers::default();
        let order = self.namespace.order.read();
        let gap = self.with(name, Map::get, |channel, state| {
            if state.is_idle() {
                return false;
            }
            self.apply(channel, state, settings, Instant::now());
            if state.replica.as_ref().is_some_and(|replica| replica.is_known) && epoch < state.epoch {
                // Its sender has not learned yet that others have given places meanwhile.
                return !state.replica.as_ref().is_some_and(|replica| replica.is_mending);
            }
            let replica = follow(state, home);
            if replica.is_mending {
                match replica.held.len() < MOST_HELD {
                    true => replica.held.push((epoch, message)),
                    false => {
                        bounds::CHANNEL_HELD.count();
                        replica.again = true;
                    }
                }
                return false;
            }
            let is_known = std::mem::replace(&mut replica.is_known, true);
            if !is_known {
                (state.epoch, state.last) = (epoch, message.offset.saturating_sub(1));
            }
            if state.epoch == epoch && message.offset <= state.last {
                return false;
            }
            if state.epoch == epoch && message.offset == state.last.saturating_add(1) {
                self.give(channel, state, message, &mut wakers);
                return false;
            }
            if let Some(replica) = &mut state.replica {
                replica.held.push((epoch, message));
            }
            true
        });
        drop(order);
        drop(wakers);
        gap.unwrap_or_default()
    }

    /// Begins to ask the home of a channel for what is missing. `None` if nobody listens here, or
    /// if that has begun already. The caller tells with [`Channels::mend`] what it gets, until
    /// nothing is missing, or ends it with [`Channels::end_mend`].
    pub fn begin_mend(&self, name: &str, home: &Arc<str>) -> Option<Mended> {
        self.with(name, Map::get, |_, state| {
            if state.is_idle() {
                return None;
            }
            let last = state.position();
            let replica = follow(state, home);
            if std::mem::replace(&mut replica.is_mending, true) {
                replica.again = true;
                return None;
            }
            Some(Mended::After(replica.is_known.then_some(last)))
        })
        .flatten()
    }

    /// Whether the numbers of the home of a channel are to be asked for, because somebody listens
    /// here who is to miss nothing.
    pub fn is_unknown(&self, name: &str) -> bool {
        let unknown = self.with(name, Map::get, |_, state| {
            !state.is_idle() && state.replica.as_ref().is_none_or(|replica| !replica.is_known)
        });
        unknown.unwrap_or_default()
    }

    /// Whether the home of a channel is being asked.
    pub fn is_mending(&self, name: &str) -> bool {
        let mending =
            self.with(name, Map::get, |_, state| state.replica.as_ref().is_some_and(|replica| replica.is_mending));
        mending.unwrap_or_default()
    }

    /// Gives members and listeners what the home has told, and then what was held.
    pub fn mend(&self, name: &str, page: ChannelPage, settings: &ChannelSettings) -> Mended {
        self.mend_with(name, Some((page, settings)))
    }

    /// Gives members and listeners what was held, although something is missing before it.
    pub fn end_mend(&self, name: &str) {
        self.mend_with(name, None);
    }

    fn mend_with(&self, name: &str, page: Option<(ChannelPage, &ChannelSettings)>) -> Mended {
        let (mut wakers, mut given) = (Wakers::default(), Given::default());
        let order = self.namespace.order.read();
        let mended = self.with(name, Map::get, |channel, state| {
            if state.replica.is_none() {
                // This node has become the home.
                return (Mended::Whole, Vec::new());
            }
            let gives_up = page.is_none();
            if let Some((page, settings)) = page {
                self.apply(channel, state, settings, Instant::now());
                if let Some(again) = self.take_page(channel, state, page, &mut given, &mut wakers) {
                    return (again, Vec::new());
                }
            }
            let mended = self.take_held(channel, state, gives_up, &mut given, &mut wakers);
            let listeners = state.listeners.iter().filter(|_| given.is_missing).map(|(_, listener)| listener.clone());
            (mended, listeners.collect::<Vec<Arc<dyn ChannelListener>>>())
        });
        drop(order);
        drop(wakers);
        let (mended, listeners) = mended.unwrap_or((Mended::Whole, Vec::new()));
        listeners.iter().for_each(|listener| listener.missed(given.missed));
        Counters::add(&self.counters.mended, given.mended);
        if given.is_missing {
            Counters::add(&self.counters.gaps, 1);
        }
        mended
    }

    /// Gives what the home has told. Returns what to ask for next, if the home has more.
    fn take_page(
        &self,
        channel: &Arc<Channel>,
        state: &mut State,
        page: ChannelPage,
        given: &mut Given,
        wakers: &mut Wakers,
    ) -> Option<Mended> {
        if page.epoch == 0 {
            // The home has never had a message.
            return None;
        }
        let first = page.messages.first().map(|message| message.offset.saturating_sub(1));
        let replica = state.replica.as_deref_mut()?;
        if !std::mem::replace(&mut replica.is_known, true) {
            // Messages that have arrived already are given.
            let held = replica.held.iter().filter(|(epoch, _)| *epoch == page.epoch).map(|(_, one)| one.offset);
            let last = held.min().map_or(page.latest, |first| page.latest.min(first.saturating_sub(1)));
            (state.epoch, state.last) = (page.epoch, last);
        } else if state.epoch > page.epoch {
            return None;
        } else if state.epoch != page.epoch {
            // The channel has begun anew. What earlier homes had kept is lost, but not what they
            // have sent.
            let held = std::mem::take(&mut replica.held);
            let (rest, earlier): (Vec<_>, Vec<_>) = held.into_iter().partition(|(epoch, _)| *epoch == page.epoch);
            replica.held = rest;
            for (epoch, message) in earlier {
                self.give_after_gap(channel, state, (epoch, message), given, wakers);
            }
            (state.epoch, state.last) = (page.epoch, first.unwrap_or(page.latest));
            given.miss(None);
        }
        let is_empty = page.messages.is_empty();
        for message in page.messages {
            let next = state.last.saturating_add(1);
            if message.offset < next {
                continue;
            }
            if message.offset > next {
                given.miss(Some(message.offset - next));
            }
            given.mended += 1;
            self.give(channel, state, message, wakers);
        }
        (!is_empty && state.last < page.latest).then(|| Mended::After(Some(state.position())))
    }

    /// Gives what was held.
    fn take_held(
        &self,
        channel: &Arc<Channel>,
        state: &mut State,
        gives_up: bool,
        given: &mut Given,
        wakers: &mut Wakers,
    ) -> Mended {
        let Some(replica) = state.replica.as_deref_mut() else { return Mended::Whole };
        if let Some((epoch, first)) = replica.held.first().filter(|_| !replica.is_known) {
            (state.epoch, state.last, replica.is_known) = (*epoch, first.offset.saturating_sub(1), true);
        }
        let again = std::mem::take(&mut replica.again) && !gives_up;
        let held = std::mem::take(&mut replica.held);
        let mut held = held.into_iter();
        while let Some((epoch, message)) = held.next() {
            if state.epoch > epoch || state.epoch == epoch && message.offset <= state.last {
                continue;
            }
            let next = state.last.saturating_add(1);
            if (state.epoch != epoch || message.offset != next) && !gives_up {
                if let Some(replica) = state.replica.as_deref_mut() {
                    replica.held = std::iter::once((epoch, message)).chain(held).collect();
                }
                return Mended::After(Some(state.position()));
            }
            self.give_after_gap(channel, state, (epoch, message), given, wakers);
        }
        if again {
            return Mended::After(Some(state.position()));
        }
        if let Some(replica) = state.replica.as_deref_mut() {
            replica.is_mending = false;
        }
        Mended::Whole
    }

    /// Gives a message that may come after missing ones.
    fn give_after_gap(
        &self,
        channel: &Arc<Channel>,
        state: &mut State,
        (epoch, message): (u64, ChannelMessage),
        given: &mut Given,
        wakers: &mut Wakers,
    ) {
        let next = state.last.saturating_add(1);
        if state.epoch > epoch {
            return;
        } else if state.epoch < epoch {
            state.epoch = epoch;
            given.miss(None);
        } else if message.offset < next {
            return;
        } else if message.offset > next {
            given.miss(Some(message.offset - next));
        }
        self.give(channel, state, message, wakers);
    }

    /// Gives a message to all members and listeners.
    fn give(&self, channel: &Arc<Channel>, state: &mut State, message: ChannelMessage, wakers: &mut Wakers) {
        let added = self.add_placed(channel, state, message, Instant::now());
        self.pass_on(channel, state, added, wakers);
    }

    /// Notes the home of a channel, another node or this one. Returns what the other one is to be
    /// asked or told.
    pub fn assign(&self, name: &str, home: Option<&Arc<str>>) -> Assigned {
        let Some(home) = home else {
            self.end_mend(name);
            self.with(name, Map::get, |_, state| {
                if let Some(replica) = &mut state.replica {
                    replica.home = None;
                }
            });
            return Assigned::default();
        };
        let changed = self.with(name, Map::get, |channel, state| {
            let before = state.replica.as_ref().and_then(|replica| replica.home.clone());
            let was_own = state.replica.is_none() && state.is_shared && state.last > 0;
            follow(state, home);
            self.map.shards.note_history(channel.shard, 0);
            let follows = !state.is_idle() && before.as_ref() != Some(home);
            Assigned { follows, left: was_own.then(|| state.position()) }
        });
        changed.unwrap_or_default()
    }

    /// Removes the last positions of channels that have ended, where a condition holds.
    pub fn take_ended(&self, holds: impl Fn(&Arc<str>) -> bool) -> Vec<(Arc<str>, ChannelPosition)> {
        self.map.all_ended().into_iter().filter(|(name, _)| holds(name) && self.map.forget_ended(name)).collect()
    }

    /// The channels of this node.
    pub fn names(&self) -> Vec<Arc<str>> {
        let channels = (0..self.map.shards.capacity.shards()).flat_map(|index| self.map.all_of(index));
        channels.map(|channel| channel.name.clone()).collect()
    }
}

/// Follows a home. What this node has kept itself is of no use any more.
fn follow<'a>(state: &'a mut State, home: &Arc<str>) -> &'a mut Replica {
    if state.replica.is_none() {
        state.ring.clear();
        state.written = Written::Unread;
        // Members have got what this node has placed.
        let is_known = state.is_shared && state.last > 0;
        state.replica = Some(Box::new(Replica { is_known, ..Replica::default() }));
    }
    let replica = state.replica.get_or_insert_default();
    if replica.home.as_ref() != Some(home) {
        replica.home = Some(home.clone());
    }
    replica
}
