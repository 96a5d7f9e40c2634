//! The port to channels.

use super::{BoxFuture, Caller};
use crate::call::{CallError, ChannelMember, ChannelPage, ChannelPosition, Payload, RouteName};

/// The functions of channels for the imports `channels`, `channels-await` and `channels-blocking`.
///
/// The imports have checked the name of the channel, the size of the payload, and the capabilities
/// of the caller ([`ChannelCaller`](super::ChannelCaller)). Functions that need a session return
/// `not-found` if there is no session with this id.
pub trait Channels: Send + Sync {
    /// Publishes a message, and waits until it has its place or is refused. The message is queued
    /// before this returns, and continues if the caller drops the future. The position is `None` if
    /// the channel keeps no history. `awaited` says whether the caller waits: only such a message
    /// has the deadline of the caller, and must not wait for the caller's own call.
    fn publish(
        &self,
        from: Caller,
        channel: String,
        payload: Payload,
        awaited: bool,
    ) -> Result<BoxFuture<Result<Option<ChannelPosition>, CallError>>, CallError>;

    /// Lets a route of the caller receive every message of a channel. Returns the name of the
    /// subscription.
    fn subscribe(&self, from: Caller, channel: String, route: RouteName) -> Result<String, CallError>;

    fn unsubscribe(&self, from: Caller, subscription: String) -> Result<(), CallError>;

    /// Subscribes a client without asking the route of the channel.
    fn add(&self, from: Caller, channel: String, session: String) -> Result<(), CallError>;

    /// Ends the subscription of a client.
    fn kick_out(&self, from: Caller, channel: String, session: String, message: String) -> Result<(), CallError>;

    /// Returns the number of subscribed clients of this node.
    fn count(&self, channel: &str) -> u32;

    /// Returns up to `most` kept messages after a position, or the newest ones. No channel has the
    /// epoch 0.
    fn history(
        &self,
        from: Caller,
        channel: String,
        after: Option<ChannelPosition>,
        most: usize,
    ) -> BoxFuture<Result<ChannelPage, CallError>>;

    /// Returns the members of a channel with presence.
    fn members(&self, from: Caller, channel: String) -> BoxFuture<Result<Vec<ChannelMember>, CallError>>;
}

/// The port of a host that serves no clients.
#[derive(Debug, Clone, Copy)]
pub struct NoChannels;

impl Channels for NoChannels {
    fn publish(
        &self,
        _: Caller,
        _: String,
        _: Payload,
        _: bool,
    ) -> Result<BoxFuture<Result<Option<ChannelPosition>, CallError>>, CallError> {
        Err(unavailable())
    }

    fn subscribe(&self, _: Caller, _: String, _: RouteName) -> Result<String, CallError> {
        Err(unavailable())
    }

    fn unsubscribe(&self, _: Caller, _: String) -> Result<(), CallError> {
        Err(unavailable())
    }

    fn add(&self, _: Caller, _: String, _: String) -> Result<(), CallError> {
        Err(unavailable())
    }

    fn kick_out(&self, _: Caller, _: String, _: String, _: String) -> Result<(), CallError> {
        Err(unavailable())
    }

    fn count(&self, _: &str) -> u32 {
        0
    }

    fn history(
        &self,
        _: Caller,
        _: String,
        _: Option<ChannelPosition>,
        _: usize,
    ) -> BoxFuture<Result<ChannelPage, CallError>> {
        Box::pin(std::future::ready(Err(unavailable())))
    }

    fn members(&self, _: Caller, _: String) -> BoxFuture<Result<Vec<ChannelMember>, CallError>> {
        Box::pin(std::future::ready(Err(unavailable())))
    }
}

fn unavailable() -> CallError {
    CallError::Unavailable("this host only inspects modules and serves no channels".to_owned())
}
