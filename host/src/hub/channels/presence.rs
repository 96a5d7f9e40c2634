//! Announces the members that join and leave a channel, on a channel of their own.
//!
//! They are published under the lock of the channel, so that their order is that of the changes.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::inbox::Wakers;
use super::all::{Channels, Published};
use super::channel::{Channel, State};
use super::crowd::{CROWD, Change, INTERVAL};
use crate::call::channel::PRESENCE;
use crate::call::session::client_id;
use crate::call::{ChannelMember, Payload};

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

impl Channels {
    /// Announces that a member has joined or left. The caller holds the lock of the channel, which
    /// already counts the change.
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
        let count = state.members.len();
        if count < CROWD {
            state.crowd.is_due = false;
            let info = member.info.as_deref().and_then(|info| RawValue::from_string(info.to_owned()).ok());
            let who = Who { id: client_id(&member.session), uid: member.uid.as_deref(), info };
            let announcement = Announcement { action: Some(change), member: Some(who), count };
            self.tell(channel, state, &announcement, wakers);
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
            let announcement = Announcement { action: None, member: None, count: state.members.len() };
            self.tell(channel, state, &announcement, wakers);
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

    fn tell(&self, channel: &Channel, state: &State, announcement: &Announcement<'_>, wakers: &mut Wakers) {
        let Some(to) = self.map.get(&format!("{PRESENCE}{}", channel.name)) else { return };
        let mut to_state = to.state.lock();
        // These are plain values, which are always JSON.
        let Ok(payload) = Payload::json(announcement) else { return };
        if !to_state.is_removed {
            let (settings, now) = (state.settings, Instant::now());
            to.apply(&mut to_state, &settings, now);
            let placed = self.add(&to, &mut to_state, Published { payload, session: None, settings: &settings }, now);
            self.send(&to, &mut to_state, &placed.frame, wakers);
        }
    }
}
