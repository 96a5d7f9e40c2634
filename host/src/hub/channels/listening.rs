//! Listeners inside the host.

use std::sync::Arc;

use super::Channels;
use super::channel::Channel;
use crate::call::{ChannelMessage, ChannelPosition};

/// Gets every message of a channel. It is called under the lock of the channel: it must not block,
/// nor use the hub.
pub trait ChannelListener: Send + Sync {
    /// The position is `None` if the channel keeps no history.
    fn message(&self, channel: &Arc<str>, message: &ChannelMessage, position: Option<ChannelPosition>);
}

/// A listener gets messages until this is dropped.
pub struct Listening {
    pub(super) channels: Arc<Channels>,
    pub(super) channel: Arc<Channel>,
    pub(super) id: u64,
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut state = self.channel.state.lock();
        let index = state.listeners.iter().position(|(id, _)| *id == self.id);
        let listener = index.map(|index| state.listeners.remove(index));
        let is_unused = state.is_unused();
        drop(state);
        // Dropping it can run any code.
        drop(listener);
        if is_unused {
            self.channels.remove_if_unused(&self.channel);
        }
    }
}
