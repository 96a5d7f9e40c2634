//! Channels whose messages get their places on one node of the cluster, their home.

use std::sync::{Arc, Weak};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::actor::Actor;
use super::after::After;
use super::backend::{StartedCall, moves, unsure};
use super::lines::Kind;
use super::routed::{Rule, decision};
use super::service::{ChannelService, Request};
use crate::call::channel::{self, MOST_OF_PAGE};
use crate::call::{
    CallError, ChannelAction, ChannelAnswer, ChannelAsk, ChannelHome, ChannelPage, ChannelPosition, ChannelRequest,
    HomeCall, Outcome, Passed, Payload,
};
use crate::ports::HomeChannels;

/// The channels that have their home on this node, for other nodes.
pub struct Homes(pub Weak<ChannelService>);

/// Is told the position of a message, or why it is refused.
type Done = Box<dyn FnOnce(Result<Option<ChannelPosition>, CallError>) + Send>;

fn ready<T: Send + 'static>(result: Result<T, CallError>) -> BoxFuture<'static, Result<T, CallError>> {
    Box::pin(std::future::ready(result))
}

/// The error of an answer that belongs to another request.
fn unexpected() -> CallError {
    CallError::Crashed("the home of the channel has answered something else".to_owned())
}

impl ChannelService {
    /// The other node that gives the messages of a channel their places. `None` if this one does.
    pub(super) fn elsewhere(&self, channel: &str, rule: &Rule) -> Result<Option<Arc<str>>, CallError> {
        match self.topics.is_alone() || !rule.has_home() {
            true => Ok(None),
            false => self.other_home(channel),
        }
    }

    /// The other node whose broker runs the route of a channel. `None` if this node does.
    fn routed_elsewhere(&self, channel: &str) -> Result<Option<Arc<str>>, CallError> {
        match self.topics.is_alone() {
            true => Ok(None),
            false => self.other_home(channel),
        }
    }

    /// Fails unless this node may give a message its place now.
    pub(super) fn is_still_home(&self, channel: &str) -> Result<(), CallError> {
        if !self.topics.is_sure() {
            return Err(unsure(channel));
        }
        match self.other_home(channel)? {
            None => Ok(()),
            Some(_) => Err(moves(channel)),
        }
    }

    fn other_home(&self, channel: &str) -> Result<Option<Arc<str>>, CallError> {
        match self.backend.home(channel)? {
            Some(ChannelHome::Own) => Ok(None),
            Some(ChannelHome::Node(node)) => Ok(Some(node)),
            None => Err(moves(channel)),
        }
    }

    /// Publishes a message on the home of its channel, in the order of these calls.
    pub(super) fn publish_at(
        self: &Arc<Self>,
        node: Arc<str>,
        channel: &Arc<str>,
        (rule, payload): (Rule, Payload),
        actor: &Actor,
        done: impl FnOnce(Result<Option<ChannelPosition>, CallError>) + Send + 'static,
    ) {
        if actor.is_remote() {
            return done(Err(moves(channel)));
        }
        let bytes = payload.len();
        let call = actor.home_call(channel, ChannelAsk::Publish { seen: self.hub.channels.seen(channel) }, payload);
        let ask = move |service: &ChannelService, done: Done| {
            let published = service.backend.ask_home(&node, call).map(|answer| match answer? {
                ChannelAnswer::Published(position) => Ok(position),
                ChannelAnswer::Allowed(_) | ChannelAnswer::Page(_) => Err(unexpected()),
            });
            let mut published = published.boxed();
            match (&mut published).now_or_never() {
                Some(published) => done(published),
                None => _ = service.runtime.spawn(async move { done(published.await) }),
            }
        };
        let is_new = self.hub.channels.is_unknown(channel);
        if !self.lines.is_busy(channel) && !is_new {
            return ask(self, Box::new(done));
        }
        // What waits in the line, such as the subscription of the same client, comes first.
        match self.lines.place(channel, &rule.module(), Kind::Request, bytes, None) {
            Ok(place) => {
                let service = self.clone();
                let channel = channel.clone();
                let step = async move {
                    // Clients here that are subscribed receive it.
                    service.until_followed(&channel).await;
                    ask(&service, Box::new(done));
                };
                place.enter(None, Box::pin(step));
            }
            Err(error) => {
                self.counters.count_refused(ChannelAction::Publish);
                done(Err(error));
            }
        }
    }

    /// Queues the question whether the route of a channel allows an action, in the home of the
    /// channel. `None` if that is this node.
    pub(super) fn ask_elsewhere(
        &self,
        request: &Request<'_>,
        sent: &Payload,
    ) -> Result<Option<StartedCall>, CallError> {
        let Request { channel, action, actor, .. } = request;
        let Some(node) = self.routed_elsewhere(channel)? else { return Ok(None) };
        if actor.is_remote() {
            return Err(moves(channel));
        }
        let call = actor.home_call(channel, ChannelAsk::Allow(*action), sent.clone());
        Ok(Some(self.ask_at(&node, call)))
    }

    fn ask_at(&self, node: &str, call: HomeCall) -> StartedCall {
        let outcome = self.backend.ask_home(node, call).map(|answer| match answer? {
            ChannelAnswer::Allowed(payload) => Ok(Outcome::Pass(Passed { payload, ..Passed::default() })),
            ChannelAnswer::Published(_) | ChannelAnswer::Page(_) => Err(unexpected()),
        });
        StartedCall { runtime: self.runtime.clone(), outcome: outcome.boxed() }
    }

    /// Queues a call of a channel's route about a session of this node: here if this node has the
    /// module, so that the route can use the session, else in the home of the channel.
    pub(super) fn ask_about(
        &self,
        rule: &Rule,
        module: &Arc<str>,
        actor: &Actor,
        (action, session): (ChannelAction, &Arc<str>),
        payload: Payload,
    ) -> Result<StartedCall, CallError> {
        let session = Some(session.clone());
        if !self.topics.is_alone() && !self.backend.has(module) {
            let node = self.other_home(&rule.subject)?.ok_or_else(|| moves(&rule.subject))?;
            let call = actor.home_call(&rule.subject, ChannelAsk::Allow(action), payload);
            return Ok(self.ask_at(&node, HomeCall { session, ..call }));
        }
        self.backend.call(actor.call(module, &rule.subject, action, session, payload))
    }

    /// Reads the history of a channel on its home.
    pub(super) fn history_at(
        &self,
        node: &str,
        channel: &Arc<str>,
        ask: ChannelAsk,
        actor: &Actor,
    ) -> BoxFuture<'static, Result<ChannelPage, CallError>> {
        let answer = self.backend.ask_home(node, actor.home_call(channel, ask, Payload::None));
        let page = answer.map(|answer| match answer? {
            ChannelAnswer::Page(page) => Ok(page),
            ChannelAnswer::Published(_) | ChannelAnswer::Allowed(_) => Err(unexpected()),
        });
        page.boxed()
    }

    /// Answers another node that takes this one for the home of a channel.
    fn answer(self: &Arc<Self>, request: ChannelRequest) -> BoxFuture<'static, Result<ChannelAnswer, CallError>> {
        let ChannelRequest { envelope, channel, session, ask, payload } = request;
        if !channel::accepts(&channel) {
            return ready(Err(CallError::Invalid("the name of a channel is invalid".to_owned())));
        }
        let channel: Arc<str> = channel.into();
        match self.backend.home(&channel) {
            Ok(Some(ChannelHome::Own)) => {}
            Ok(Some(ChannelHome::Node(_)) | None) => return ready(Err(moves(&channel))),
            Err(error) => return ready(Err(error)),
        }
        let parent = self.backend.caller_of(&envelope);
        let actor = Actor::remote(envelope, parent, session.map(Into::into));
        let keeps = self.rule(&channel, &actor).is_ok_and(|rule| rule.settings.is_in_cluster());
        match ask {
            ChannelAsk::Publish { seen } => {
                if let Some(seen) = seen.filter(|_| !keeps) {
                    self.hub.channels.saw(&channel, seen);
                }
                let (done, published) = oneshot::channel();
                let done = move |result| _ = done.send(result);
                self.publish_seen(&channel, payload, actor, seen.unwrap_or_default(), done);
                Box::pin(async move {
                    let published = published.await.unwrap_or_else(|_| Err(CallError::stopping()));
                    published.map(ChannelAnswer::Published)
                })
            }
            // Nothing waits for what the route decides about one session.
            ChannelAsk::Allow(action @ (ChannelAction::Deliver | ChannelAction::Join | ChannelAction::Leave)) => {
                let started = self.rule(&channel, &actor).and_then(|rule| match rule.asks(action) {
                    Some(module) => {
                        let call = actor.call(module, &rule.subject, action, actor.session.clone(), payload);
                        self.backend.call(call).map(Some)
                    }
                    None => Ok(None),
                });
                Box::pin(async move {
                    match started? {
                        Some(started) => decision(started.outcome.await).map(ChannelAnswer::Allowed),
                        None => Ok(ChannelAnswer::Allowed(None)),
                    }
                })
            }
            ChannelAsk::Allow(action) => {
                let (done, allowed) = oneshot::channel();
                match self.rule(&channel, &actor) {
                    Ok(rule) => {
                        let request = Request { channel: &channel, rule, action, actor, bytes: payload.len() };
                        self.run(request, payload, move |_, decided| {
                            _ = done.send(decided);
                            After::Nothing
                        });
                    }
                    Err(error) => return ready(Err(error)),
                }
                Box::pin(async move {
                    let allowed = allowed.await.unwrap_or_else(|_| Err(CallError::stopping()));
                    allowed.map(ChannelAnswer::Allowed)
                })
            }
            ChannelAsk::History { after, most, max_bytes } if keeps => {
                let service = self.clone();
                Box::pin(async move {
                    let page = service.kept_history(&channel, after, most.min(MOST_OF_PAGE), max_bytes, &actor);
                    page.await.map(ChannelAnswer::Page)
                })
            }
            ChannelAsk::Missed { after, max_bytes } if keeps => {
                let service = self.clone();
                Box::pin(async move {
                    service.until_read(&channel, after, true).await?;
                    let most = after.map_or(0, |_| MOST_OF_PAGE);
                    service.whole_history(&channel, after, most, max_bytes).await.map(ChannelAnswer::Page)
                })
            }
            ChannelAsk::History { after, most, max_bytes } => {
                let page = self.own_history(&channel, after, most.min(MOST_OF_PAGE), max_bytes, &actor);
                ready(page.map(ChannelAnswer::Page))
            }
            ChannelAsk::Missed { after, max_bytes } => {
                let most = after.map_or(0, |_| MOST_OF_PAGE);
                self.hub.channels.saw(&channel, after.map_or(0, |after| after.epoch));
                let page = self.hub.channels.history(&channel, after, most, max_bytes);
                let none = ChannelPage { epoch: 0, messages: Vec::new(), latest: 0, complete: false };
                ready(Ok(ChannelAnswer::Page(page.unwrap_or(none))))
            }
        }
    }
}

impl HomeChannels for Homes {
    fn answer(&self, request: ChannelRequest) -> crate::ports::BoxFuture<Result<ChannelAnswer, CallError>> {
        match self.0.upgrade() {
            Some(service) => service.answer(request),
            None => Box::pin(std::future::ready(Err(CallError::stopping()))),
        }
    }

    fn settle(&self) -> crate::ports::BoxFuture<()> {
        let service = self.0.upgrade();
        Box::pin(async move {
            if let Some(service) = service {
                service.settle_all().await;
            }
        })
    }
}
