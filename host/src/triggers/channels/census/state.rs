//! What a node knows of the members of all channels: its own ones and where it tells them, those of
//! all nodes in channels that have their home here, and those of channels that it watches.
//!
//! It knows neither NATS nor a clock. What a node tells itself takes the same way as what it tells
//! others, but is never on its way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::replica::Replica;
use super::roll::{Roll, Watcher};
use super::teller::{Teller, Whole, text};
use crate::call::{CensusMember, CensusStep, ChannelMember, MemberStep, bounds};
use crate::hub::Announced;
use crate::ports::NodesSeen;

/// What a node knows besides the members of other nodes.
pub(super) trait Local {
    /// Members of this node after a session, sorted.
    fn members(&self, channel: &str, after: Option<&str>, most: usize) -> Vec<ChannelMember>;

    fn announce(&self, channel: &str, what: Announced<'_>);

    /// The nodes as [`Local::home`] sees them now, as a number.
    fn view(&self) -> u64;

    /// The home of a channel. `None` if it is not known now.
    fn home(&self, channel: &str) -> Option<Arc<str>>;
}

/// A channel of which this node has members, or that it watches.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) members: usize,
    pub(super) is_watched: bool,
    pub(super) home: Option<Arc<str>>,
}

/// The series of another node, as far as this one has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) series: u64,
    pub(super) number: u64,
}

/// Another node.
pub(super) struct Peer {
    pub(super) boot: String,
    pub(super) teller: Teller,
    pub(super) heard: Option<Heard>,
    pub(super) confirmed: Option<u64>,
    /// Whether a member of it found no room.
    pub(super) is_short: bool,
}

pub(super) struct State {
    pub(super) own_id: Arc<str>,
    pub(super) most_bytes: usize,
    pub(super) peers: BTreeMap<Arc<str>, Peer>,
    pub(super) own: HashMap<Arc<str>, Own>,
    pub(super) rolls: HashMap<Arc<str>, Roll>,
    pub(super) replicas: HashMap<Arc<str>, Replica>,
    /// The watchers that wait for a list: the channel and the node.
    pub(super) waiting: BTreeSet<(Arc<str>, Arc<str>)>,
    /// The memory of members that this node has not itself.
    pub(super) bytes: usize,
    pub(super) view: u64,
    /// The last series.
    pub(super) series: u64,
    /// Since when this node waits for what others tell.
    pub(super) unsettled: Option<Instant>,
    /// Whether a roll was dropped that a node may believe to be here.
    pub(super) has_dropped: bool,
    /// How often everything was told again to a node.
    pub(super) told_again: u64,
}

impl State {
    pub(super) fn new(own_id: Arc<str>, most_bytes: usize) -> State {
        State {
            own_id,
            most_bytes,
            peers: BTreeMap::new(),
            own: HashMap::new(),
            rolls: HashMap::new(),
            replicas: HashMap::new(),
            waiting: BTreeSet::new(),
            bytes: 0,
            view: 0,
            series: 0,
            unsettled: None,
            has_dropped: false,
            told_again: 0,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn peers(&self) -> Vec<Arc<str>> {
        self.peers.keys().cloned().collect()
    }

    pub(super) fn room(&self) -> usize {
        self.most_bytes.saturating_sub(self.bytes)
    }

    pub(super) fn next_series(&mut self) -> u64 {
        self.series += 1;
        self.series
    }

    /// The nodes or the homes of channels may have changed.
    pub(super) fn see(&mut self, seen: NodesSeen, now: Instant, local: &dyn Local) {
        if self.view != seen.view {
            (self.view, self.unsettled) = (seen.view, Some(now));
        }
        let present = |node: &Arc<str>, peer: &Peer| seen.others.contains(&(node.clone(), peer.boot.clone()));
        let gone = self.peers.iter().filter(|(node, peer)| !present(node, peer));
        let gone: Vec<Arc<str>> = gone.map(|(node, _)| node.clone()).collect();
        let is_new = |(node, boot): &&(Arc<str>, String)| self.peers.get(node).is_none_or(|peer| peer.boot != *boot);
        if !gone.is_empty() || seen.others.iter().any(|other| is_new(&other)) {
            self.unsettled = Some(now);
        }
        let has_changed = self.unsettled == Some(now);
        self.find_homes(now, local);
        for node in &gone {
            self.end(node, now, local);
        }
        for (node, boot) in seen.others {
            if !self.peers.contains_key(&node) {
                let teller = Teller::new(self.next_series());
                let peer = Peer { boot, teller, heard: None, confirmed: None, is_short: false };
                self.peers.insert(node.clone(), peer);
                self.queue_all(&node);
            }
        }
        if has_changed && std::mem::take(&mut self.has_dropped) {
            self.peers().iter().for_each(|node| self.hear_again(node));
        }
        self.settle(now, local);
    }

    /// Finds the homes of channels.
    pub(super) fn find_homes(&mut self, now: Instant, local: &dyn Local) {
        for (channel, roll) in &mut self.rolls {
            let is_here = local.home(channel).is_some_and(|home| home == self.own_id);
            if !is_here {
                roll.elsewhere = roll.elsewhere.or(Some(now));
                roll.missing.clear();
            } else {
                roll.elsewhere = None;
            }
        }
        let mut moved = Vec::new();
        for (channel, own) in &mut self.own {
            let home = local.home(channel);
            if home.is_some() && home != own.home {
                moved.push((channel.clone(), std::mem::replace(&mut own.home, home)));
            }
        }
        for (channel, before) in moved {
            match before {
                Some(before) if before == self.own_id => self.elsewhere(&channel, &before),
                Some(before) => {
                    self.push(&before, &CensusStep::Elsewhere(channel.as_ref().to_owned()));
                    if let Some(peer) = self.peers.get_mut(&before) {
                        peer.teller.confirm_again();
                    }
                }
                None => {}
            }
            if let Some(replica) = self.replicas.get_mut(&channel) {
                replica.moved();
            }
            self.tell_whole(&channel, local);
        }
    }

    /// A node is gone.
    pub(super) fn end(&mut self, node: &Arc<str>, now: Instant, local: &dyn Local) {
        self.peers.remove(node);
        self.waiting.retain(|(_, watcher)| watcher != node);
        let channels: Vec<Arc<str>> = self.rolls.keys().cloned().collect();
        for channel in channels {
            let Some(roll) = self.rolls.get_mut(&channel) else { continue };
            roll.watchers.remove(node);
            roll.missing.remove(node);
            for session in roll.of_node(node) {
                self.gone(&channel, node, &session, now, local);
            }
            self.drop_if_unused(&channel);
        }
    }

    /// Queues everything for a node whose series begins.
    pub(super) fn queue_all(&mut self, node: &Arc<str>) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        for (channel, own) in &self.own {
            if own.home.as_ref() == Some(node) {
                peer.teller.push_whole(Whole::Own(channel.clone()));
            }
        }
        for (channel, roll) in &mut self.rolls {
            if let Some(watching) = roll.watchers.get_mut(node) {
                watching.how = Watcher::Waits;
                self.waiting.insert((channel.clone(), node.clone()));
            }
        }
    }

    /// Tells a node everything again.
    pub(super) fn tell_again(&mut self, node: &Arc<str>) {
        let series = self.next_series();
        if let Some(peer) = self.peers.get_mut(node) {
            peer.teller.restart(series);
            self.told_again += 1;
            self.queue_all(node);
        }
    }

    /// Lets a node tell everything again.
    pub(super) fn hear_again(&mut self, node: &Arc<str>) {
        if let Some(peer) = self.peers.get_mut(node) {
            (peer.heard, peer.confirmed, peer.is_short) = (None, None, false);
            self.tell_again(node);
        }
    }

    /// A member of this node has joined, changed or left. `members` is their number now.
    pub(super) fn on_member(&mut self, channel: &Arc<str>, step: MemberStep, members: usize, local: &dyn Local) {
        self.own(channel, local).members = members;
        self.tell_home(channel, step, local);
        self.drop_own_if_unused(channel);
    }

    /// The members of this node have to be told again.
    pub(super) fn on_members(&mut self, channel: &Arc<str>, local: &dyn Local) {
        self.own(channel, local).members = usize::MAX;
        self.tell_whole(channel, local);
        let has_members = !local.members(channel, None, 1).is_empty();
        self.own(channel, local).members = usize::from(has_members);
        self.drop_own_if_unused(channel);
    }

    /// This node begins to watch a channel, or no longer does.
    pub(super) fn on_watch(&mut self, channel: &Arc<str>, is_watched: bool, local: &dyn Local) {
        let own = self.own(channel, local);
        if std::mem::replace(&mut own.is_watched, is_watched) == is_watched {
            return self.drop_own_if_unused(channel);
        }
        let home = own.home.clone();
        match is_watched {
            true => _ = self.replicas.insert(channel.clone(), Replica::new()),
            false => {
                let freed = self.replicas.remove(channel).map_or(0, |replica| replica.bytes());
                self.bytes -= freed;
            }
        }
        match home {
            Some(home) if home == self.own_id => self.watch(channel, &home, is_watched, local),
            Some(home) => self.push(&home, &CensusStep::Watch(channel.as_ref().to_owned(), is_watched)),
            None => {}
        }
        self.drop_own_if_unused(channel);
    }

    pub(super) fn own(&mut self, channel: &Arc<str>, local: &dyn Local) -> &mut Own {
        self.own.entry(channel.clone()).or_insert_with(|| Own { home: local.home(channel), ..Own::default() })
    }

    pub(super) fn drop_own_if_unused(&mut self, channel: &str) {
        if self.own.get(channel).is_some_and(|own| own.members == 0 && !own.is_watched) {
            self.own.remove(channel);
        }
    }

    /// Queues a step for a node. If too much waits for it, everything is told again.
    pub(super) fn push(&mut self, node: &Arc<str>, step: &CensusStep) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        peer.teller.push(text(step));
        if peer.teller.is_full() {
            bounds::CENSUS_STEPS.count();
            self.tell_again(node);
        }
    }

    pub(super) fn tell_home(&mut self, channel: &Arc<str>, step: MemberStep, local: &dyn Local) {
        match self.own.get(channel).and_then(|own| own.home.clone()) {
            Some(home) if home == self.own_id => self.on_own(channel, &home, step, Instant::now(), local),
            Some(home) => self.push(&home, &CensusStep::Own(channel.as_ref().to_owned(), step)),
            // It is told once it is known.
            None => {}
        }
    }

    /// Tells the home of a channel all members of this node, and that it watches.
    pub(super) fn tell_whole(&mut self, channel: &Arc<str>, local: &dyn Local) {
        let Some(own) = self.own.get(channel) else { return };
        let Some(home) = own.home.clone() else { return };
        if home != self.own_id {
            if let Some(peer) = self.peers.get_mut(&home) {
                peer.teller.push_whole(Whole::Own(channel.clone()));
            }
            return;
        }
        if own.is_watched {
            self.watch(channel, &home, true, local);
        }
        let now = Instant::now();
        self.on_own(channel, &home, MemberStep::Begin, now, local);
        for member in local.members(channel, None, usize::MAX) {
            self.on_own(channel, &home, MemberStep::Is(CensusMember::from(&member)), now, local);
        }
        self.on_own(channel, &home, MemberStep::End, now, local);
    }
}
