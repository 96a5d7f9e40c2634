//! Listeners inside the host.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::all::Channels;
use super::channel::{Channel, ChannelListener};
use super::joined::ChannelError;
use super::map::Map;

/// A listener gets messages until this is dropped.
pub struct Listening {
    channels: Arc<Channels>,
    channel: Arc<Channel>,
    id: u64,
}

impl Channels {
    /// Adds a listener inside the host, until the result is dropped.
    pub fn listen(
        self: &Arc<Channels>,
        name: &str,
        listener: Arc<dyn ChannelListener>,
    ) -> Result<Listening, ChannelError> {
        let id = self.next_listener.fetch_add(1, Relaxed);
        let listening = self.with(name, Map::get_or_make_room, |channel, state| {
            state.listeners.push((id, listener));
            Listening { channels: self.clone(), channel: channel.clone(), id }
        });
        listening.ok_or_else(|| self.refuse())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.channel.state.lock();
        let was_idle = state.is_idle();
        let index = state.listeners.iter().position(|(id, _)| *id == self.id);
        let listener = index.map(|index| state.listeners.remove(index));
        self.channels.map.shards.note_use(self.channel.shard, !was_idle, !state.is_idle());
        self.channels.follow(&self.channel, &mut state);
        let is_unused = state.is_unused();
        drop(state);
        // Dropping it can run any code.
        drop(listener);
        if is_unused {
            self.channels.remove_if_unused(&self.channel);
        }
    }
}
