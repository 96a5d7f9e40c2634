//! Who the members of a channel are.

use std::sync::Arc;

use super::all::Channels;
use super::map::Map;
use crate::call::ChannelMember;
use crate::call::channel::ListSize;

impl Channels {
    /// The members of a channel, sorted by the ids of their sessions. Fails with the size of the
    /// list if it is longer than `most`.
    pub fn members(&self, name: &str, most: &ListSize) -> Result<Vec<ChannelMember>, ListSize> {
        let listed = self.with(name, Map::get, |_, state| {
            let size = state.members.size();
            if size.fits(most) { Ok(state.members.facts()) } else { Err(size) }
        });
        listed.unwrap_or_else(|| Ok(Vec::new()))
    }

    /// The members of a channel as JSON, as clients get them, in the order in which they connected.
    /// Fails with the size of the list if it is longer than `most`.
    pub fn members_as_json(&self, name: &str, most: &ListSize) -> Result<Arc<str>, ListSize> {
        let listed = self.with(name, Map::get, |channel, state| {
            let size = state.members.size();
            if size.fits(most) { Ok(self.lists.json(channel.id, &state.members)) } else { Err(size) }
        });
        listed.unwrap_or_else(|| Ok("[]".into()))
    }
}
