//! What follows an action on a channel.

use std::sync::Arc;

use crate::call::ChannelAction;
use crate::hub::Placed;

/// What follows an action, before the next step of the channel.
pub(super) enum After {
    Nothing,
    /// The route decides for each member about a message.
    Deliver(Placed),
    /// The route is told about a member. The next step does not wait for that.
    Tell(ChannelAction, Arc<str>),
}
