//! Reports of the members of this node, for the part that knows those of all nodes.

use std::sync::Arc;

use crate::call::ChannelMember;

/// A change of the members of a channel with presence on this node.
#[derive(Debug, Clone, Copy)]
pub enum MemberReport<'a> {
    /// A session is a member, with what is known of it now.
    Is(&'a ChannelMember),
    /// The session with this id is no member any more.
    Gone(&'a Arc<str>),
    /// The channel has presence now, and this session was a member before.
    Shown(&'a ChannelMember),
    /// The channel has no presence any more, and the session with this id stays in it.
    Hidden(&'a Arc<str>),
}

/// Is told each change, with the number of members on this node after it, under the lock of the
/// channel: it must not block, nor use the hub.
pub type Report = Box<dyn Fn(&Arc<str>, &MemberReport<'_>, usize) + Send + Sync>;
