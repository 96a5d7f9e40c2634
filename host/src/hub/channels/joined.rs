//! The channels of one session.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::sync::Mutex;
use crate::call::bounds;

/// The most bytes of what one session says about itself in all its channels together.
const MAX_INFO: usize = 64 << 10;

/// Why a channel is not joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    #[error("the session is subscribed to {max} channels (websocket.socketChannelLimit): unsubscribe from one first")]
    SessionFull { max: u32 },
    #[error("the clients of the host already have {max} subscriptions to channels: retry later")]
    TooManySubscriptions { max: u32 },
    #[error("the host already has {max} channels (hub.topics): retry later")]
    TooMany { max: u32 },
    #[error(
        "what the session says about itself has {bytes} bytes in all channels, the maximum is {MAX_INFO}: send less"
    )]
    TooMuchInfo { bytes: usize },
    #[error("the session has ended")]
    Ended,
}

/// The channels that a session is subscribed to. It changes under the lock of the channel, except
/// when the session ends.
#[derive(Debug)]
pub struct Joined(Mutex<Names>);

#[derive(Debug, Default)]
struct Names {
    /// With the bytes of what the session says about itself there.
    names: BTreeMap<Arc<str>, usize>,
    /// The sum of these bytes.
    info: usize,
    is_ended: bool,
}

impl Names {
    /// `info` is the size of what the session says about itself. Returns the size in all channels.
    fn check(&self, channel: &str, max: u32, info: usize) -> Result<usize, ChannelError> {
        let before = self.names.get(channel);
        let bytes = self.info.saturating_sub(before.copied().unwrap_or_default()).saturating_add(info);
        if self.is_ended {
            Err(ChannelError::Ended)
        } else if self.names.len() >= max as usize && before.is_none() {
            Err(ChannelError::SessionFull { max })
        } else if info > 0 && bytes > MAX_INFO {
            bounds::CHANNEL_INFO.count();
            Err(ChannelError::TooMuchInfo { bytes })
        } else {
            Ok(bytes)
        }
    }
}

impl Joined {
    pub fn new() -> Joined {
        Joined(Mutex::new(Names::default()))
    }

    /// Adds a channel, of at most `max`, or replaces what the session says about itself there.
    /// Returns whether the channel is new.
    pub(super) fn add(&self, channel: &Arc<str>, max: u32, info: usize) -> Result<bool, ChannelError> {
        let mut state = self.0.lock();
        state.info = state.check(channel, max, info)?;
        Ok(state.names.insert(channel.clone(), info).is_none())
    }

    /// Whether a channel could be added now, of at most `max`.
    pub(super) fn check(&self, channel: &str, max: u32, info: usize) -> Result<(), ChannelError> {
        self.0.lock().check(channel, max, info).map(drop)
    }

    pub(super) fn remove(&self, channel: &str) {
        let mut state = self.0.lock();
        let info = state.names.remove(channel).unwrap_or_default();
        state.info = state.info.saturating_sub(info);
    }

    /// Takes all channels. None can be added from then on.
    pub(super) fn end(&self) -> impl Iterator<Item = Arc<str>> + use<> {
        let mut state = self.0.lock();
        (state.is_ended, state.info) = (true, 0);
        std::mem::take(&mut state.names).into_keys()
    }

    pub(super) fn contains(&self, channel: &str) -> bool {
        self.0.lock().names.contains_key(channel)
    }

    /// All channels, sorted.
    #[cfg(test)]
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.0.lock().names.keys().cloned().collect()
    }
}
