//! The history and the members of a channel.

use std::sync::Arc;

use super::actor::Actor;
use super::after::After;
use super::routed::Rule;
use super::service::{ChannelService, Request};
use crate::call::channel::ListSize;
use crate::call::text::{NAME, line};
use crate::call::{
    CallError, ChannelAction, ChannelAsk, ChannelMember, ChannelPage, ChannelPosition, ChannelSettings, Payload, bounds,
};
use crate::hub::list_as_json;
use crate::ports::BoxFuture;

impl ChannelService {
    /// Whether a client without a session may read the history of a channel: `done` is told the
    /// settings of the channel if its route for subscriptions allows it.
    pub fn admit(
        self: &Arc<Self>,
        channel: &Arc<str>,
        actor: Actor,
        done: impl FnOnce(Result<ChannelSettings, CallError>) + Send + 'static,
    ) {
        let rule = match self.rule(channel, &actor) {
            Ok(rule) => rule,
            Err(error) => return done(Err(error)),
        };
        let settings = rule.settings;
        let request = Request { channel, rule, action: ChannelAction::Subscribe, actor, bytes: 0 };
        self.run(request, Payload::None, move |_, decided| {
            done(decided.map(|_| settings));
            After::Nothing
        });
    }

    /// Returns kept messages of a channel, on its home. Fails for clients if the route of the
    /// channel changes messages for each client, because the history has them unchanged.
    pub fn history(
        &self,
        channel: &Arc<str>,
        after: Option<ChannelPosition>,
        most: usize,
        max_bytes: u64,
        actor: &Actor,
    ) -> BoxFuture<Result<ChannelPage, CallError>> {
        let elsewhere = self.rule(channel, actor).and_then(|rule| match rule.settings.count {
            0 => Ok(None),
            _ => self.elsewhere(channel, &rule),
        });
        match elsewhere {
            Ok(Some(node)) => self.history_at(&node, channel, ChannelAsk::History { after, most, max_bytes }, actor),
            Ok(None) if self.keeps(channel, actor) => {
                let (service, channel, actor) = (self.me.clone(), channel.clone(), actor.clone());
                Box::pin(async move {
                    let service = service.upgrade().ok_or_else(CallError::stopping)?;
                    service.kept_history(&channel, after, most, max_bytes, &actor).await
                })
            }
            Ok(None) => Box::pin(std::future::ready(self.own_history(channel, after, most, max_bytes, actor))),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    /// Whether the cluster keeps the history of a channel.
    fn keeps(&self, channel: &Arc<str>, actor: &Actor) -> bool {
        self.rule(channel, actor).is_ok_and(|rule| rule.settings.is_in_cluster())
    }

    /// The history of a channel that the cluster keeps, on its home.
    pub(super) async fn kept_history(
        &self,
        channel: &Arc<str>,
        after: Option<ChannelPosition>,
        most: usize,
        max_bytes: u64,
        actor: &Actor,
    ) -> Result<ChannelPage, CallError> {
        self.history_rule(channel, actor)?;
        self.until_read(channel, after, false).await?;
        self.whole_history(channel, after, most, max_bytes).await
    }

    /// The history that this node keeps in memory.
    pub(super) fn own_history(
        &self,
        channel: &Arc<str>,
        after: Option<ChannelPosition>,
        most: usize,
        max_bytes: u64,
        actor: &Actor,
    ) -> Result<ChannelPage, CallError> {
        let none = || ChannelPage { epoch: 0, messages: Vec::new(), latest: 0, complete: false };
        if self.history_rule(channel, actor)?.settings.count == 0 {
            return Ok(none());
        }
        let kept = || self.hub.channels.history(channel, after, most, max_bytes);
        // It may begin meanwhile.
        let page = kept().or_else(|| self.hub.channels.first_page(channel, after)).or_else(kept);
        Ok(page.unwrap_or_else(|| ChannelPage { complete: after.is_none(), ..none() }))
    }

    /// The rule of a channel whose history an actor may read.
    fn history_rule(&self, channel: &Arc<str>, actor: &Actor) -> Result<Rule, CallError> {
        let rule = self.rule(channel, actor)?;
        if actor.is_client() && rule.asks(ChannelAction::Deliver).is_some() {
            return Err(CallError::Invalid(format!(
                "the history of {} is not for clients: its route decides for each of them (`deliver`)",
                line(channel, NAME)
            )));
        }
        Ok(rule)
    }

    /// Returns the members of a channel with presence, on all nodes. Fails if their list is longer
    /// than `most`.
    pub fn members(
        &self,
        channel: &Arc<str>,
        most: ListSize,
        actor: &Actor,
    ) -> BoxFuture<Result<Vec<ChannelMember>, CallError>> {
        let listed = self.has_list(channel, actor).map(|()| match &self.census {
            Some(census) => Err(census.clone()),
            None => Ok(self.hub.channels.members(channel, &most)),
        });
        let channel = channel.clone();
        Box::pin(async move {
            let listed = match listed? {
                Ok(listed) => listed,
                Err(census) => census.members(&channel, &most).await?,
            };
            listed.map_err(|size| too_long(&channel, size, &most))
        })
    }

    /// Returns the members of a channel with presence as JSON for clients. Fails if their list is
    /// longer than `most`.
    pub fn members_as_json(
        &self,
        channel: &Arc<str>,
        most: ListSize,
        actor: &Actor,
    ) -> BoxFuture<Result<Arc<str>, CallError>> {
        if self.census.is_some() {
            let members = self.members(channel, most, actor);
            return Box::pin(async move { Ok(list_as_json(&members.await?)) });
        }
        let listed = self.has_list(channel, actor).and_then(|()| {
            let listed = self.hub.channels.members_as_json(channel, &most);
            listed.map_err(|size| too_long(channel, size, &most))
        });
        Box::pin(std::future::ready(listed))
    }

    fn has_list(&self, channel: &Arc<str>, actor: &Actor) -> Result<(), CallError> {
        if self.rule(channel, actor)?.settings.presence {
            return Ok(());
        }
        let channel = line(channel, NAME);
        Err(CallError::Invalid(format!("{channel} has no list of members: declare it with `presence`")))
    }
}

fn too_long(channel: &str, size: ListSize, most: &ListSize) -> CallError {
    bounds::CHANNEL_MEMBERS.count();
    CallError::Overloaded(format!(
        "{} has {} members of {} bytes, and a list has at most {} of {} bytes: use their number, or let them say less \
         about themselves",
        line(channel, NAME),
        size.members,
        size.bytes,
        most.members,
        most.bytes
    ))
}
