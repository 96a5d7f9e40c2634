//! Channels of the in-memory host: their members, messages and routes.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::TestHost;
use super::channel_entry::{PRESENCE, announced, check_name};
use super::dispatch::CallSpec;
use super::lines::{Line, Step, Waiting, decided};
use super::node::{CallState, Node, State};
use super::promise::{Promise, promise};
use super::routes::RouteRequest;
use crate::channels::{ChannelMember, ChannelMessage, Position};
use crate::failure::CallError;
use crate::payload::IntoPayload;
use crate::types::{CallId, Origin, Outcome, Payload, Subscription, Trigger};
use crate::wit::types::{ChannelAction, ChannelEvent};

/// The epoch of every channel.
pub(super) const EPOCH: &str = "test";

/// When every message got its place, in milliseconds since 1970-01-01 UTC.
const AT: u64 = 1_700_000_000_000;

/// The result of an action on a channel.
pub(super) type Placed = Result<Option<Position>, CallError>;

#[derive(Default)]
pub(super) struct Channel {
    /// In the order in which they subscribed.
    members: Vec<ChannelMember>,
    /// All messages so far, also those that a real host would not keep.
    pub messages: Vec<ChannelMessage>,
}

/// A subscription that the module made while it runs.
pub(super) struct RunTime {
    pub name: String,
    pub channel: String,
    pub route: String,
    pub worker: u32,
}

/// The channels, and what waits for their routes.
#[derive(Default)]
pub(super) struct ChannelState {
    pub channels: BTreeMap<String, Channel>,
    pub subscriptions: Vec<RunTime>,
    /// The number of subscriptions that the module has made.
    pub made: u64,
    pub lines: BTreeMap<Line, VecDeque<Waiting>>,
}

/// The data of a message as a client of SocketCluster receives it.
fn data_of(payload: &Payload) -> Value {
    match payload {
        Payload::None => Value::Null,
        Payload::Text(text) => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone())),
        Payload::Bytes(bytes) => json!({ "base64": true, "data": base64(bytes) }),
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * index)) as usize & 63];
            text.push(if index > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

impl TestHost {
    /// Publishes a message to a channel as the operator, and waits for its place.
    pub fn publish_to_channel(&self, channel: &str, payload: impl IntoPayload) -> Result<Option<Position>, CallError> {
        let step = Step::Publish { session: None, payload: payload.into_payload()? };
        let placed = self.node.offer(channel, step, Origin::Operator)?;
        placed.wait(super::TIMEOUT).unwrap_or(Err(CallError::Timeout))
    }

    /// Returns all messages of a channel so far, in order, also those that a real host would no
    /// longer keep.
    pub fn channel_messages(&self, channel: &str) -> Vec<ChannelMessage> {
        let state = self.node.state();
        state.channels.channels.get(channel).map(|channel| channel.messages.clone()).unwrap_or_default()
    }

    /// Returns the members of a channel, in the order in which they subscribed.
    pub fn channel_members(&self, channel: &str) -> Vec<ChannelMember> {
        self.node.state().members_of(channel)
    }
}

impl State {
    pub(super) fn members_of(&self, channel: &str) -> Vec<ChannelMember> {
        self.channels.channels.get(channel).map(|channel| channel.members.clone()).unwrap_or_default()
    }

    fn is_member(&self, channel: &str, session: &str) -> bool {
        let channel = self.channels.channels.get(channel);
        channel.is_some_and(|channel| channel.members.iter().any(|member| member.session == session))
    }

    fn add_member(&mut self, channel: &str, member: ChannelMember) {
        self.channels.channels.entry(channel.to_owned()).or_default().members.push(member);
    }

    fn remove_member(&mut self, channel: &str, session: &str) -> Option<ChannelMember> {
        let members = &mut self.channels.channels.get_mut(channel)?.members;
        let at = members.iter().position(|member| member.session == session)?;
        Some(members.remove(at))
    }
}

impl Node {
    /// Does an action on a channel after those before it, and after the route of the channel
    /// allows it.
    pub fn offer(&self, channel: &str, step: Step, origin: Origin) -> Result<Promise<Placed>, CallError> {
        check_name(channel)?;
        if matches!(&step, Step::Publish { .. }) && announced(channel).is_some() {
            return Err(CallError::Forbidden(format!("only the host publishes to {channel}")));
        }
        let _order = self.lines();
        self.add_to_line(channel, step, origin)
    }

    /// Puts an action at the end of its line, and calls the route if it decides about the action.
    fn add_to_line(&self, channel: &str, step: Step, origin: Origin) -> Result<Promise<Placed>, CallError> {
        let (resolver, promised) = promise();
        let line = step.line(channel);
        let asked = announced(channel).unwrap_or(channel);
        let route = self.manifest.channel(asked).and_then(|entry| entry.asks(step.action().0));
        let (call, outcome) = match route {
            Some(path) => (Some(self.ask_route(path, asked, &step, origin)?), None),
            None => (None, Some(Ok(Outcome::pass()))),
        };
        let waiting = Waiting { call, step, outcome, resolver };
        self.state().channels.lines.entry(line.clone()).or_default().push_back(waiting);
        self.advance(&line);
        Ok(promised)
    }

    /// Calls the route of a channel. The in-memory host has no brokers: worker 0 runs it.
    fn ask_route(&self, path: &str, channel: &str, step: &Step, origin: Origin) -> Result<CallId, CallError> {
        let session = step.session().map(str::to_owned);
        let mut state = CallState { session: session.clone(), ..CallState::default() };
        if let Ok(client) = self.state().client(None, session.as_deref()) {
            state.subdomain.clone_from(&client.subdomain);
        }
        let event = ChannelEvent { channel: channel.to_owned(), action: step.action().1, session };
        let (id, _) = self.start_numbered(CallSpec {
            route: self.manifest.find(&RouteRequest::parse(path))?,
            query: "",
            trigger: Trigger::Channel(event),
            payload: step.payload().cloned().unwrap_or(Payload::None),
            timeout: None,
            state,
            origin,
            extra: Vec::new(),
        });
        Ok(id)
    }

    /// Continues the line that waits for a call.
    pub fn channel_call_ended(&self, call: CallId, outcome: &Result<Outcome, CallError>) {
        let _order = self.lines();
        let line = {
            let mut state = self.state();
            let waits = |line: &VecDeque<Waiting>| line.iter().position(|waiting| waiting.call == Some(call));
            let lines = state.channels.lines.iter_mut();
            lines.into_iter().find_map(|(line, steps)| {
                let waiting = waits(steps).and_then(|at| steps.get_mut(at))?;
                waiting.outcome = Some(outcome.clone());
                Some(line.clone())
            })
        };
        if let Some(line) = line {
            self.advance(&line);
        }
    }

    /// Does the first actions of a line, up to one whose route has not decided.
    fn advance(&self, line: &Line) {
        loop {
            let first = {
                let mut state = self.state();
                let Some(steps) = state.channels.lines.get_mut(line) else { return };
                match steps.front() {
                    Some(waiting) if waiting.outcome.is_some() => steps.pop_front(),
                    Some(_) => None,
                    None => {
                        state.channels.lines.remove(line);
                        None
                    }
                }
            };
            let Some(Waiting { step, outcome: Some(outcome), resolver, .. }) = first else { return };
            let placed = decided(outcome).and_then(|payload| self.act(&line.channel, step, payload));
            resolver.resolve(placed);
        }
    }

    /// Does an action that is allowed. `replaced` is the payload that the route passed.
    fn act(&self, channel: &str, step: Step, replaced: Option<Payload>) -> Placed {
        match step {
            Step::Publish { session, payload } => {
                return self.place(channel, session, replaced.unwrap_or(payload));
            }
            Step::Subscribe { session, info } => {
                let info = Some(replaced.unwrap_or(info)).filter(|info| !info.is_none());
                self.join_channel(channel, &session, info.as_ref().map(|info| data_of(info).to_string()))?;
            }
            Step::Unsubscribe { session } => drop(self.leave_channel(channel, &session)),
            Step::Deliver { session, message } => {
                let payload = replaced.unwrap_or_else(|| message.payload.clone());
                self.send_message(channel, &session, &ChannelMessage { payload, ..message });
            }
        }
        Ok(None)
    }

    /// Orders a message, and sends it to the members and the subscribed routes.
    fn place(&self, channel: &str, session: Option<String>, payload: Payload) -> Placed {
        let entry = self.manifest.channel(channel);
        let (message, members, subscribed) = {
            let mut state = self.state();
            let place = state.channels.channels.entry(channel.to_owned()).or_default();
            let offset = place.messages.len() as u64 + 1;
            let message = ChannelMessage { offset, at_ms: AT, session, payload, extra: Vec::new() };
            place.messages.push(message.clone());
            let members: Vec<String> = place.members.iter().map(|member| member.session.clone()).collect();
            let subscribed = state.channels.subscriptions.iter().filter(|made| made.channel == channel);
            let subscribed = subscribed.map(|made| (made.name.clone(), made.route.clone(), made.worker));
            (message, members, subscribed.collect::<Vec<_>>())
        };
        let position = Position { epoch: EPOCH.to_owned(), offset: message.offset };
        let position = entry.is_some_and(|entry| entry.kept() > 0).then_some(position);
        for session in members {
            let step = Step::Deliver { session, message: message.clone() };
            drop(self.add_to_line(channel, step, Origin::Host)?);
        }
        for (name, route, worker) in subscribed {
            let id = position.as_ref().map(ToString::to_string);
            let trigger = Subscription { name, source: "channel".to_owned(), topic: channel.to_owned(), id };
            drop(self.run_subscription(&route, worker, trigger, message.payload.clone())?);
        }
        Ok(position)
    }

    fn send_message(&self, channel: &str, session: &str, message: &ChannelMessage) {
        let entry = self.manifest.channel(channel);
        let mut packet = json!({ "channel": channel });
        if !message.payload.is_none() {
            packet["data"] = data_of(&message.payload);
        }
        if entry.is_some_and(|entry| entry.kept() > 0) {
            packet["position"] = format!("{EPOCH}-{}", message.offset).into();
        }
        let envelope = entry.is_some_and(|entry| entry.envelope);
        let mut state = self.state();
        let Ok(client) = state.client(None, Some(session)) else { return };
        if client.socket.is_some() && !envelope {
            client.receive("#publish", message.payload.clone());
        } else {
            client.receive("#publish", Payload::Text(packet.to_string()));
        }
    }

    /// Makes a client a member. A member that subscribes again is not an error.
    pub(super) fn join_channel(&self, channel: &str, session: &str, info: Option<String>) -> Result<(), CallError> {
        let member = {
            let mut state = self.state();
            let uid = state.client(None, Some(session))?.record.uid.clone();
            if state.is_member(channel, session) {
                return Ok(());
            }
            let member = ChannelMember { session: session.to_owned(), uid, info };
            state.add_member(channel, member.clone());
            member
        };
        self.announce(channel, &member, "join");
        Ok(())
    }

    /// Ends a membership. Returns whether there was one.
    pub(super) fn leave_channel(&self, channel: &str, session: &str) -> bool {
        let member = self.state().remove_member(channel, session);
        if let Some(member) = &member {
            self.announce(channel, member, "leave");
        }
        member.is_some()
    }

    /// Tells the route of a channel with presence, and the readers of its announcements.
    fn announce(&self, channel: &str, member: &ChannelMember, action: &str) {
        let Some(entry) = self.manifest.channel(channel).filter(|entry| entry.presence) else { return };
        if announced(channel).is_some() {
            return;
        }
        let id = member.session.split_once('/').map_or(&*member.session, |(_, id)| id);
        let info: Value = member.info.as_deref().and_then(|info| serde_json::from_str(info).ok()).unwrap_or_default();
        let count = self.count_members(channel);
        let text = json!({ "action": action, "member": { "id": id, "uid": member.uid, "info": info }, "count": count });
        // The host publishes here without a route, which cannot fail.
        let _ = self.place(&format!("{PRESENCE}{channel}"), None, Payload::Text(text.to_string()));
        if let Some(path) = entry.asks(action) {
            let action = ChannelAction::Other(action.to_owned());
            let session = Some(member.session.clone());
            let Ok(route) = self.manifest.find(&RouteRequest::parse(path)) else { return };
            drop(self.start(CallSpec {
                route,
                query: "",
                trigger: Trigger::Channel(ChannelEvent {
                    channel: channel.to_owned(),
                    action,
                    session: session.clone(),
                }),
                payload: Payload::None,
                timeout: None,
                state: CallState { session, ..CallState::default() },
                origin: Origin::Host,
                extra: Vec::new(),
            }));
        }
    }

    /// Ends all memberships of a client.
    pub fn leave_channels(&self, session: &str) {
        let _order = self.lines();
        let channels: Vec<String> = self.state().channels.channels.keys().cloned().collect();
        for channel in channels {
            self.leave_channel(&channel, session);
        }
    }
}
