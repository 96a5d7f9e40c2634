//! The channels as guests use them.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::actor::Actor;
use super::service::ChannelService;
use crate::call::channel::{BYTES_OF_PAGE, LONGEST_LIST};
use crate::call::{CallError, ChannelMember, ChannelPage, ChannelPosition, Payload, RouteName};
use crate::ports::{self, BoxFuture, Caller};
use crate::triggers::subscriptions::Subscriptions;

/// The port to the channels of a host.
pub struct ChannelPort {
    service: Arc<ChannelService>,
    subscriptions: Arc<Subscriptions>,
}

impl ChannelPort {
    pub fn new(service: Arc<ChannelService>, subscriptions: Arc<Subscriptions>) -> ChannelPort {
        ChannelPort { service, subscriptions }
    }
}

fn ready<T: Send + 'static>(result: Result<T, CallError>) -> BoxFuture<Result<T, CallError>> {
    Box::pin(std::future::ready(result))
}

impl ports::Channels for ChannelPort {
    fn publish(
        &self,
        from: Caller,
        channel: String,
        payload: Payload,
        awaited: bool,
    ) -> Result<BoxFuture<Result<Option<ChannelPosition>, CallError>>, CallError> {
        let (done, mut published) = oneshot::channel();
        let actor = Actor::guest(from, awaited);
        self.service.publish(&channel.into(), payload, actor, move |result| {
            // A guest that does not wait has dropped the receiver.
            _ = done.send(result);
        });
        // What was refused at once is the result of functions that do not wait, too.
        match published.try_recv() {
            Ok(result) => result.map(|position| ready(Ok(position))),
            Err(_) => Ok(Box::pin(async move { published.await.unwrap_or_else(|_| Err(CallError::stopping())) })),
        }
    }

    fn subscribe(&self, from: Caller, channel: String, route: RouteName) -> Result<String, CallError> {
        self.subscriptions.subscribe_channel(&from, &channel, route)
    }

    fn unsubscribe(&self, from: Caller, subscription: String) -> Result<(), CallError> {
        self.subscriptions.unsubscribe_channel(&from, &subscription)
    }

    fn add(&self, from: Caller, channel: String, session: String) -> Result<(), CallError> {
        self.service.add(&channel.into(), &session, Actor::guest(from, false))
    }

    fn kick_out(&self, from: Caller, channel: String, session: String, message: String) -> Result<(), CallError> {
        self.service.kick_out(&channel.into(), &session, &message, Actor::guest(from, false)).map(drop)
    }

    fn count(&self, channel: &str) -> u32 {
        self.service.hub.channels.count(channel)
    }

    fn history(
        &self,
        from: Caller,
        channel: String,
        after: Option<ChannelPosition>,
        most: usize,
    ) -> BoxFuture<Result<ChannelPage, CallError>> {
        let actor = Actor::guest(from, true);
        self.service.history(&channel.into(), after, most, BYTES_OF_PAGE, &actor)
    }

    fn members(&self, from: Caller, channel: String) -> BoxFuture<Result<Vec<ChannelMember>, CallError>> {
        self.service.members(&channel.into(), LONGEST_LIST, &Actor::guest(from, true))
    }
}
