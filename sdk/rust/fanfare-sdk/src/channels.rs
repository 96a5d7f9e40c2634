//! Channels: messages between clients and modules, by the names of the channels.
//!
//! The members of a channel are the clients that have subscribed to it. Every member receives the
//! messages of the channel in one order. A module owns the channel with its name, those that begin
//! with `<name>/`, and those that its `module.json` declares. Other channels need the grant
//! `channels`.
//!
//! A route that `channels` of `module.json` names decides about the actions on a channel. Its
//! handler takes a [`ChannelEvent`]. It allows the action when it passes ([`Pass`](crate::Pass)),
//! and when it replies with a status below 300. It changes a message when it passes with a payload.
//!
//! ```
//! use fanfare_sdk::prelude::*;
//! use fanfare_sdk::channels::Action;
//!
//! #[handler]
//! fn room(event: ChannelEvent, body: Payload) -> Result<Pass> {
//!     match event.action {
//!         Action::Publish if body.json::<String>()?.contains("spam") => {
//!             Err(Failure::forbidden("spam", "this message is spam"))
//!         }
//!         _ => Ok(Pass),
//!     }
//! }
//!
//! #[handler]
//! async fn announce(text: Text) -> Result<String> {
//!     let place = channels::publish_and_wait("chat/1", json!(*text)).await?;
//!     Ok(place.map_or_else(String::new, |place| place.offset.to_string()))
//! }
//! fanfare_sdk::module!(room, announce);
//! # fn main() {
//! let host = TestHost::builder(Module)
//!     .name("chat")
//!     .manifest(r#"{
//!         "routes": [
//!             { "path": "room", "handler": "room", "middlewares": "inner" },
//!             { "path": "announce", "handler": "announce" },
//!         ],
//!         "channels": { "chat/*": { "path": "room", "history": 10 } },
//!     }"#)
//!     .start();
//! let client = host.connect().open().unwrap();
//! client.subscribe("chat/1", ()).unwrap();
//! assert_eq!(host.call("announce", "hello").unwrap().text(), "1");
//! assert!(client.publish("chat/1", json!("spam")).is_err());
//! let message = &client.received()[0];
//! assert_eq!(message.name, "#publish");
//! assert_eq!(message.payload.json::<Value>().unwrap()["data"], "hello");
//! # }
//! ```

use std::fmt;
use std::future::Future;
use std::str::FromStr;

use serde::de::DeserializeOwned;

use crate::backend;
use crate::current::caller;
use crate::extract::{FromCall, Incoming};
use crate::failure::{CallError, Failure, Result};
use crate::payload::IntoPayload;
use crate::types::Trigger;
use crate::wit::types::{ChannelAction, ChannelEvent as Record};
pub use crate::wit::types::{ChannelMember, ChannelMessage, ChannelPage, Position};

/// Publishes a message, without waiting for the route of the channel. The messages of one caller
/// keep their order.
///
/// Fails with `Forbidden` for a channel that the module may not use, and for `presence/..`; with
/// `Invalid` for a bad name, and when the payload is larger than `limits.payload`; with
/// `Overloaded` when 64 calls of the channel wait for its route.
pub fn publish(channel: &str, payload: impl IntoPayload) -> Result<(), CallError> {
    let payload = payload.into_payload()?;
    Ok(backend::publish_to_channel(caller(), channel, &payload)?)
}

/// Publishes a message, and waits until it has its place in the order of the channel. Returns the
/// place, or `None` when the channel keeps no history.
///
/// Fails as [`publish`], and when the route of the channel refuses the message: with
/// [`CallError::Failure`], `Timeout` or `Crashed`.
pub fn publish_and_wait<P: IntoPayload>(
    channel: &str,
    payload: P,
) -> impl Future<Output = Result<Option<Position>, CallError>> + use<P> {
    let (caller, channel, payload) = (caller(), channel.to_owned(), payload.into_payload());
    async move { Ok(backend::publish_and_wait(caller, &channel, &payload?).await?) }
}

/// Subscribes a route of this module, in this worker, to a channel. From now on the host calls the
/// route for each message of the channel, in order. The handler reads the message as its body, and
/// takes a [`Subscription`](crate::types::Subscription) for the channel and the position.
///
/// Returns the name of the subscription. The same channel and route return the same name. The
/// subscription outlasts swaps and crashes, and ends with [`unsubscribe`] or with its route.
///
/// Fails with `Forbidden`, with `NotFound` when the module has no such route, with `Invalid` for a
/// bad name, and with `Overloaded` beyond `limits.subscriptions`.
pub fn subscribe(channel: &str, route: &str) -> Result<String, CallError> {
    Ok(backend::subscribe_to_channel(caller(), channel, route)?)
}

/// Ends a subscription that [`subscribe`] made in this worker. Fails with `NotFound` when there is
/// no such subscription.
pub fn unsubscribe(subscription: &str) -> Result<(), CallError> {
    Ok(backend::unsubscribe_from_channel(caller(), subscription)?)
}

/// Subscribes a client of this node to a channel, without asking the route of the channel. Any
/// session other than that of the call needs the grant `sessions`.
///
/// Fails with `NotFound` when this node has no such session, and with `Overloaded` when the client
/// has `websocket.socketChannelLimit` channels.
pub fn add(channel: &str, session: &str) -> Result<(), CallError> {
    Ok(backend::add_to_channel(caller(), channel, session)?)
}

/// Ends the subscription of a client of this node, which receives the message as the reason. Any
/// session other than that of the call needs the grant `sessions`.
///
/// Fails with `NotFound` when this node has no such session.
pub fn kick_out(channel: &str, session: &str, message: &str) -> Result<(), CallError> {
    Ok(backend::kick_out(caller(), channel, session, message)?)
}

/// Returns the number of members of a channel on this node.
pub fn count(channel: &str) -> u32 {
    backend::count_members(channel)
}

/// Returns messages that a channel has kept, oldest first: up to `most` after a position, or the
/// newest without one. A page has at most 1,000 messages. When it ends before `latest`, continue
/// after its last message.
///
/// ```
/// use fanfare_sdk::channels::{self, ChannelMessage, Position};
/// use fanfare_sdk::CallError;
///
/// /// All messages that the channel keeps.
/// async fn all(channel: &str) -> Result<Vec<ChannelMessage>, CallError> {
///     let mut messages: Vec<ChannelMessage> = Vec::new();
///     let mut after = Some(Position { epoch: String::new(), offset: 0 });
///     loop {
///         let page = channels::history(channel, after, 100).await?;
///         let Some(last) = page.messages.last() else { return Ok(messages) };
///         after = Some(Position { epoch: page.epoch, offset: last.offset });
///         messages.extend(page.messages);
///     }
/// }
/// ```
pub fn history(
    channel: &str,
    after: Option<Position>,
    most: u32,
) -> impl Future<Output = Result<ChannelPage, CallError>> + use<> {
    let (caller, channel) = (caller(), channel.to_owned());
    async move { Ok(backend::channel_history(caller, &channel, after.as_ref(), most).await?) }
}

/// Returns the members of a channel with presence. Fails with `Invalid` when the channel has no
/// presence.
pub fn members(channel: &str) -> impl Future<Output = Result<Vec<ChannelMember>, CallError>> + use<> {
    let (caller, channel) = (caller(), channel.to_owned());
    async move { Ok(backend::channel_members(caller, &channel).await?) }
}

/// Writes `<epoch>-<offset>`, as clients and [`Subscription::id`](crate::types::Subscription) have
/// it.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.offset)
    }
}

/// Reads `<epoch>-<offset>`.
impl FromStr for Position {
    type Err = CallError;

    fn from_str(text: &str) -> Result<Self, CallError> {
        let parts = text.split_once('-').and_then(|(epoch, offset)| Some((epoch, offset.parse().ok()?)));
        let invalid = || CallError::Invalid(format!("`{text}` is no position: write `<epoch>-<offset>`"));
        let (epoch, offset) = parts.ok_or_else(invalid)?;
        Ok(Position { epoch: epoch.to_owned(), offset })
    }
}

impl ChannelMember {
    /// Parses the data that the client subscribed with. `None` when it sent none.
    pub fn info<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        Ok(self.info.as_deref().map(serde_json::from_str).transpose()?)
    }
}

/// What happens on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// A client subscribes. The body is the data that it sends, as JSON. A pass with a payload
    /// replaces what the members of a channel with presence see of the client.
    Subscribe,
    /// A client unsubscribes.
    Unsubscribe,
    /// A message arrives: the body. A pass with a payload replaces it.
    Publish,
    /// The channel sends the message in the body to the session of the call. A pass with a payload
    /// replaces it for this session.
    Deliver,
    /// A client has become a member of a channel with presence. The outcome changes nothing.
    Join,
    /// A client is no longer a member of a channel with presence. The outcome changes nothing.
    Leave,
    /// An action that a later version adds.
    Other(String),
}

impl Action {
    /// Returns the name in `on` of `module.json`: `subscribe`, `publish` and so on.
    pub fn as_str(&self) -> &str {
        match self {
            Action::Subscribe => "subscribe",
            Action::Unsubscribe => "unsubscribe",
            Action::Publish => "publish",
            Action::Deliver => "deliver",
            Action::Join => "join",
            Action::Leave => "leave",
            Action::Other(name) => name,
        }
    }
}

impl From<ChannelAction> for Action {
    fn from(action: ChannelAction) -> Self {
        match action {
            ChannelAction::Subscribe => Action::Subscribe,
            ChannelAction::Unsubscribe => Action::Unsubscribe,
            ChannelAction::Publish => Action::Publish,
            ChannelAction::Deliver => Action::Deliver,
            ChannelAction::Other(name) => match &*name {
                "join" => Action::Join,
                "leave" => Action::Leave,
                _ => Action::Other(name),
            },
        }
    }
}

/// An action on a channel: an argument of the handler that `channels` of `module.json` names.
///
/// The session of the client that acts is also the session of the call, so that the handler may
/// take it as `Option<Session>`. A guest or the host acts without one. A call with another cause
/// fails with the status 400; `Option<ChannelEvent>` is `None` there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelEvent {
    /// The full name of the channel, such as `chat/7`.
    pub channel: String,
    /// What happens.
    pub action: Action,
    /// The id of the session of the client that acts, or that a message is delivered to.
    pub session: Option<String>,
}

impl ChannelEvent {
    pub(crate) fn of(trigger: &Trigger) -> Option<ChannelEvent> {
        let Trigger::Channel(event) = trigger else { return None };
        let Record { channel, action, session } = event.clone();
        Some(ChannelEvent { channel, action: action.into(), session })
    }
}

impl FromCall for ChannelEvent {
    fn from_call(call: &mut Incoming, _: &'static str) -> Result<Self> {
        ChannelEvent::of(&call.call().trigger).ok_or_else(|| {
            let message = format!(
                "the handler `{}` decides about channels: name its route in `channels` of module.json, and give it the middleware `inner`",
                call.call().handler
            );
            Failure::bad_request("no-channel", message)
        })
    }
}

/// `None` when something else than an action on a channel caused the call.
impl FromCall for Option<ChannelEvent> {
    fn from_call(call: &mut Incoming, _: &'static str) -> Result<Self> {
        Ok(ChannelEvent::of(&call.call().trigger))
    }
}
