//! What goes to other nodes, and what comes from them.

use std::sync::Arc;
use std::time::Instant;

use super::roll::{Roll, Watcher};
use super::state::{Heard, Local, State};
use super::teller::{Part, Whole, text};
use crate::call::{CensusBatch, CensusMember, CensusStep, ChannelMember, MemberStep};

/// The most members of a part of a whole.
const SLICE: usize = 1_024;

impl State {
    /// The next batch for a node, of at most this many bytes.
    pub(super) fn next(&mut self, node: &Arc<str>, most: usize, local: &dyn Local) -> Option<(String, CensusBatch)> {
        while let Some(part) = self.peers.get_mut(node)?.teller.next_part() {
            if self.slice(node, part, local) {
                break;
            }
        }
        let view = self.view;
        let peer = self.peers.get_mut(node)?;
        let batch = peer.teller.next(most, view, peer.heard.is_some())?;
        Some((peer.boot.clone(), batch))
    }

    /// Queues a part of a whole. Returns false if it is no longer to be told.
    pub(super) fn slice(&mut self, node: &Arc<str>, (whole, after): Part, local: &dyn Local) -> bool {
        let (channel, is_own) = match &whole {
            Whole::Own(channel) => (channel.clone(), true),
            Whole::All(channel) => (channel.clone(), false),
        };
        let name = || channel.as_ref().to_owned();
        let step = |step| text(&if is_own { CensusStep::Own(name(), step) } else { CensusStep::All(name(), step) });
        let members: Vec<ChannelMember> = if is_own {
            let own = self.own.get(&channel);
            let (home, is_watched) =
                own.map_or_else(|| (local.home(&channel), false), |own| (own.home.clone(), own.is_watched));
            if home.as_ref() != Some(node) {
                return false;
            }
            if let Some(peer) = self.peers.get_mut(node).filter(|_| after.is_none() && is_watched) {
                peer.teller.push(text(&CensusStep::Watch(name(), true)));
            }
            local.members(&channel, after.as_deref(), SLICE)
        } else {
            let roll = self.rolls.get(&channel);
            let is_told = |roll: &&Roll| roll.watchers.get(node).is_some_and(|one| one.how == Watcher::Told);
            let Some(roll) = roll.filter(is_told) else { return false };
            roll.after(after.as_deref()).take(SLICE).cloned().collect()
        };
        let Some(peer) = self.peers.get_mut(node) else { return false };
        if after.is_none() {
            peer.teller.push(step(MemberStep::Begin));
        }
        for member in &members {
            peer.teller.push(step(MemberStep::Is(CensusMember::from(member))));
        }
        match members.last().filter(|_| members.len() == SLICE) {
            Some(last) => peer.teller.continue_after(whole, last.session.clone()),
            None => peer.teller.push(step(MemberStep::End)),
        }
        true
    }

    /// What has become of a batch for a process of a node.
    pub(super) fn sent(&mut self, node: &Arc<str>, boot: &str, series: u64, is_accepted: bool) {
        let Some(peer) = self.peers.get_mut(node) else { return };
        if peer.boot != boot || peer.teller.series != series {
            return;
        }
        if is_accepted {
            return peer.teller.accepted();
        }
        peer.teller.rest();
        self.tell_again(node);
    }

    /// Takes a batch of another node. Returns whether it was accepted.
    pub(super) fn receive(
        &mut self,
        node: &str,
        boot: &str,
        batch: &CensusBatch,
        now: Instant,
        local: &dyn Local,
    ) -> bool {
        let Some((node, peer)) = self.peers.get_key_value(node).filter(|(_, peer)| peer.boot == boot) else {
            return false;
        };
        let node = node.clone();
        let is_next = match peer.heard {
            Some(heard) if heard.series == batch.series => batch.number == heard.number + 1,
            Some(heard) => batch.number == 1 && batch.series > heard.series,
            None => batch.number == 1,
        };
        let Ok(steps) = serde_json::from_str::<Vec<CensusStep>>(&batch.steps) else { return false };
        if !is_next {
            return false;
        }
        let forgets = !batch.heard && peer.teller.is_accepted();
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.heard = Some(Heard { series: batch.series, number: batch.number });
        }
        for step in steps {
            match step {
                CensusStep::Reset => self.reset(&node, now),
                CensusStep::Done => self.done(&node, now, local),
                CensusStep::Own(channel, step) => self.on_own(&channel.into(), &node, step, now, local),
                CensusStep::All(channel, step) => self.on_all(&channel, &node, step, now, local),
                CensusStep::Elsewhere(channel) => {
                    self.unconfirm(&node, now);
                    self.elsewhere(&channel, &node);
                }
                CensusStep::Watch(channel, is_watched) => self.watch(&channel.into(), &node, is_watched, local),
            }
        }
        if let Some(peer) = self.peers.get_mut(&node).filter(|_| batch.confirms.is_some()) {
            peer.confirmed = batch.confirms;
        }
        if forgets {
            self.tell_again(&node);
        }
        self.settle(now, local);
        true
    }

    /// A node tells everything again.
    pub(super) fn reset(&mut self, node: &Arc<str>, now: Instant) {
        self.unconfirm(node, now);
        for roll in self.rolls.values_mut() {
            roll.begin(node);
            if let Some(watching) = roll.watchers.get_mut(node) {
                watching.is_stale = true;
            }
        }
    }

    /// Waits until a node confirms that it has told everything.
    fn unconfirm(&mut self, node: &str, now: Instant) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.confirmed = None;
            self.unsettled = Some(now);
        }
    }

    /// A node has told everything again.
    pub(super) fn done(&mut self, node: &Arc<str>, now: Instant, local: &dyn Local) {
        let channels: Vec<Arc<str>> = self.rolls.keys().cloned().collect();
        for channel in channels {
            self.on_own(&channel, node, MemberStep::End, now, local);
            if let Some(roll) = self.rolls.get_mut(&channel)
                && roll.watchers.get(node).is_some_and(|watching| watching.is_stale)
            {
                roll.watchers.remove(node);
                self.waiting.remove(&(channel.clone(), node.clone()));
            }
            self.drop_if_unused(&channel);
        }
    }

    /// The number of the last step for a node, and of the last one that it has accepted.
    pub(super) fn progress(&self, node: &str) -> Option<(u64, u64)> {
        self.peers.get(node).map(|peer| (peer.teller.last(), peer.teller.accepted))
    }

    /// The sessions that are known in a channel that this node watches.
    #[cfg(test)]
    pub(super) fn known(&self, channel: &str) -> std::collections::BTreeSet<String> {
        self.replicas.get(channel).map(super::replica::Replica::sessions).unwrap_or_default()
    }
}
