//! The channels of one session.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::sync::Mutex;

/// Why a channel is not joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    #[error("the session is subscribed to {max} channels (websocket.socketChannelLimit): unsubscribe from one first")]
    SessionFull { max: u32 },
    #[error("the host already has {max} channels (hub.topics): retry later")]
    TooMany { max: u32 },
    #[error("the session has ended")]
    Ended,
}

/// The channels that a session is subscribed to. It changes under the lock of the channel, except
/// when the session ends.
#[derive(Debug)]
pub struct Joined(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    names: BTreeSet<Arc<str>>,
    is_ended: bool,
}

impl Names {
    fn check(&self, channel: &str, max: u32) -> Result<(), ChannelError> {
        if self.is_ended {
            return Err(ChannelError::Ended);
        }
        if self.names.len() >= max as usize && !self.names.contains(channel) {
            return Err(ChannelError::SessionFull { max });
        }
        Ok(())
    }
}

impl Joined {
    pub fn new() -> Joined {
        Joined(Mutex::new(Names::default()))
    }

    /// Adds a channel, of at most `max`. Returns whether it is new.
    pub(super) fn add(&self, channel: &Arc<str>, max: u32) -> Result<bool, ChannelError> {
        let mut state = self.0.lock();
        state.check(channel, max)?;
        Ok(state.names.insert(channel.clone()))
    }

    /// Whether a channel could be added now, of at most `max`.
    pub(super) fn check(&self, channel: &str, max: u32) -> Result<(), ChannelError> {
        self.0.lock().check(channel, max)
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
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.0.lock().names.iter().cloned().collect()
    }
}
