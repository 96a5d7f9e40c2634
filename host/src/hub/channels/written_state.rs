//! What the home of a channel knows of its history in the stream of the cluster.

/// What this node knows of a channel's history in the stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Written {
    /// Nothing.
    #[default]
    Unread,
    /// Another node may have written since this one has read it.
    Doubtful,
    /// All of it. The last record has this place in the stream.
    Read(u64),
}
