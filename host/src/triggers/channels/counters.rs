//! The counters of the routes of channels, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::call::ChannelAction;

/// What routes, or limits, have refused.
#[derive(Debug, Default)]
pub struct Counters {
    /// By the order of [`ChannelAction::ALL`]. For `join` and `leave`, how often the route was not
    /// told, or has failed.
    refused: [AtomicU64; ChannelAction::ALL.len()],
}

impl Counters {
    pub(super) fn count_refused(&self, action: ChannelAction) {
        let index = ChannelAction::ALL.iter().position(|other| *other == action);
        if let Some(counter) = index.and_then(|index| self.refused.get(index)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// How often each action was refused.
    pub fn refused(&self) -> impl Iterator<Item = (ChannelAction, u64)> {
        ChannelAction::ALL.into_iter().zip(&self.refused).map(|(action, count)| (action, count.load(Relaxed)))
    }
}
