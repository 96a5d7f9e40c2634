//! The port to the channels that have their home on this node.

use super::BoxFuture;
use crate::call::{CallError, ChannelAnswer, ChannelRequest};

/// The channels that have their home on this node.
pub trait HomeChannels: Send + Sync {
    /// Answers a request of another node. What it asks for is queued before this returns.
    fn answer(&self, request: ChannelRequest) -> BoxFuture<Result<ChannelAnswer, CallError>>;

    /// Tells the homes of all channels which places this node has given as their home before, and
    /// resolves when they know.
    fn settle(&self) -> BoxFuture<()>;
}
