//! The channels of one session.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::sync::Mutex;
use super::ChannelError;

/// The channels that a session is subscribed to. It changes under the lock of the channel, except
/// when the session ends.
#[derive(Debug)]
pub struct Joined(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    names: BTreeSet<Arc<str>>,
    is_ended: bool,
}

impl Joined {
    pub fn new() -> Joined {
        Joined(Mutex::new(Names::default()))
    }

    /// Adds a channel, of at most `max`. Returns whether it is new.
    pub(super) fn add(&self, channel: &Arc<str>, max: u32) -> Result<bool, ChannelError> {
        let mut state = self.0.lock();
        if state.is_ended {
            return Err(ChannelError::Ended);
        }
        if state.names.contains(channel) {
            return Ok(false);
        }
        if state.names.len() >= max as usize {
            return Err(ChannelError::SessionFull { max });
        }
        Ok(state.names.insert(channel.clone()))
    }

    pub(super) fn remove(&self, channel: &str) {
        self.0.lock().names.remove(channel);
    }

    /// Takes all channels. None can be added from then on.
    pub(super) fn end(&self) -> BTreeSet<Arc<str>> {
        let mut state = self.0.lock();
        state.is_ended = true;
        std::mem::take(&mut state.names)
    }

    pub(super) fn contains(&self, channel: &str) -> bool {
        self.0.lock().names.contains(channel)
    }

    /// All channels, sorted.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.0.lock().names.iter().cloned().collect()
    }
}
