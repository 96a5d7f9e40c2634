//! The members of a channel as a node knows them that watches it, and what it announces.
//!
//! Announcements are the differences between what was known and what the home tells. So a home
//! that tells all members again, or a new home, announces nobody who has stayed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::size::size_of;
use crate::call::{ChannelMember, MemberStep};
use crate::hub::{Announced, CROWD, Change, INTERVAL};

struct Known {
    member: ChannelMember,
    is_stale: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Nothing, so that the next list announces nobody.
    Nothing,
    /// All members, if the list is not being told again.
    Members,
    /// Only how many there are.
    Number(usize),
}

pub(super) struct Replica {
    members: HashMap<Arc<str>, Known>,
    bytes: usize,
    what: What,
    /// Whether the present home is telling a list.
    in_list: bool,
    /// Whether the present home has told a list, so that its changes can be applied.
    pub(super) is_listed: bool,
    /// When a number was announced last, and whether it has changed since.
    announced: Option<Instant>,
    is_due: bool,
}

/// Is told what to announce.
pub(super) type Announce<'a> = &'a mut dyn FnMut(Announced<'_>);

impl Replica {
    pub(super) fn new() -> Replica {
        Replica {
            members: HashMap::new(),
            bytes: 0,
            what: What::Nothing,
            in_list: false,
            is_listed: false,
            announced: None,
            is_due: false,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Another node is the home: what it tells counts from its list on.
    pub(super) fn moved(&mut self) {
        (self.is_listed, self.in_list) = (false, false);
    }

    /// Forgets all members, because there is no room.
    pub(super) fn forget(&mut self) {
        *self = Replica { announced: self.announced, ..Replica::new() };
    }

    /// Takes what the home tells. Fails if there is no room for a member.
    pub(super) fn take(
        &mut self,
        step: MemberStep,
        room: usize,
        now: Instant,
        announce: Announce<'_>,
    ) -> Result<(), ()> {
        match step {
            MemberStep::Begin => {
                self.members.values_mut().for_each(|known| known.is_stale = true);
                (self.in_list, self.is_listed) = (true, false);
            }
            MemberStep::Count(count) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX);
                self.members.clear();
                (self.bytes, self.in_list, self.is_listed) = (0, false, true);
                self.what = What::Number(count);
                self.count(count, now, announce);
            }
            _ if !self.in_list && !self.is_listed => {}
            MemberStep::End => {
                let stale = self.members.iter().filter(|(_, known)| known.is_stale);
                let stale: Vec<Arc<str>> = stale.map(|(session, _)| session.clone()).collect();
                stale.iter().for_each(|session| self.remove(session, now, announce));
                let before = std::mem::replace(&mut self.what, What::Members);
                (self.in_list, self.is_listed) = (false, true);
                if let What::Number(count) = before
                    && count != self.members.len()
                {
                    announce(Announced::Count(self.members.len()));
                }
            }
            MemberStep::Is(member) => {
                let member = ChannelMember::from(member);
                let size = size_of(&member);
                if let Some(known) = self.members.get_mut(&member.session) {
                    self.bytes = self.bytes - size_of(&known.member) + size;
                    *known = Known { member, is_stale: false };
                } else if size > room {
                    return Err(());
                } else {
                    self.bytes += size;
                    let known = Known { member: member.clone(), is_stale: false };
                    self.members.insert(member.session.clone(), known);
                    self.change(Change::Join, &member, now, announce);
                }
            }
            MemberStep::Gone(session) => self.remove(&session, now, announce),
            MemberStep::Quiet(step) => {
                if let MemberStep::Is(_) | MemberStep::Gone(_) = *step {
                    return self.take(*step, room, now, &mut |_| {});
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, session: &str, now: Instant, announce: Announce<'_>) {
        if let Some(known) = self.members.remove(session) {
            self.bytes -= size_of(&known.member);
            self.change(Change::Leave, &known.member, now, announce);
        }
    }

    fn change(&mut self, change: Change, member: &ChannelMember, now: Instant, announce: Announce<'_>) {
        if self.what != What::Members {
            return;
        }
        let count = self.members.len();
        if count < CROWD {
            self.is_due = false;
            announce(Announced::Change(change, member, count));
        } else {
            self.count(count, now, announce);
        }
    }

    fn count(&mut self, count: usize, now: Instant, announce: Announce<'_>) {
        if self.announced.is_none_or(|at| now.saturating_duration_since(at) >= INTERVAL) {
            (self.announced, self.is_due) = (Some(now), false);
            announce(Announced::Count(count));
        } else {
            self.is_due = true;
        }
    }

    /// Announces the number if it has changed since it was announced last, but not too often.
    pub(super) fn tick(&mut self, now: Instant, announce: Announce<'_>) {
        if !self.is_due {
            return;
        }
        let count = match self.what {
            What::Number(count) => count,
            What::Members | What::Nothing => self.members.len(),
        };
        self.count(count, now, announce);
    }

    #[cfg(test)]
    pub(super) fn sessions(&self) -> std::collections::BTreeSet<String> {
        self.members.keys().map(|session| session.as_ref().to_owned()).collect()
    }
}
