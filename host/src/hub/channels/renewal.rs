//! Channels that begin anew.

use super::super::ring::Ring;
use super::channel::State;
use crate::hub::epoch::epoch;

/// Begins an epoch after all that this node knows of the channel, `seen` among them.
pub fn renew(state: &mut State, seen: u64) {
    state.ring.clear();
    state.ring = Ring::default();
    (state.epoch, state.last) = (epoch().max(state.epoch.max(seen).saturating_add(1)), 0);
}
