//! The channels of a node: each action asks the route of the channel if there is one, and then acts
//! on the hub.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use super::actor::Actor;
use super::after::After;
use super::backend::{ChannelBackend, StartedCall};
use super::census::{Census, CensusTotals};
use super::counters::Counters;
use super::keeping::Keeping;
use super::lines::{Kind, Lines, Place};
use super::routed::{Rule, decision};
use crate::call::channel::announced;
use crate::call::text::{NAME, line};
use crate::call::{CallError, ChannelAction, ChannelPosition, ChannelSettings, Payload, TopicKind, bounds};
use crate::hub::{ChannelError, Hub, Published, Reach, Session};
use crate::ports::Topics;
use crate::ports::channel_caller::may_be_published;
use crate::triggers::websocket::kicked_out;

/// The most bytes of what a member says about itself.
const MAX_INFO: usize = 4_096;

/// The channels whose homes are asked for what is missing at the same time.
const MENDS: usize = 64;

/// The channels of a node.
pub struct ChannelService {
    pub hub: Arc<Hub>,
    pub(super) backend: Arc<dyn ChannelBackend>,
    pub(super) lines: Arc<Lines>,
    /// What routes are told about members, for each channel one after the other.
    pub(super) notices: Arc<Lines>,
    /// Whether clients may only use channels that a module declares.
    only_declared: bool,
    pub(super) counters: Counters,
    /// The channels of other nodes.
    pub(super) topics: Arc<dyn Topics>,
    /// The members on all nodes of a cluster.
    pub(super) census: Option<Arc<Census>>,
    pub runtime: Handle,
    /// The histories that the cluster keeps.
    pub(super) keeping: Keeping,
    /// Limits the channels whose homes are asked for what is missing.
    pub(super) mends: Semaphore,
    /// The tasks that tell homes what this node knows of their channels.
    pub(super) telling: watch::Sender<usize>,
    pub(super) me: Weak<ChannelService>,
}

/// Why a client is not subscribed, or still is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The route refuses, or cannot be asked.
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Hub(#[from] ChannelError),
    #[error("the session is not subscribed to this channel")]
    NotSubscribed,
}

impl From<Refusal> for CallError {
    fn from(refusal: Refusal) -> CallError {
        match refusal {
            Refusal::Call(error) => error,
            Refusal::Hub(error @ ChannelError::TooMuchInfo { .. }) => CallError::Invalid(error.to_string()),
            Refusal::Hub(error @ ChannelError::Ended) => CallError::NotFound(error.to_string()),
            Refusal::Hub(error) => CallError::Overloaded(error.to_string()),
            Refusal::NotSubscribed => CallError::NotFound(refusal.to_string()),
        }
    }
}

/// An action of someone on a channel.
pub(super) struct Request<'a> {
    pub channel: &'a Arc<str>,
    pub rule: Rule,
    pub action: ChannelAction,
    pub actor: Actor,
    /// The size of the message.
    pub bytes: usize,
}

impl ChannelService {
    /// `only_declared` is whether `websocket.channels` is `declared`. `runtime` runs what calls no
    /// route.
    pub fn new(
        hub: Arc<Hub>,
        backend: Arc<dyn ChannelBackend>,
        only_declared: bool,
        topics: Arc<dyn Topics>,
        census: Option<Arc<Census>>,
        keeping: Keeping,
        runtime: Handle,
    ) -> Arc<ChannelService> {
        let (lines, notices) = (Lines::new(runtime.clone()), Lines::new(runtime.clone()));
        let counters = Counters::default();
        if !topics.is_alone() {
            let (followed, watched) = (topics.clone(), census.clone());
            hub.channels.follow_with(Box::new(move |name| {
                let watch = watched.as_ref().and_then(|census| census.watch(name));
                watch.unwrap_or_else(|| Box::new(followed.follow(TopicKind::Channel, name)))
            }));
        }
        let service = Arc::new_cyclic(|me| ChannelService {
            hub,
            backend,
            lines,
            notices,
            only_declared,
            counters,
            topics,
            census,
            runtime,
            keeping,
            mends: Semaphore::new(MENDS),
            telling: watch::Sender::default(),
            me: me.clone(),
        });
        let told = Arc::downgrade(&service);
        service.hub.channels.on_leave(Box::new(move |session, channels| {
            if let Some(service) = told.upgrade() {
                service.has_left(session, &channels);
            }
        }));
        let told = Arc::downgrade(&service);
        service.hub.channels.deliver_with(move |channel, placed| {
            told.upgrade().is_none_or(|service| service.deliver_later(channel, placed))
        });
        service
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The figures of the members on all nodes. Zeros for a single node.
    pub fn census(&self) -> CensusTotals {
        self.census.as_ref().map(|census| census.totals()).unwrap_or_default()
    }

    /// The requests that wait for the routes of channels.
    pub fn waiting(&self) -> usize {
        self.lines.waiting()
    }

    /// Runs a task of the channels.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Whether something waits for the route of a channel.
    #[cfg(test)]
    pub(super) fn is_busy(&self, channel: &str) -> bool {
        self.lines.is_busy(channel)
    }

    /// The rule of a channel for an actor.
    pub(super) fn rule(&self, channel: &Arc<str>, actor: &Actor) -> Result<Rule, CallError> {
        match Rule::new(channel, self.backend.rule(channel))? {
            Some(rule) => Ok(rule),
            None if self.only_declared && actor.is_client() => Err(CallError::Forbidden(format!(
                "no module declares the channel {}, and websocket.channels is `declared`",
                line(channel, NAME)
            ))),
            None => Ok(Rule::open(channel, ChannelSettings::default())),
        }
    }

    /// Publishes a message. `done` is told its position once it has its place, or why it is
    /// refused. The message enters the line of the channel before this returns.
    pub fn publish(
        self: &Arc<Self>,
        channel: &Arc<str>,
        payload: Payload,
        actor: Actor,
        done: impl FnOnce(Result<Option<ChannelPosition>, CallError>) + Send + 'static,
    ) {
        self.publish_seen(channel, payload, actor, 0, done);
    }

    /// Publishes a message of a node that has seen this epoch of the channel, or none (0).
    pub(super) fn publish_seen(
        self: &Arc<Self>,
        channel: &Arc<str>,
        payload: Payload,
        actor: Actor,
        seen: u64,
        done: impl FnOnce(Result<Option<ChannelPosition>, CallError>) + Send + 'static,
    ) {
        let rule = match may_be_published(channel).and_then(|()| self.rule(channel, &actor)) {
            Ok(rule) => rule,
            Err(error) => return done(Err(error)),
        };
        match self.elsewhere(channel, &rule) {
            Ok(None) => {}
            Ok(Some(node)) => return self.publish_at(node, channel, (rule, payload), &actor, done),
            Err(error) => return done(Err(error)),
        }
        let (name, settings, session) = (channel.clone(), rule.settings, actor.session.clone());
        let has_home = rule.has_home();
        let sent = rule.asks(ChannelAction::Publish).map(|_| payload.clone()).unwrap_or_default();
        let bytes = payload.len();
        let request = Request { channel, rule, action: ChannelAction::Publish, actor, bytes };
        self.run(request, sent, move |service, decided| {
            let payload = match decided {
                Ok(changed) => changed.unwrap_or(payload),
                Err(error) => {
                    done(Err(error));
                    return After::Nothing;
                }
            };
            if settings.is_in_cluster() {
                service.publish_kept(&name, (payload, session), (settings, seen), Box::new(done));
                return After::Nothing;
            }
            let message = Published { payload, session, settings: &settings };
            match service.publish_everywhere(&name, message, has_home) {
                Ok((position, after)) => {
                    done(Ok(position));
                    after
                }
                Err(error) => {
                    done(Err(error));
                    After::Nothing
                }
            }
        });
    }

    /// Subscribes a client. `info` is what it says about itself.
    pub fn subscribe(
        self: &Arc<Self>,
        channel: &Arc<str>,
        session: &Arc<Session>,
        info: Payload,
        actor: Actor,
        done: impl FnOnce(Result<(), Refusal>) + Send + 'static,
    ) {
        let rule = match self.rule(channel, &actor) {
            Ok(rule) => rule,
            Err(error) => return done(Err(error.into())),
        };
        let (name, session, settings) = (channel.clone(), session.clone(), rule.settings);
        let sent = rule.asks(ChannelAction::Subscribe).map(|_| info.clone()).unwrap_or_default();
        let bytes = info.len();
        let request = Request { channel, rule, action: ChannelAction::Subscribe, actor, bytes };
        self.run(request, sent, move |service, decided| {
            let subscribed = decided.map_err(Refusal::from).and_then(|changed| {
                let info = if settings.presence { info_of(changed.unwrap_or(info))? } else { None };
                Ok(service.hub.channels.subscribe(&name, &session, info, &settings)?)
            });
            let after = match subscribed {
                Ok(true) => After::Tell(ChannelAction::Join, session.id.clone()),
                Ok(false) | Err(_) => After::Nothing,
            };
            if subscribed.is_err() || service.topics.is_alone() {
                done(subscribed.map(drop));
                return after;
            }
            // The client misses nothing of other nodes after the answer.
            let followed = service.topics.follow(TopicKind::Channel, &name);
            let (census, me, name) = (service.census.clone(), service.me.clone(), name.clone());
            service.runtime.spawn(async move {
                match census.filter(|_| announced(&name).is_some()) {
                    Some(census) => census.listed(&name).await,
                    None => _ = followed.confirmed().await,
                }
                if let Some(service) = me.upgrade() {
                    service.settle(&name).await;
                }
                done(Ok(()));
            });
            after
        });
    }

    /// Ends the subscription of a client. A route that cannot be asked does not keep the client.
    pub fn unsubscribe(
        self: &Arc<Self>,
        channel: &Arc<str>,
        session: &Arc<Session>,
        actor: Actor,
        done: impl FnOnce(Result<(), Refusal>) + Send + 'static,
    ) {
        if !self.lines.is_busy(channel) && !self.hub.channels.is_subscribed(channel, session) {
            return done(Err(Refusal::NotSubscribed));
        }
        let open = || Rule::open(channel, ChannelSettings::default());
        let rule = self.rule(channel, &actor).unwrap_or_else(|_| open());
        let (name, session) = (channel.clone(), session.clone());
        let request = Request { channel, rule, action: ChannelAction::Unsubscribe, actor, bytes: 0 };
        self.run(request, Payload::None, move |service, decided| {
            if let Err(error @ (CallError::Failure(_) | CallError::Overloaded(_) | CallError::WouldDeadlock(_))) =
                decided
            {
                done(Err(error.into()));
                return After::Nothing;
            }
            match service.hub.channels.unsubscribe(&name, &session) {
                true => {
                    done(Ok(()));
                    After::Tell(ChannelAction::Leave, session.id.clone())
                }
                false => {
                    done(Err(Refusal::NotSubscribed));
                    After::Nothing
                }
            }
        });
    }

    /// Acts at once, or in the line of the channel if its route is asked or others wait there.
    /// `sent` is the payload for the route. `act` gets the payload that replaces it, if any.
    pub(super) fn run(
        self: &Arc<Self>,
        request: Request<'_>,
        sent: Payload,
        act: impl FnOnce(&ChannelService, Result<Option<Payload>, CallError>) -> After + Send + 'static,
    ) {
        let action = request.action;
        if !request.rule.needs_line(action) && !self.lines.is_busy(request.channel) {
            // Nothing follows, because no route is told.
            _ = act(self, Ok(None));
            return;
        }
        let (place, started) = match self.go_to_line(&request, sent) {
            Ok(entered) => entered,
            Err(error) => {
                self.counters.count_refused(action);
                _ = act(self, Err(error));
                return;
            }
        };
        let (runtime, outcome) = started.map(|started| (started.runtime, started.outcome)).unzip();
        let (service, channel, Request { rule, actor, .. }) = (self.clone(), request.channel.clone(), request);
        let step = async move {
            let decided = match outcome {
                Some(outcome) => decision(outcome.await).inspect_err(|_| service.counters.count_refused(action)),
                None => Ok(None),
            };
            let after = act(&service, decided);
            service.follow(&channel, rule, actor.afterwards(), after).await;
        };
        place.enter(runtime.as_ref(), Box::pin(step));
    }

    /// Goes to the end of a channel's line, and queues the call of its route if it is asked.
    fn go_to_line<'a>(
        &'a self,
        request: &Request<'a>,
        sent: Payload,
    ) -> Result<(Place<'a>, Option<StartedCall>), CallError> {
        let Request { channel, rule, action, actor, bytes } = request;
        let place = self.lines.place(channel, &rule.module(), Kind::Request, *bytes, actor.waiter())?;
        let Some(module) = rule.asks(*action) else { return Ok((place, None)) };
        if let Some(started) = self.ask_elsewhere(request, &sent)? {
            return Ok((place, Some(started)));
        }
        let call = actor.call(module, &rule.subject, *action, actor.session.clone(), sent);
        Ok((place, Some(self.backend.call(call)?)))
    }

    /// Subscribes a session without asking the route.
    pub fn add(self: &Arc<Self>, channel: &Arc<str>, session: &str, actor: Actor) -> Result<(), CallError> {
        let session = self.hub.sessions.named(session)?;
        let settings = self.rule(channel, &actor)?.settings;
        let added = self.hub.channels.subscribe(channel, &session, None, &settings).map_err(Refusal::from)?;
        if added {
            self.tell_later(channel, ChannelAction::Join, &session, actor.afterwards());
        }
        Ok(())
    }

    /// Ends the subscription of a session. A client of SocketCluster receives the message. Returns
    /// whether the session was subscribed.
    pub fn kick_out(
        self: &Arc<Self>,
        channel: &Arc<str>,
        session: &str,
        message: &str,
        actor: Actor,
    ) -> Result<bool, CallError> {
        let session = self.hub.sessions.named(session)?;
        if !self.hub.channels.unsubscribe(channel, &session) {
            return Ok(false);
        }
        if let Some(packet) = kicked_out(&session, channel, message) {
            self.hub.sessions.topics.publish(&session.id, packet, Reach::Node);
        }
        self.tell_later(channel, ChannelAction::Leave, &session, actor.afterwards());
        Ok(true)
    }
}

/// What a member says about itself, as JSON.
fn info_of(payload: Payload) -> Result<Option<Arc<str>>, CallError> {
    if payload == Payload::None {
        return Ok(None);
    }
    let bytes = || CallError::Invalid("the data of a member is JSON, not bytes".to_owned());
    let text = payload.into_json().ok_or_else(bytes)?;
    let size = text.len();
    if size > MAX_INFO {
        bounds::CHANNEL_INFO.count();
        let why = format!("the data of a member has {size} bytes, but at most {MAX_INFO} are allowed: send less");
        return Err(CallError::Invalid(why));
    }
    Ok(Some(text.into()))
}
