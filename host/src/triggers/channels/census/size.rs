//! The memory of members.

use std::sync::Arc;

use crate::call::ChannelMember;

/// The memory of a member besides its texts.
const MEMBER: usize = 256;

/// The memory that a member needs.
pub(super) fn size_of(member: &ChannelMember) -> usize {
    let length = |text: &Option<Arc<str>>| text.as_deref().map_or(0, str::len);
    member.session.len() + length(&member.uid) + length(&member.info) + MEMBER
}
