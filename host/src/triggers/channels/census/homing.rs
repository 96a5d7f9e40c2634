//! The channels that have their home on this node, and what nodes that watch are told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::roll::{MOST_TOLD, Roll, Watcher, Watching};
use super::state::{Local, State};
use super::teller::Whole;
use crate::call::{CensusMember, CensusPage, CensusStep, ChannelMember, MemberStep, bounds};
use crate::hub::CROWD;

/// For how many times its patience a node keeps the members of a channel after its home has moved.
pub(super) const KEPT_FOR: u32 = 10;

impl State {
    /// A node tells about its members in a channel whose home is here.
    pub(super) fn on_own(
        &mut self,
        channel: &Arc<str>,
        node: &Arc<str>,
        step: MemberStep,
        now: Instant,
        local: &dyn Local,
    ) {
        let (step, is_quiet) = match step {
            MemberStep::Quiet(step) => (*step, true),
            step => (step, false),
        };
        let told = |step| if is_quiet { MemberStep::Quiet(Box::new(step)) } else { step };
        match step {
            MemberStep::Begin => {
                if let Some(roll) = self.rolls.get_mut(channel) {
                    roll.begin(node);
                    roll.is_incomplete |= roll.missing.remove(node);
                }
            }
            MemberStep::End => {
                let stale = self.rolls.get(channel).map(|roll| roll.stale(node)).unwrap_or_default();
                stale.iter().for_each(|session| self.gone(channel, node, session, now, local));
                self.complete(channel, node);
                self.drop_if_unused(channel);
            }
            MemberStep::Is(member) => {
                // The members of this node are in its memory anyway.
                let room = if *node == self.own_id { usize::MAX } else { self.room() };
                match self.roll(channel, now, local).is(node, member.into(), room) {
                    Ok(Some((step, more, less))) => {
                        self.bytes = self.bytes.saturating_add(more).saturating_sub(less);
                        self.tell_watchers(channel, &told(step), now, local);
                    }
                    Ok(None) => {}
                    Err(()) => {
                        bounds::CENSUS_MEMBERS.count();
                        if let Some(peer) = self.peers.get_mut(node) {
                            peer.is_short = true;
                        }
                        self.drop_if_unused(channel);
                    }
                }
            }
            MemberStep::Gone(session) => {
                if let Some(step) = self.strike(channel, node, &session) {
                    self.tell_watchers(channel, &told(step), now, local);
                }
                self.drop_if_unused(channel);
            }
            MemberStep::Count(_) | MemberStep::Quiet(_) => {}
        }
    }

    /// A node has told its members in a channel. If they were missing, those that watch are told
    /// all members again.
    fn complete(&mut self, channel: &Arc<str>, node: &str) {
        let Some(roll) = self.rolls.get_mut(channel) else { return };
        if !roll.missing.remove(node) && !std::mem::take(&mut roll.is_incomplete) {
            return;
        }
        for (node, watching) in &mut roll.watchers {
            watching.how = Watcher::Waits;
            self.waiting.insert((channel.clone(), node.clone()));
        }
    }

    /// A node sees another home of a channel. Its members are still members, so nobody is told.
    pub(super) fn elsewhere(&mut self, channel: &str, node: &Arc<str>) {
        let Some((channel, roll)) = self.rolls.get_key_value(channel) else { return };
        let (channel, sessions) = (channel.clone(), roll.of_node(node));
        if let Some(roll) = self.rolls.get_mut(&channel) {
            roll.watchers.remove(node);
            if !sessions.is_empty() && roll.elsewhere.is_none() {
                roll.missing.insert(node.clone());
            }
            for (_, freed) in sessions.iter().filter_map(|session| roll.gone(node, session)) {
                self.bytes = self.bytes.saturating_sub(freed);
            }
        }
        self.waiting.remove(&(channel.clone(), node.clone()));
        self.drop_if_unused(&channel);
    }

    pub(super) fn gone(&mut self, channel: &Arc<str>, node: &str, session: &str, now: Instant, local: &dyn Local) {
        if let Some(step) = self.strike(channel, node, session) {
            self.tell_watchers(channel, &step, now, local);
        }
    }

    /// Removes a session. Returns what that changes.
    fn strike(&mut self, channel: &Arc<str>, node: &str, session: &str) -> Option<MemberStep> {
        let (step, freed) = self.rolls.get_mut(channel)?.gone(node, session)?;
        self.bytes = self.bytes.saturating_sub(freed);
        Some(step)
    }

    pub(super) fn drop_if_unused(&mut self, channel: &str) {
        if self.rolls.get(channel).is_some_and(Roll::is_unused) {
            self.rolls.remove(channel);
        }
    }

    /// Tells a change to the nodes that watch.
    pub(super) fn tell_watchers(&mut self, channel: &Arc<str>, step: &MemberStep, now: Instant, local: &dyn Local) {
        let Some(roll) = self.rolls.get_mut(channel) else { return };
        let (count, mut told, mut counted) = (roll.count, Vec::new(), Vec::new());
        for (node, watching) in &mut roll.watchers {
            match &mut watching.how {
                Watcher::Told if count > MOST_TOLD => {
                    watching.how = Watcher::Counted { is_due: false };
                    counted.push(node.clone());
                }
                Watcher::Told => told.push(node.clone()),
                Watcher::Counted { .. } if count < CROWD => {
                    watching.how = Watcher::Waits;
                    self.waiting.insert((channel.clone(), node.clone()));
                }
                Watcher::Counted { is_due } => *is_due = true,
                Watcher::Waits => {}
            }
        }
        let number = MemberStep::Count(count as u64);
        for (nodes, step) in [(told, step), (counted, &number)] {
            for node in nodes {
                self.tell_watcher(channel, &node, step.clone(), now, local);
            }
        }
    }

    pub(super) fn tell_watcher(
        &mut self,
        channel: &Arc<str>,
        node: &Arc<str>,
        step: MemberStep,
        now: Instant,
        local: &dyn Local,
    ) {
        match *node == self.own_id {
            true => self.on_all(channel, node, step, now, local),
            false => self.push(node, &CensusStep::All(channel.as_ref().to_owned(), step)),
        }
    }

    /// A node watches a channel whose home is here, or no longer does.
    pub(super) fn watch(&mut self, channel: &Arc<str>, node: &Arc<str>, is_watched: bool, local: &dyn Local) {
        if !is_watched {
            if let Some(roll) = self.rolls.get_mut(channel) {
                roll.watchers.remove(node);
            }
            self.waiting.remove(&(channel.clone(), node.clone()));
            return self.drop_if_unused(channel);
        }
        let now = Instant::now();
        self.roll(channel, now, local).watchers.insert(node.clone(), Watching { how: Watcher::Waits, is_stale: false });
        self.waiting.insert((channel.clone(), node.clone()));
        self.settle(now, local);
    }

    pub(super) fn roll(&mut self, channel: &Arc<str>, now: Instant, local: &dyn Local) -> &mut Roll {
        let is_here = || local.home(channel).is_some_and(|home| home == self.own_id);
        self.rolls.entry(channel.clone()).or_insert_with(|| Roll::new((!is_here()).then_some(now)))
    }

    /// Whether all nodes have told what follows from the nodes as this one sees them.
    pub(super) fn is_settled(&self) -> bool {
        self.unsettled.is_none()
    }

    /// Once all nodes have told theirs, tells the members of all to those that wait for that.
    pub(super) fn settle(&mut self, now: Instant, local: &dyn Local) {
        if self.peers.values().all(|peer| peer.confirmed == Some(self.view)) {
            self.unsettled = None;
        }
        if self.is_settled() {
            self.list_to_all(now, local);
        }
    }

    pub(super) fn list_to_all(&mut self, now: Instant, local: &dyn Local) {
        // The homes of some rolls may follow from nodes that this state has not seen yet.
        if self.waiting.is_empty() || local.view() != self.view {
            return;
        }
        for (channel, node) in std::mem::take(&mut self.waiting) {
            let Some(roll) = self.rolls.get_mut(&channel) else { continue };
            if roll.elsewhere.is_some() {
                // The node sees the home here sooner, or longer, than this one does.
                self.waiting.insert((channel, node));
                continue;
            }
            let count = roll.count;
            let Some(watching) = roll.watchers.get_mut(&node) else { continue };
            if count > MOST_TOLD {
                watching.how = Watcher::Counted { is_due: false };
                self.tell_watcher(&channel, &node, MemberStep::Count(count as u64), now, local);
                continue;
            }
            watching.how = Watcher::Told;
            if node != self.own_id {
                if let Some(peer) = self.peers.get_mut(&node) {
                    peer.teller.push_whole(Whole::All(channel));
                }
                continue;
            }
            let members: Vec<ChannelMember> = roll.after(None).cloned().collect();
            self.on_all(&channel, &node, MemberStep::Begin, now, local);
            for member in &members {
                self.on_all(&channel, &node, MemberStep::Is(CensusMember::from(member)), now, local);
            }
            self.on_all(&channel, &node, MemberStep::End, now, local);
        }
    }

    /// The home of a channel tells about the members of all nodes.
    pub(super) fn on_all(&mut self, channel: &str, node: &Arc<str>, step: MemberStep, now: Instant, local: &dyn Local) {
        let room = self.room();
        let is_home = self.own.get(channel).is_some_and(|own| own.home.as_ref() == Some(node));
        let Some(replica) = self.replicas.get_mut(channel).filter(|_| is_home) else { return };
        let before = replica.bytes();
        let taken = replica.take(step, room, now, &mut |what| local.announce(channel, what));
        if taken.is_err() {
            bounds::CENSUS_MEMBERS.count();
            replica.forget();
        }
        self.bytes = (self.bytes + replica.bytes()).saturating_sub(before);
    }

    /// What happens from time to time. `patience` is how long this node waits for what others tell.
    pub(super) fn tick(&mut self, now: Instant, patience: Duration, local: &dyn Local) {
        if self.unsettled.is_some_and(|since| now.saturating_duration_since(since) > patience) {
            self.unsettled = None;
        }
        self.peers.values_mut().for_each(|peer| peer.teller.awake());
        self.settle(now, local);
        for (channel, replica) in &mut self.replicas {
            replica.tick(now, &mut |what| local.announce(channel, what));
        }
    }

    /// What happens every second or so.
    pub(super) fn sweep(&mut self, now: Instant, patience: Duration, local: &dyn Local) {
        let mut counts = Vec::new();
        let mut dropped = Vec::new();
        for (channel, roll) in &mut self.rolls {
            if roll.elsewhere.is_some_and(|since| now.saturating_duration_since(since) > patience * KEPT_FOR) {
                dropped.push(channel.clone());
            }
            for (node, watching) in &mut roll.watchers {
                if watching.how == (Watcher::Counted { is_due: true }) {
                    watching.how = Watcher::Counted { is_due: false };
                    counts.push((channel.clone(), node.clone(), roll.count));
                }
            }
        }
        for (channel, node, count) in counts {
            self.tell_watcher(&channel, &node, MemberStep::Count(count as u64), now, local);
        }
        for channel in dropped {
            if let Some(roll) = self.rolls.remove(&channel) {
                self.bytes = self.bytes.saturating_sub(roll.memory);
                self.has_dropped = true;
            }
        }
        if self.bytes < self.most_bytes / 10 * 9 {
            let short = self.peers.iter().filter(|(_, peer)| peer.is_short);
            let short: Vec<Arc<str>> = short.map(|(node, _)| node.clone()).collect();
            short.iter().for_each(|node| self.hear_again(node));
        }
    }

    /// A part of the members of a channel. `None` if this node is not its home, or does not know
    /// all of them yet.
    pub(super) fn page(
        &self,
        channel: &str,
        after: Option<&str>,
        most: usize,
        local: &dyn Local,
    ) -> Option<CensusPage> {
        let is_here = local.home(channel).is_some_and(|home| home == self.own_id);
        if !is_here || !self.is_settled() || local.view() != self.view {
            return None;
        }
        Some(self.rolls.get(channel).map(|roll| roll.page(after, most)).unwrap_or_default())
    }

    /// Whether the members of a channel that this node watches are known.
    pub(super) fn is_listed(&self, channel: &str) -> bool {
        self.replicas.get(channel).is_none_or(|replica| replica.is_listed)
    }
}
