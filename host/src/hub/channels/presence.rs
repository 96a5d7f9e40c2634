//! Announces the members that join and leave a channel, on a channel of their own.
//!
//! They are published under the lock of the channel, so that their order is that of the changes. In
//! a cluster the home of the channel knows the members of all nodes: then the changes of this node
//! are reported, under the same lock, and a part above the hub announces those of all nodes.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::inbox::Wakers;
use super::all::{Channels, Published};
use super::channel::{Channel, State};
use super::crowd::{CROWD, Change, INTERVAL};
use super::map::Map;
use super::members::Members;
use super::reports::{MemberReport, Report};
use crate::call::channel::PRESENCE;
use crate::call::session::client_id;
use crate::call::{ChannelMember, ChannelSettings, Payload};

#[derive(Serialize)]
struct Announcement<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<Who<'a>>,
    count: usize,
}

#[derive(Serialize)]
struct Who<'a> {
    /// The part of the session's id that clients know.
    id: &'a str,
    uid: Option<&'a str>,
    info: Option<Box<RawValue>>,
}

/// What is announced about the members of a channel.
#[derive(Debug, Clone, Copy)]
pub enum Announced<'a> {
    /// A member has joined or left. The number is that of the members afterwards.
    Change(Change, &'a ChannelMember, usize),
    /// There are many members: only their number.
    Count(usize),
}

impl<'a> Announcement<'a> {
    fn of_change(change: Change, member: &'a ChannelMember, count: usize) -> Announcement<'a> {
        let info = member.info.as_deref().and_then(|info| RawValue::from_string(info.to_owned()).ok());
        let who = Who { id: client_id(&member.session), uid: member.uid.as_deref(), info };
        Announcement { action: Some(change), member: Some(who), count }
    }

    fn of_count(count: usize) -> Announcement<'a> {
        Announcement { action: None, member: None, count }
    }
}

impl Channels {
    /// Announces a change of the members of all nodes on this one.
    pub fn announce_here(&self, channel: &str, what: Announced<'_>) {
        let announcement = match what {
            Announced::Change(change, member, count) => Announcement::of_change(change, member, count),
            Announced::Count(count) => Announcement::of_count(count),
        };
        let mut wakers = Wakers::default();
        let _order = self.namespace.order.read();
        self.tell(channel, None, &announcement, &mut wakers);
    }

    /// Announces that a member has joined or left, or reports it. The caller holds the lock of the
    /// channel, which already counts the change.
    pub(super) fn announce(
        &self,
        channel: &Arc<Channel>,
        state: &mut State,
        change: Change,
        member: &ChannelMember,
        wakers: &mut Wakers,
    ) {
        if !state.settings.presence {
            return;
        }
        let what = match change {
            Change::Join => MemberReport::Is(member),
            Change::Leave => MemberReport::Gone(&member.session),
        };
        if self.report(channel, state, &what) {
            return;
        }
        let count = state.members.len();
        if count < CROWD {
            state.crowd.is_due = false;
            let announcement = Announcement::of_change(change, member, count);
            self.tell(&channel.name, Some(&state.settings), &announcement, wakers);
        } else {
            state.crowd.is_due = true;
            self.tell_count(channel, state, Instant::now(), wakers);
        }
    }

    /// Announces the number of members that has changed, unless it was announced just before: then
    /// the sweep does it.
    fn tell_count(&self, channel: &Arc<Channel>, state: &mut State, now: Instant, wakers: &mut Wakers) {
        if !state.crowd.is_due {
            return;
        }
        if state.crowd.announced.is_none_or(|at| now.saturating_duration_since(at) >= INTERVAL) {
            (state.crowd.announced, state.crowd.is_due) = (Some(now), false);
            let announcement = Announcement::of_count(state.members.len());
            self.tell(&channel.name, Some(&state.settings), &announcement, wakers);
        } else if !std::mem::replace(&mut state.crowd.is_listed, true) {
            self.due.lock().push(channel.clone());
        }
    }

    /// Announces the numbers that changed after they were announced last. Returns whether some are
    /// still to be announced.
    pub(super) fn tell_due(&self, now: Instant) -> bool {
        let due = std::mem::take(&mut *self.due.lock());
        for channel in due {
            let mut wakers = Wakers::default();
            let _order = self.namespace.order.read();
            let mut state = channel.state.lock();
            state.crowd.is_listed = false;
            if !state.is_removed {
                self.tell_count(&channel, &mut state, now, &mut wakers);
            }
        }
        !self.due.lock().is_empty()
    }

    /// Publishes an announcement. Without settings, those of the channel that announces stay.
    fn tell(&self, channel: &str, settings: Option<&ChannelSettings>, what: &Announcement<'_>, wakers: &mut Wakers) {
        let Some(to) = self.map.get(&format!("{PRESENCE}{channel}")) else { return };
        let mut to_state = to.state.lock();
        // These are plain values, which are always JSON.
        let Ok(payload) = Payload::json(what) else { return };
        if !to_state.is_removed {
            let now = Instant::now();
            if let Some(settings) = settings {
                to.apply(&mut to_state, settings, now);
            }
            let settings = to_state.settings;
            let placed = self.add(&to, &mut to_state, Published { payload, session: None, settings: &settings }, now);
            self.send(&to, &mut to_state, &placed.frame, wakers);
        }
    }

    /// Sets what is told the changes of members, which this part then does not announce. Only the
    /// first call has an effect.
    pub fn report_with(&self, report: Report) {
        _ = self.report.set(report);
    }

    /// Replaces the settings of a channel. The caller holds its lock.
    pub(super) fn apply(&self, channel: &Channel, state: &mut State, settings: &ChannelSettings, now: Instant) {
        let had_presence = state.settings.presence;
        channel.apply(state, settings, now);
        if state.settings.presence == had_presence || self.report.get().is_none() {
            return;
        }
        for member in state.members.facts() {
            let what = match had_presence {
                false => MemberReport::Shown(&member),
                true => MemberReport::Hidden(&member.session),
            };
            self.report(channel, state, &what);
        }
    }

    /// Reports a change, if somebody wants reports. Returns whether somebody does. The caller holds
    /// the lock of the channel.
    pub(super) fn report(&self, channel: &Channel, state: &State, what: &MemberReport<'_>) -> bool {
        let Some(report) = self.report.get() else { return false };
        let members = if state.settings.presence { state.members.len() } else { 0 };
        report(&channel.name, what, members);
        true
    }

    /// Up to `most` members of a channel with presence after a session, sorted by their ids.
    pub fn members_after(&self, channel: &str, after: Option<&str>, most: usize) -> Vec<ChannelMember> {
        let members = self.with(channel, Map::get, |_, state| match state.settings.presence {
            true => of(&state.members, after, most),
            false => Vec::new(),
        });
        members.unwrap_or_default()
    }
}

fn of(members: &Members, after: Option<&str>, most: usize) -> Vec<ChannelMember> {
    let facts = members.facts().into_iter().filter(|member| after.is_none_or(|after| *member.session > *after));
    facts.take(most).collect()
}
