//! The calls after an action on a channel: the route decides for each member about a message, or is
//! told about a member.
//!
//! The next message of a line waits for `deliver`, so that each member receives messages in order,
//! whatever the calls change. The history keeps the original, and therefore clients cannot read it.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;

use super::actor::Actor;
use super::after::After;
use super::lines::Kind;
use super::routed::{Rule, decision};
use super::service::ChannelService;
use crate::call::{CallError, ChannelAction, Payload};
use crate::hub::{Placed, Session};

/// The calls of `deliver` for one message that run at the same time.
const DELIVERIES: usize = 64;

impl ChannelService {
    pub(super) async fn follow(self: &Arc<Self>, channel: &Arc<str>, rule: Rule, actor: Actor, after: After) {
        match after {
            After::Nothing => {}
            After::Deliver(placed) => self.deliver(&rule, &actor, &placed).await,
            After::Tell(action, session) => self.tell_next(channel, rule, actor, action, session),
        }
    }

    /// Asks the route for each member about a message, and sends it to those that it allows. The
    /// calls start in the order of the members.
    async fn deliver(&self, rule: &Rule, actor: &Actor, placed: &Placed) {
        let asked = placed.members.clone().into_iter().map(|session| {
            let payload = placed.payload().cloned().unwrap_or_default();
            let about = (ChannelAction::Deliver, &session.id);
            let started = rule
                .asks(ChannelAction::Deliver)
                .map(|module| self.ask_about(rule, module, actor, about, payload))
                .transpose();
            async move {
                match started {
                    Ok(Some(started)) => (session, decision(started.outcome.await)),
                    // The route no longer decides about it.
                    Ok(None) => (session, Ok(None)),
                    Err(error) => (session, Err(error)),
                }
            }
        });
        let mut decided = stream::iter(asked).buffered(DELIVERIES);
        while let Some((session, decided)) = decided.next().await {
            match decided {
                Ok(changed) => self.hub.channels.deliver(&session, placed, changed),
                Err(error) => {
                    self.counters.count_refused(ChannelAction::Deliver);
                    tracing::debug!(session = %session.id, channel = %rule.subject, %error, "a message is withheld");
                }
            }
        }
    }

    /// Asks the route for each member about a message of another node, after all that waits in the
    /// line. Returns false if too much waits there.
    pub(super) fn deliver_later(self: &Arc<Self>, channel: &Arc<str>, placed: Placed) -> bool {
        let actor = Actor::publisher(placed.publisher().cloned());
        // A module that is gone decides about nothing, so that nobody gets the message.
        let Ok(rule) = self.rule(channel, &actor) else { return true };
        let bytes = placed.payload().map_or(0, Payload::len);
        match self.lines.place(channel, &rule.module(), Kind::Notice, bytes, None) {
            Ok(place) => {
                let service = self.clone();
                place.enter(None, Box::pin(async move { service.deliver(&rule, &actor, &placed).await }));
                true
            }
            Err(error) => {
                self.counters.count_refused(ChannelAction::Deliver);
                tracing::debug!(%channel, %error, "the members of a channel have missed a message");
                false
            }
        }
    }

    /// Tells the route about a member, after all others that it is to be told about. Nothing else
    /// waits for that, because the route decides nothing. So one that takes long delays no message.
    fn tell_next(
        self: &Arc<Self>,
        channel: &Arc<str>,
        rule: Rule,
        actor: Actor,
        action: ChannelAction,
        session: Arc<str>,
    ) {
        if rule.asks(action).is_none() {
            return;
        }
        match self.notices.place(channel, &rule.module(), Kind::Notice, 0, None) {
            Ok(place) => {
                let service = self.clone();
                place.enter(None, Box::pin(async move { service.tell(&rule, &actor, action, session).await }));
            }
            Err(error) => self.is_not_told(channel, action, &session, &error),
        }
    }

    fn is_not_told(&self, channel: &str, action: ChannelAction, session: &str, error: &CallError) {
        self.counters.count_refused(action);
        tracing::debug!(%session, %channel, %error, "the route of a channel is not told");
    }

    /// Tells the route about a member.
    async fn tell(&self, rule: &Rule, actor: &Actor, action: ChannelAction, session: Arc<str>) {
        let Some(module) = rule.asks(action) else { return };
        let told = match self.ask_about(rule, module, actor, (action, &session), Payload::None) {
            Ok(started) => started.outcome.await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            self.counters.count_refused(action);
            tracing::debug!(%session, channel = %rule.subject, action = action.as_str(), %error, "the route of a channel failed");
        }
    }

    /// Tells the route about a member that nobody has asked about. Its requests that still wait in
    /// the line come first.
    pub(super) fn tell_later(
        self: &Arc<Self>,
        channel: &Arc<str>,
        action: ChannelAction,
        session: &Session,
        actor: Actor,
    ) {
        let Ok(rule) = self.rule(channel, &actor) else { return };
        if rule.asks(action).is_none() {
            return;
        }
        match self.lines.place(channel, &rule.module(), Kind::Notice, 0, None) {
            Ok(place) => {
                let (service, channel, session) = (self.clone(), channel.clone(), session.id.clone());
                let tell = async move { service.tell_next(&channel, rule, actor, action, session) };
                place.enter(None, Box::pin(tell));
            }
            Err(error) => self.is_not_told(channel, action, &session.id, &error),
        }
    }

    /// A session has ended, and with it its subscriptions.
    pub(super) fn has_left(self: &Arc<Self>, session: &Arc<Session>, channels: &[Arc<str>]) {
        for channel in channels {
            self.tell_later(channel, ChannelAction::Leave, session, Actor::ended(session));
        }
    }
}
