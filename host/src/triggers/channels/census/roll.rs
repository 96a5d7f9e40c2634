//! The members of one channel on all nodes, as its home has them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::time::Instant;

use super::size::size_of;
use crate::call::session::node_of;
use crate::call::{CensusMember, CensusPage, ChannelMember, MemberStep};
use crate::hub::CROWD;

/// With more members, nodes that watch are told their number only. They announce each member only
/// up to [`CROWD`]: so a number that changes around one of the two limits costs little.
pub(super) const MOST_TOLD: usize = 2 * CROWD;

/// How a node that watches the channel is told its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watcher {
    /// Once all nodes have told theirs.
    Waits,
    /// Each change is told.
    Told,
    /// The number is told, and whether it has changed since.
    Counted { is_due: bool },
}

#[derive(Debug)]
pub(super) struct Entry {
    member: ChannelMember,
    /// Whether the node has begun to tell its members again, and not this one.
    is_stale: bool,
}

#[derive(Debug)]
pub(super) struct Watching {
    pub(super) how: Watcher,
    pub(super) is_stale: bool,
}

#[derive(Debug, Default)]
pub(super) struct Roll {
    nodes: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Entry>>,
    pub(super) watchers: BTreeMap<Arc<str>, Watching>,
    pub(super) count: usize,
    /// What the members count in a list.
    bytes: u64,
    /// The nodes whose members are not here, because they have seen another home.
    pub(super) missing: BTreeSet<Arc<str>>,
    /// Whether nodes that watch have to be told all members again.
    pub(super) is_incomplete: bool,
    /// The memory of the members.
    pub(super) memory: usize,
    /// Since when another node is the home.
    pub(super) elsewhere: Option<Instant>,
}

/// What one member counts in a list: see [`ListSize`](crate::call::ListSize).
fn listed(member: &ChannelMember) -> u64 {
    let length = |text: &Option<Arc<str>>| text.as_deref().map_or(0, str::len);
    (member.session.len() + length(&member.uid) + length(&member.info) + 32) as u64
}

impl Roll {
    pub(super) fn new(elsewhere: Option<Instant>) -> Roll {
        Roll { elsewhere, ..Roll::default() }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.count == 0 && self.watchers.is_empty() && self.missing.is_empty()
    }

    /// A session of a node is a member. Returns what that changes, and by how much the memory
    /// grows. Fails if a new member needs more than `room`.
    pub(super) fn is(
        &mut self,
        node: &Arc<str>,
        member: ChannelMember,
        room: usize,
    ) -> Result<Option<(MemberStep, usize, usize)>, ()> {
        let size = size_of(&member);
        if let Some(entry) = self.nodes.get_mut(node).and_then(|of| of.get_mut(&member.session)) {
            entry.is_stale = false;
            if entry.member == member {
                return Ok(None);
            }
            let freed = size_of(&entry.member);
            self.memory = (self.memory + size).saturating_sub(freed);
            self.bytes = self.bytes.saturating_sub(listed(&entry.member)) + listed(&member);
            let step = MemberStep::Is(CensusMember::from(&member));
            entry.member = member;
            return Ok(Some((step, size, freed)));
        }
        if size > room {
            return Err(());
        }
        let step = MemberStep::Is(CensusMember::from(&member));
        self.count += 1;
        self.memory += size;
        self.bytes += listed(&member);
        let session = member.session.clone();
        self.nodes.entry(node.clone()).or_default().insert(session, Entry { member, is_stale: false });
        Ok(Some((step, size, 0)))
    }

    /// A session of a node is no member. Returns what that frees.
    pub(super) fn gone(&mut self, node: &str, session: &str) -> Option<(MemberStep, usize)> {
        let of = self.nodes.get_mut(node)?;
        let entry = of.remove(session)?;
        if of.is_empty() {
            self.nodes.remove(node);
        }
        self.count -= 1;
        self.memory = self.memory.saturating_sub(size_of(&entry.member));
        self.bytes = self.bytes.saturating_sub(listed(&entry.member));
        Some((MemberStep::Gone(session.to_owned()), size_of(&entry.member)))
    }

    /// A node tells its members again.
    pub(super) fn begin(&mut self, node: &str) {
        if let Some(of) = self.nodes.get_mut(node) {
            of.values_mut().for_each(|entry| entry.is_stale = true);
        }
    }

    /// The members of a node that it has not told again.
    pub(super) fn stale(&self, node: &str) -> Vec<Arc<str>> {
        let of = self.nodes.get(node).into_iter().flatten();
        of.filter(|(_, entry)| entry.is_stale).map(|(session, _)| session.clone()).collect()
    }

    /// The members of a node.
    pub(super) fn of_node(&self, node: &str) -> Vec<Arc<str>> {
        self.nodes.get(node).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// The members after a session, sorted by node and session.
    pub(super) fn after<'a>(&'a self, session: Option<&'a str>) -> impl Iterator<Item = &'a ChannelMember> {
        let node = session.map(|session| node_of(session).unwrap_or_default());
        let rest = node.and_then(|node| self.nodes.get(node)).zip(session);
        let rest = rest.into_iter().flat_map(|(of, session)| of.range::<str, _>((Excluded(session), Unbounded)));
        let further = match node {
            Some(node) => self.nodes.range::<str, _>((Excluded(node), Unbounded)),
            None => self.nodes.range::<str, _>((Unbounded, Unbounded)),
        };
        let further = further.flat_map(|(_, of)| of);
        rest.chain(further).map(|(_, entry)| &entry.member)
    }

    /// A part of the list, of at most this many bytes as JSON, but of one member at least.
    pub(super) fn page(&self, after: Option<&str>, most: usize) -> CensusPage {
        let mut page = CensusPage { members: self.count, bytes: self.bytes, ..CensusPage::default() };
        let mut bytes = 0;
        for member in self.after(after) {
            let member = CensusMember::from(member);
            bytes += serde_json::to_string(&member).map_or(0, |text| text.len() + 1);
            if bytes > most && !page.page.is_empty() {
                page.more = true;
                break;
            }
            page.page.push(member);
        }
        page
    }
}
