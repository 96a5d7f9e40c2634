//! Messages about which a route decides for each member (`deliver`).
//!
//! They have their place before the route is asked. The caller of [`Channels::place`] asks it, and
//! then sends the message to each member with [`Channels::deliver`]. Messages of other nodes are
//! told to a function, because these arrive one after the other, and must not wait.

use std::sync::Arc;

use super::super::frame::Frame;
use super::super::inbox::Wakers;
use super::super::sessions::Session;
use super::all::{Channels, Published};
use super::channel::{Channel, State};
use super::joined::ChannelError;
use super::map::Map;
use super::placed::{Added, Placed};
use crate::call::{ChannelPlace, Payload};

impl Channels {
    /// Sets what is told the messages of other nodes in channels whose route decides for each
    /// member. It is called under the lock of the channel, and must not use the hub. If it returns
    /// false, the members have missed a message, and are cut. Only the first call has an effect.
    pub fn deliver_with(&self, deliver: impl Fn(&Arc<str>, Placed) -> bool + Send + Sync + 'static) {
        _ = self.deliver.set(Box::new(deliver));
    }

    /// Gives a message the next place, keeps it, and queues it for all listeners. The caller sends
    /// it to the members with [`Channels::deliver`], before it places the next message. Fails as
    /// [`Channels::publish`] does.
    pub fn place(&self, name: &str, message: Published<'_>) -> Result<Placed, ChannelError> {
        let placed = self.put(name, message, |_, state, added| Placed::new(state.members.sessions(), added));
        self.namespace.memory.evict();
        Ok(placed?.unwrap_or_else(Placed::nothing))
    }

    /// Like [`Channels::place`], on the home of the channel: the message has a place even if nobody
    /// listens here.
    pub fn place_at_home(&self, name: &str, message: Published<'_>) -> Result<(Placed, ChannelPlace), ChannelError> {
        let placed = self.put_in(name, message, Map::get_or_add, |_, state, added| {
            state.is_shared = true;
            let place = ChannelPlace { position: state.position(), at: state.last_at };
            (Placed::new(state.members.sessions(), added), place)
        });
        self.namespace.memory.evict();
        placed.ok_or_else(|| self.refuse())
    }

    /// Sends a message that has its place to a member that is still subscribed. `payload` replaces
    /// that of the message for this member only.
    pub fn deliver(&self, session: &Session, placed: &Placed, payload: Option<Payload>) {
        let Some(Added { message, frame }) = &placed.added else { return };
        if !session.joined.contains(&message.channel) {
            return;
        }
        let changed = |payload| Arc::new(Frame::new(Arc::new(message.with(payload)), &self.namespace.memory, false));
        let frame = payload.map_or_else(|| frame.clone(), changed);
        self.namespace.push(&session.addressee(), &frame);
    }

    /// Sends a message to all members, or tells it if a route decides for each of them. The caller
    /// holds the lock of the channel.
    pub(super) fn pass_on(&self, channel: &Channel, state: &mut State, added: Added, wakers: &mut Wakers) {
        if !state.settings.is_for_each {
            return self.send(channel, state, &added.frame, wakers);
        }
        let placed = Placed::new(state.members.sessions(), added);
        let members = placed.members.clone();
        if !self.deliver.get().is_some_and(|deliver| deliver(&channel.name, placed)) {
            members.iter().for_each(|session| self.namespace.cut(&session.addressee(), wakers));
        }
    }
}
