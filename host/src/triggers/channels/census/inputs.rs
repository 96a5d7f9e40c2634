//! What the hub has reported and the census has not taken yet.
//!
//! Beyond a number of changes, only the channels that have changed are kept, whose members are then
//! read again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::call::{CensusMember, ChannelMember, MemberStep, bounds};
use crate::hub::MemberReport;

/// The most changes that wait.
pub(super) const MOST_CHANGES: usize = 65_536;

/// A change of the members of this node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) channel: Arc<str>,
    pub(super) step: MemberStep,
    /// The number of members after it.
    pub(super) members: usize,
}

/// What has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) changes: VecDeque<Changed>,
    /// The channels whose members have to be read.
    pub(super) again: HashSet<Arc<str>>,
    /// The channels that are watched now, or no longer.
    pub(super) watched: Vec<(Arc<str>, bool)>,
}

impl Taken {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.again.is_empty() && self.watched.is_empty()
    }
}

#[derive(Default)]
struct Waiting {
    changes: VecDeque<Changed>,
    again: HashSet<Arc<str>>,
    /// How often each channel is watched.
    watched: HashMap<Arc<str>, usize>,
    turned: HashSet<Arc<str>>,
}

#[derive(Default)]
pub(super) struct Inputs {
    waiting: Mutex<Waiting>,
    pub(super) changed: Notify,
}

impl Inputs {
    pub(super) fn report(&self, channel: &Arc<str>, report: &MemberReport<'_>, members: usize) {
        let mut waiting = self.waiting.lock();
        let is = |member: &ChannelMember| MemberStep::Is(CensusMember::from(member));
        let gone = |session: &Arc<str>| MemberStep::Gone(session.as_ref().to_owned());
        if waiting.again.contains(channel) {
            // All its members are told then.
        } else if waiting.changes.len() < MOST_CHANGES {
            let step = match report {
                MemberReport::Is(member) => is(member),
                MemberReport::Gone(session) => gone(session),
                MemberReport::Shown(member) => MemberStep::Quiet(Box::new(is(member))),
                MemberReport::Hidden(session) => MemberStep::Quiet(Box::new(gone(session))),
            };
            waiting.changes.push_back(Changed { channel: channel.clone(), step, members });
        } else {
            bounds::CENSUS_STEPS.count();
            let Waiting { changes, again, .. } = &mut *waiting;
            again.extend(changes.drain(..).map(|changed| changed.channel));
            again.insert(channel.clone());
        }
        drop(waiting);
        self.changed.notify_one();
    }

    pub(super) fn watch(&self, channel: &Arc<str>) {
        let mut waiting = self.waiting.lock();
        *waiting.watched.entry(channel.clone()).or_default() += 1;
        waiting.turned.insert(channel.clone());
        drop(waiting);
        self.changed.notify_one();
    }

    pub(super) fn unwatch(&self, channel: &Arc<str>) {
        let mut waiting = self.waiting.lock();
        if let Some(count) = waiting.watched.get_mut(channel) {
            *count -= 1;
            if *count == 0 {
                waiting.watched.remove(channel);
            }
        }
        waiting.turned.insert(channel.clone());
        drop(waiting);
        self.changed.notify_one();
    }

    /// Takes everything that waits.
    pub(super) fn take(&self) -> Taken {
        let mut waiting = self.waiting.lock();
        let Waiting { changes, again, watched, turned } = &mut *waiting;
        let watched = turned.drain().map(|channel| {
            let is_watched = watched.contains_key(&channel);
            (channel, is_watched)
        });
        Taken { watched: watched.collect(), changes: std::mem::take(changes), again: std::mem::take(again) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_changes_only_the_channels_are_kept() {
        let (inputs, channels) = (Inputs::default(), ["a", "b"].map(Arc::<str>::from));
        let gone = |index: usize| inputs.report(&channels[index % 2], &MemberReport::Gone(&"n/1".into()), index);
        (0..MOST_CHANGES).for_each(gone);
        let taken = inputs.take();
        assert_eq!((taken.changes.len(), taken.again.len()), (MOST_CHANGES, 0));
        let reached = bounds::CENSUS_STEPS.reached();
        (0..=MOST_CHANGES + 5).for_each(gone);
        let taken = inputs.take();
        assert_eq!((taken.changes.len(), taken.again.len()), (0, 2));
        assert!(bounds::CENSUS_STEPS.reached() > reached);
        assert_eq!(inputs.take(), Taken::default());
    }

    #[test]
    fn a_channel_is_watched_until_the_last_one_leaves() {
        let (inputs, channel) = (Inputs::default(), Arc::<str>::from("a"));
        inputs.watch(&channel);
        inputs.watch(&channel);
        inputs.unwatch(&channel);
        assert_eq!(inputs.take().watched, [(channel.clone(), true)]);
        inputs.unwatch(&channel);
        assert_eq!(inputs.take().watched, [(channel, false)]);
    }
}
