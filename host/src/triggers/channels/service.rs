//! The channels of a node: each action asks the route of the channel if there is one, and then acts
//! on the hub.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::runtime::Handle;

use super::actor::Actor;
use super::backend::{ChannelBackend, StartedCall};
use super::counters::Counters;
use super::lines::{Kind, Lines, Place};
use super::routed::{Rule, decision};
use crate::call::text::{NAME, line};
use crate::call::{
    CallError, ChannelAction, ChannelMember, ChannelPage, ChannelPosition, ChannelSettings, Payload, bounds, channel,
};
use crate::hub::{ChannelError, Hub, Placed, Published, Session};
use crate::triggers::websocket::kicked_out;

/// The calls of `deliver` for one message that run at the same time.
const DELIVERIES: usize = 64;

/// The most bytes of what a member says about itself.
const MAX_INFO: usize = 4_096;

/// The channels of a node.
pub struct ChannelService {
    pub hub: Arc<Hub>,
    backend: Arc<dyn ChannelBackend>,
    lines: Arc<Lines>,
    /// Whether clients may only use channels that a module declares.
    only_declared: bool,
    counters: Counters,
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
            Refusal::Hub(error @ (ChannelError::SessionFull { .. } | ChannelError::TooMany { .. })) => {
                CallError::Overloaded(error.to_string())
            }
            Refusal::Hub(error @ ChannelError::Ended) => CallError::NotFound(error.to_string()),
            Refusal::NotSubscribed => CallError::NotFound(refusal.to_string()),
        }
    }
}

/// What follows an action, before the next step of the channel.
enum After {
    Nothing,
    /// The route decides for each member about a message.
    Deliver(Placed),
    /// The route is told about a member.
    Tell(ChannelAction, Arc<str>),
}

/// An action of someone on a channel.
struct Request<'a> {
    channel: &'a Arc<str>,
    rule: Rule,
    action: ChannelAction,
    actor: Actor,
}

impl ChannelService {
    /// `only_declared` is whether `websocket.channels` is `declared`. `runtime` runs what calls no
    /// route.
    pub fn new(
        hub: Arc<Hub>,
        backend: Arc<dyn ChannelBackend>,
        only_declared: bool,
        runtime: Handle,
    ) -> Arc<ChannelService> {
        let lines = Lines::new(runtime);
        let service = Arc::new(ChannelService { hub, backend, lines, only_declared, counters: Counters::default() });
        let told = Arc::downgrade(&service);
        service.hub.channels.on_leave(Box::new(move |session, channels| {
            if let Some(service) = told.upgrade() {
                service.has_left(session, &channels);
            }
        }));
        service
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The requests that wait for the routes of channels.
    pub fn waiting(&self) -> usize {
        self.lines.waiting()
    }

    /// Whether something waits for the route of a channel.
    #[cfg(test)]
    pub(super) fn is_busy(&self, channel: &str) -> bool {
        self.lines.is_busy(channel)
    }

    /// The rule of a channel for an actor.
    fn rule(&self, channel: &Arc<str>, actor: &Actor) -> Result<Rule, CallError> {
        match Rule::new(channel, self.backend.rule(channel))? {
            Some(rule) => Ok(rule),
            None if self.only_declared && actor.is_client() => Err(CallError::Forbidden(format!(
                "no module declares the channel {}, and websocket.channels is `declared`",
                line(channel, NAME)
            ))),
            None => Ok(Rule::open(channel, ChannelSettings::default())),
        }
    }

    /// Publishes a message. `done` is told its position once it has its place, or why it is refused.
    /// The message enters the line of the channel before this returns.
    pub fn publish(
        self: &Arc<Self>,
        channel: &Arc<str>,
        payload: Payload,
        actor: Actor,
        done: impl FnOnce(Result<Option<ChannelPosition>, CallError>) + Send + 'static,
    ) {
        let rule = match self.rule(channel, &actor) {
            _ if channel::announced(channel).is_some() => {
                let channel = line(channel, NAME);
                let why = format!("only the host publishes to {channel}: it announces members there");
                return done(Err(CallError::Forbidden(why)));
            }
            Ok(rule) => rule,
            Err(error) => return done(Err(error)),
        };
        let (name, settings, session) = (channel.clone(), rule.settings, actor.session.clone());
        let is_asked_for_each = rule.asks(ChannelAction::Deliver).is_some();
        let sent = rule.asks(ChannelAction::Publish).map(|_| payload.clone()).unwrap_or_default();
        let request = Request { channel, rule, action: ChannelAction::Publish, actor };
        self.run(request, sent, move |service, decided| {
            let payload = match decided {
                Ok(changed) => changed.unwrap_or(payload),
                Err(error) => {
                    done(Err(error));
                    return After::Nothing;
                }
            };
            let message = Published { payload, session, settings: &settings };
            if !is_asked_for_each {
                done(Ok(service.hub.channels.publish(&name, message)));
                return After::Nothing;
            }
            let placed = service.hub.channels.place(&name, message);
            done(Ok(placed.position));
            After::Deliver(placed)
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
        let request = Request { channel, rule, action: ChannelAction::Subscribe, actor };
        self.run(request, sent, move |service, decided| {
            let subscribed = decided.map_err(Refusal::from).and_then(|changed| {
                let info = if settings.presence { info_of(changed.unwrap_or(info))? } else { None };
                Ok(service.hub.channels.subscribe(&name, &session, info, &settings)?)
            });
            let after = match subscribed {
                Ok(true) => After::Tell(ChannelAction::Join, session.id.clone()),
                Ok(false) | Err(_) => After::Nothing,
            };
            done(subscribed.map(drop));
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
        let request = Request { channel, rule, action: ChannelAction::Unsubscribe, actor };
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
    fn run(
        self: &Arc<Self>,
        request: Request<'_>,
        sent: Payload,
        act: impl FnOnce(&ChannelService, Result<Option<Payload>, CallError>) -> After + Send + 'static,
    ) {
        let Request { channel, rule, action, actor } = request;
        if !rule.needs_line(action) && !self.lines.is_busy(channel) {
            // Nothing follows, because no route is told.
            _ = act(self, Ok(None));
            return;
        }
        let (place, started) = match self.go_to_line(channel, &rule, action, &actor, sent) {
            Ok(entered) => entered,
            Err(error) => {
                self.counters.count_refused(action);
                _ = act(self, Err(error));
                return;
            }
        };
        let (runtime, outcome) = started.map(|started| (started.runtime, started.outcome)).unzip();
        let service = self.clone();
        let step = async move {
            let decided = match outcome {
                Some(outcome) => decision(outcome.await).inspect_err(|_| service.counters.count_refused(action)),
                None => Ok(None),
            };
            let after = act(&service, decided);
            service.follow(&rule, actor.afterwards(), after).await;
        };
        place.enter(runtime.as_ref(), Box::pin(step));
    }

    /// Goes to the end of a channel's line, and queues the call of its route if it is asked.
    fn go_to_line<'a>(
        &'a self,
        channel: &'a Arc<str>,
        rule: &Rule,
        action: ChannelAction,
        actor: &Actor,
        sent: Payload,
    ) -> Result<(Place<'a>, Option<StartedCall>), CallError> {
        let place = self.lines.place(channel, Kind::Request, actor.waiter())?;
        let call =
            rule.asks(action).map(|module| actor.call(module, &rule.subject, action, actor.session.clone(), sent));
        let started = call.map(|call| self.backend.call(call)).transpose()?;
        Ok((place, started))
    }

    async fn follow(&self, rule: &Rule, actor: Actor, after: After) {
        match after {
            After::Nothing => {}
            After::Deliver(placed) => self.deliver(rule, &actor, placed).await,
            After::Tell(action, session) => self.tell(rule, &actor, action, session).await,
        }
    }

    /// Asks the route for each member about a message, and sends it to those that it allows. The
    /// calls start in the order of the members.
    async fn deliver(&self, rule: &Rule, actor: &Actor, placed: Placed) {
        let Some(module) = rule.asks(ChannelAction::Deliver) else { return };
        let asked = placed.members.clone().into_iter().map(|session| {
            let payload = placed.payload().cloned().unwrap_or_default();
            let id = Some(session.id.clone());
            let started = self.backend.call(actor.call(module, &rule.subject, ChannelAction::Deliver, id, payload));
            async move {
                match started {
                    Ok(started) => (session, decision(started.outcome.await)),
                    Err(error) => (session, Err(error)),
                }
            }
        });
        let mut decided = stream::iter(asked).buffered(DELIVERIES);
        while let Some((session, decided)) = decided.next().await {
            match decided {
                Ok(changed) => self.hub.channels.deliver(&session, &placed, changed),
                Err(error) => {
                    self.counters.count_refused(ChannelAction::Deliver);
                    tracing::debug!(session = %session.id, channel = %rule.subject, %error, "a message is withheld");
                }
            }
        }
    }

    /// Tells the route about a member.
    async fn tell(&self, rule: &Rule, actor: &Actor, action: ChannelAction, session: Arc<str>) {
        let Some(module) = rule.asks(action) else { return };
        let call = actor.call(module, &rule.subject, action, Some(session.clone()), Payload::None);
        let told = match self.backend.call(call) {
            Ok(started) => started.outcome.await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            self.counters.count_refused(action);
            tracing::debug!(%session, channel = %rule.subject, action = action.as_str(), %error, "the route of a channel failed");
        }
    }

    /// Tells the route about a member that nobody has asked about, after all that waits.
    fn tell_later(self: &Arc<Self>, channel: &Arc<str>, action: ChannelAction, session: &Session, actor: Actor) {
        let Ok(rule) = self.rule(channel, &actor) else { return };
        if rule.asks(action).is_none() {
            return;
        }
        match self.lines.place(channel, Kind::Notice, None) {
            Ok(place) => {
                let (service, session) = (self.clone(), session.id.clone());
                place.enter(None, Box::pin(async move { service.tell(&rule, &actor, action, session).await }));
            }
            Err(error) => {
                self.counters.count_refused(action);
                tracing::debug!(session = %session.id, %channel, %error, "the route of a channel is not told");
            }
        }
    }

    /// A session has ended, and with it its subscriptions.
    fn has_left(self: &Arc<Self>, session: &Arc<Session>, channels: &[Arc<str>]) {
        for channel in channels {
            self.tell_later(channel, ChannelAction::Leave, session, Actor::ended(session));
        }
    }

    fn session(&self, id: &str) -> Result<Arc<Session>, CallError> {
        let missing = || CallError::NotFound(format!("no session `{}` on this node", line(id, NAME)));
        self.hub.sessions.get(id).ok_or_else(missing)
    }

    /// Subscribes a session without asking the route.
    pub fn add(self: &Arc<Self>, channel: &Arc<str>, session: &str, actor: Actor) -> Result<(), CallError> {
        let session = self.session(session)?;
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
        let session = self.session(session)?;
        if !self.hub.channels.unsubscribe(channel, &session) {
            return Ok(false);
        }
        if let Some(packet) = kicked_out(&session, channel, message) {
            self.hub.sessions.topics.publish(&session.id, packet, crate::hub::Reach::Node);
        }
        self.tell_later(channel, ChannelAction::Leave, &session, actor.afterwards());
        Ok(true)
    }

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
        let request = Request { channel, rule, action: ChannelAction::Subscribe, actor };
        self.run(request, Payload::None, move |_, decided| {
            done(decided.map(|_| settings));
            After::Nothing
        });
    }

    /// Returns kept messages of a channel for clients. Fails if its route changes messages for each
    /// client, because the history has them unchanged.
    pub fn history(
        &self,
        channel: &Arc<str>,
        after: Option<ChannelPosition>,
        most: usize,
        max_bytes: u64,
        actor: &Actor,
    ) -> Result<ChannelPage, CallError> {
        let rule = self.rule(channel, actor)?;
        if actor.is_client() && rule.asks(ChannelAction::Deliver).is_some() {
            return Err(CallError::Invalid(format!(
                "the history of {} is not for clients: its route decides for each of them (`deliver`)",
                line(channel, NAME)
            )));
        }
        let none = || ChannelPage { epoch: 0, messages: Vec::new(), latest: 0, complete: false };
        if rule.settings.count == 0 {
            return Ok(none());
        }
        let page = self.hub.channels.history(channel, after, most, max_bytes);
        Ok(page.unwrap_or_else(|| ChannelPage { complete: after.is_none(), ..none() }))
    }

    /// Returns the members of a channel with presence.
    pub fn members(&self, channel: &Arc<str>, actor: &Actor) -> Result<Vec<ChannelMember>, CallError> {
        if !self.rule(channel, actor)?.settings.presence {
            let channel = line(channel, NAME);
            return Err(CallError::Invalid(format!("{channel} has no list of members: declare it with `presence`")));
        }
        Ok(self.hub.channels.members(channel))
    }
}

/// What a member says about itself, as JSON.
fn info_of(payload: Payload) -> Result<Option<Arc<str>>, CallError> {
    let text = match payload {
        Payload::None => return Ok(None),
        Payload::Text(text) => match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            Ok(_) => text,
            Err(_) => serde_json::Value::String(text).to_string(),
        },
        Payload::Bytes(_) => return Err(CallError::Invalid("the data of a member is JSON, not bytes".to_owned())),
    };
    let size = text.len();
    if size > MAX_INFO {
        bounds::CHANNEL_INFO.count();
        let why = format!("the data of a member has {size} bytes, but at most {MAX_INFO} are allowed: send less");
        return Err(CallError::Invalid(why));
    }
    Ok(Some(text.into()))
}
