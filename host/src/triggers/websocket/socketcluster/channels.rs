//! The events of the protocol about channels. A client that waits for an answer gets the error of a
//! SocketCluster server of its version.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::errors::{Refused, error_of};
use super::identity::client_id;
use super::packet::{self, Cid, Event, Version};
#[cfg(any(test, fuzzing))]
use super::packet::{Incoming, Packet};
use super::shared::Shared;
use super::written::Written;
use crate::call::text::line;
use crate::call::{CallError, ChannelPosition, Payload, bounds, channel, stream_key};
use crate::hub::{ChannelError, Session};
use crate::ports::channel_caller;
use crate::triggers::channels::{Actor, Refusal};
use crate::triggers::websocket::auth::TOKEN_ERROR;
use crate::triggers::websocket::backend::ClientBackend;
#[cfg(any(test, fuzzing))]
use crate::triggers::websocket::channel_frames::message_json;
use crate::triggers::websocket::channel_page::page;
use crate::triggers::websocket::counters::Counters;
use crate::triggers::websocket::flow::InFlight;
use crate::triggers::websocket::link::Link;

/// The most messages of one answer to `#history`.
const MOST: usize = 1_000;

/// The error of an event, as clients get it.
type Failed = Value;

/// The fields of an event about a channel. A client may send only the name.
#[derive(Default, Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    channel: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(rename = "waitForAuth", borrow, default)]
    wait_for_auth: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
    #[serde(borrow, default)]
    limit: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    fn read(json: &'a str) -> Fields<'a> {
        let only_name = || Fields { channel: serde_json::from_str(json).ok().flatten(), ..Fields::default() };
        match json.starts_with('{') {
            true => serde_json::from_str(json).unwrap_or_default(),
            false => only_name(),
        }
    }

    /// The name of the channel, or what the client sent in its place.
    fn channel(&self) -> Result<Arc<str>, String> {
        let json = self.channel.map_or("undefined", RawValue::get);
        let name: Cow<'_, str> = match serde_json::from_str(json) {
            Ok(name) => name,
            Err(_) => return Err(shown(json)),
        };
        if name.len() > stream_key::MAX {
            bounds::STREAM_NAME.count();
        }
        if channel::is_channel(&name) { Ok(name.into()) } else { Err(shown(&name)) }
    }

    fn waits_for_auth(&self) -> bool {
        self.wait_for_auth.is_some_and(|json| json.get() == "true")
    }

    /// After which position a client wants messages. `Err` if it is not one.
    fn after(&self) -> Result<Option<ChannelPosition>, ()> {
        let Some(json) = self.after.map(RawValue::get).filter(|json| *json != "null") else { return Ok(None) };
        let text: Cow<'_, str> = serde_json::from_str(json).map_err(drop)?;
        ChannelPosition::parse(&text).map(Some).ok_or(())
    }

    fn limit(&self) -> usize {
        let limit = self.limit.and_then(|json| serde_json::from_str::<u64>(json.get()).ok());
        limit.map_or(MOST, |limit| usize::try_from(limit).unwrap_or(MOST).min(MOST))
    }
}

/// A text of a client in an error.
fn shown(text: &str) -> String {
    line(text, stream_key::MAX)
}

/// An event about a channel, and who waits for its answer.
struct Asked<B> {
    link: Link<B>,
    version: Version,
    cid: Option<Cid>,
    /// Counts the event until its answer.
    _running: InFlight,
}

/// Acts on an event whose name begins with `#`.
pub(super) fn act<B: ClientBackend>(link: &Link<B>, shared: &Shared, version: Version, event: Event) {
    let Event { name, data, cid } = event;
    let asked = Asked { link: link.clone(), version, cid, _running: link.flow.begin() };
    // Bytes are in a text, too, if they are all of the data.
    let json = std::str::from_utf8(data.as_bytes()).unwrap_or_default();
    let fields = Fields::read(json);
    match &*name {
        "#subscribe" => asked.subscribe(shared, &fields),
        "#unsubscribe" => asked.unsubscribe(shared, &fields),
        "#publish" => asked.publish(shared, &fields),
        "#history" => {
            let answer = asked.history(shared, &fields);
            asked.answer(answer);
        }
        "#members" => {
            let answer = asked.members(shared, &fields);
            asked.answer(answer);
        }
        _ => {
            let error = json!({ "message": "there is no such event", "name": "NotFoundError", "code": "not-found" });
            asked.answer(Err(error));
        }
    }
}

impl<B: ClientBackend> Asked<B> {
    fn session(&self) -> &Arc<Session> {
        &self.link.session
    }

    fn actor(&self) -> Actor {
        Actor::client(self.session(), self.link.timeout)
    }

    /// Answers the client, if it waits.
    fn answer(self, answer: Result<Payload, Failed>) {
        if answer.is_err() {
            Counters::count(&self.link.counters.failed);
        }
        let Some(cid) = &self.cid else { return };
        let json = match answer {
            Ok(data) => packet::answer(cid, &data),
            Err(error) => packet::error(cid, &error, &Payload::None),
        };
        self.link.send(Arc::new(Written::new(&json)));
    }

    fn subscribe(self, shared: &Shared, fields: &Fields<'_>) {
        let channel = match fields.channel() {
            Ok(channel) => channel,
            Err(shown) => {
                let error = match self.version {
                    Version::One => broker(
                        self.version,
                        format!("Failed to subscribe socket to the {shown} channel"),
                        &invalid_name(self.session()),
                    ),
                    Version::Two => invalid("Subscribe channel name was malformatted"),
                };
                return self.answer(Err(error));
            }
        };
        if fields.waits_for_auth() && !self.session().has_claims() {
            let message = "the channel waits for authentication: authenticate, then subscribe again";
            return self.answer(Err(json!({ "message": message, "name": TOKEN_ERROR })));
        }
        let info = packet::payload(fields.data.map(RawValue::get));
        let (actor, session, name) = (self.actor(), self.session().clone(), channel.clone());
        shared.channels.subscribe(&channel, &session, info, actor, move |done| {
            let answer = done.map(|()| Payload::None).map_err(|refusal| {
                let what = format!("Failed to subscribe socket to the {} channel", shown(&name));
                self.refused(&refusal, Refused::Subscribe, what)
            });
            self.answer(answer);
        });
    }

    fn unsubscribe(self, shared: &Shared, fields: &Fields<'_>) {
        let channel = match fields.channel() {
            Ok(channel) => channel,
            Err(shown) => {
                let error = match self.version {
                    Version::One => {
                        let why = format!(
                            "Socket {} tried to unsubscribe from an invalid channel name",
                            client_id(self.session())
                        );
                        broker(self.version, format!("Failed to unsubscribe socket from the {shown} channel"), &why)
                    }
                    Version::Two => invalid("Unsubscribe channel name was malformatted"),
                };
                return self.answer(Err(error));
            }
        };
        let (actor, session, name) = (self.actor(), self.session().clone(), channel.clone());
        shared.channels.unsubscribe(&channel, &session, actor, move |done| {
            let answer = done.map(|()| Payload::None).map_err(|refusal| {
                let what = format!("Failed to unsubscribe socket from the {} channel", shown(&name));
                self.refused(&refusal, Refused::Unsubscribe, what)
            });
            self.answer(answer);
        });
    }

    fn publish(self, shared: &Shared, fields: &Fields<'_>) {
        if !shared.allows_publish {
            return self.answer(Err(invalid("Client publish feature is disabled")));
        }
        let channel = match fields.channel() {
            Ok(channel) => channel,
            Err(shown) => {
                let error = match self.version {
                    Version::One => {
                        let id = client_id(self.session());
                        let message = format!("Socket {id} tried to publish to an invalid {shown} channel");
                        json!({ "message": message, "name": "BrokerError" })
                    }
                    Version::Two => invalid("Publish channel name was malformatted"),
                };
                return self.answer(Err(error));
            }
        };
        if channel::announced(&channel).is_some() {
            let why = format!("only the host publishes to {}: it announces members there", shown(&channel));
            return self.answer(Err(invalid(&why)));
        }
        let payload = packet::payload(fields.data.map(RawValue::get));
        let actor = self.actor();
        shared.channels.publish(&channel, payload, actor, move |done| {
            let answer = done.map(|_| Payload::None).map_err(|error| {
                self.link.disconnect_after(&error);
                error_of(&error, Refused::Publish, self.version)
            });
            self.answer(answer);
        });
    }

    fn history(&self, shared: &Shared, fields: &Fields<'_>) -> Result<Payload, Failed> {
        let channel = self.subscribed(shared, fields, "read the history of")?;
        let after = fields.after().map_err(|()| {
            let why = "after: must be the `position` of a message, such as \"1f-12\", or null";
            error_of(&CallError::Invalid(why.to_owned()), Refused::Event, self.version)
        })?;
        let service = &shared.channels;
        let read = service.history(&channel, after, fields.limit(), shared.max_history, &self.actor());
        let error = |error| error_of(&error, Refused::Event, self.version);
        read.map(|read| Payload::Text(page(&read))).map_err(error)
    }

    fn members(&self, shared: &Shared, fields: &Fields<'_>) -> Result<Payload, Failed> {
        let channel = self.subscribed(shared, fields, "list the members of")?;
        let members = shared.channels.members(&channel, &self.actor());
        let members = members.and_then(|members| channel_caller::members(&channel, members));
        let members = members.map_err(|error| error_of(&error, Refused::Event, self.version))?;
        let mut json = String::from("[");
        for (index, member) in members.iter().enumerate() {
            let id = member.session.rsplit_once('/').map_or(&*member.session, |(_, id)| id);
            if index > 0 {
                json.push(',');
            }
            json.push_str(&json!({ "id": id, "uid": member.uid.as_deref() }).to_string());
            json.pop();
            json.push_str(",\"info\":");
            json.push_str(member.info.as_deref().unwrap_or("null"));
            json.push('}');
        }
        json.push(']');
        Ok(Payload::Text(json))
    }

    /// The channel of an event for which the client must be subscribed.
    fn subscribed(&self, shared: &Shared, fields: &Fields<'_>, what: &str) -> Result<Arc<str>, Failed> {
        let id = client_id(self.session());
        let channel = fields.channel().map_err(|shown| {
            let message = format!("Socket {id} tried to {what} an invalid {shown} channel");
            json!({ "message": message, "name": "BrokerError" })
        })?;
        if shared.channels.hub.channels.is_subscribed(&channel, self.session()) {
            return Ok(channel);
        }
        let shown = shown(&channel);
        let message = format!("Socket {id} tried to {what} the {shown} channel which it is not subscribed to");
        Err(json!({ "message": message, "name": "BrokerError" }))
    }

    /// The error of an event that the host or a route refuses. `what` begins the message of errors
    /// that are SocketCluster's.
    fn refused(&self, refusal: &Refusal, refused: Refused, what: String) -> Failed {
        let id = client_id(self.session());
        match refusal {
            Refusal::Call(error) => {
                self.link.disconnect_after(error);
                error_of(error, refused, self.version)
            }
            Refusal::NotSubscribed => {
                let why = format!("Socket {id} tried to unsubscribe from a channel which it is not subscribed to");
                broker(self.version, what, &why)
            }
            Refusal::Hub(ChannelError::SessionFull { max }) => {
                let why = format!("Socket {id} tried to exceed the channel subscription limit of {max}");
                broker(self.version, what, &why)
            }
            Refusal::Hub(error) => broker(self.version, what, &error.to_string()),
        }
    }
}

fn invalid_name(session: &Session) -> String {
    format!("Socket {} provided an invalid channel name", client_id(session))
}

/// Version 2 names the inner error.
fn broker(version: Version, what: String, why: &str) -> Failed {
    let inner = if version == Version::Two { "InvalidActionError: " } else { "" };
    json!({ "message": format!("{what} - {inner}{why}"), "name": "BrokerError" })
}

fn invalid(message: &str) -> Failed {
    json!({ "message": message, "name": "InvalidActionError" })
}

/// Reads the fields of each event about a channel. A message that the host sends with what it has
/// read must be read as the same one.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_channels(message: &Payload) {
    for version in [Version::One, Version::Two] {
        let Incoming::Packets(packets) = packet::parse(message.clone(), version) else { continue };
        for packet in packets {
            let Packet::Event(Event { data, .. }) = packet else { continue };
            let fields = Fields::read(std::str::from_utf8(data.as_bytes()).unwrap_or_default());
            assert!(fields.limit() <= MOST && !(fields.waits_for_auth() && fields.wait_for_auth.is_none()));
            let after = fields.after().ok().flatten();
            assert_eq!(after.and_then(|after| ChannelPosition::parse(&after.to_string())), after);
            let Ok(name) = fields.channel() else { continue };
            assert!(channel::is_channel(&name));
            let payload = packet::payload(fields.data.map(RawValue::get));
            let sent = message_json(&name, &payload, after);
            let again = Fields::read(&sent);
            assert_eq!(
                (again.channel().as_ref(), packet::payload(again.data.map(RawValue::get))),
                (Ok(&name), payload)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_named_by_a_text_or_a_field() {
        let channel = |json: &str| Fields::read(json).channel().map(|name| name.to_string());
        for json in [r#""room""#, r#"{"channel":"room","data":1}"#, r#"{"channel":"r\u006fom"}"#] {
            assert_eq!(channel(json), Ok("room".to_owned()), "{json}");
        }
        for (json, shown) in [
            ("", "undefined"),
            ("null", "undefined"),
            ("{}", "undefined"),
            ("{bad", "undefined"),
            ("5", "5"),
            ("[1]", "[1]"),
            (r#"{"channel":{"a":1}}"#, r#"{"a":1}"#),
            (r#"{"channel":""}"#, ""),
        ] {
            assert_eq!(channel(json), Err(shown.to_owned()), "{json}");
        }
        let of_size = |size: usize| channel(&format!("\"{}\"", "x".repeat(size)));
        assert!(of_size(256).is_ok() && of_size(257).is_err());
        assert!(channel("\"a\\n\"").is_err());
    }

    #[test]
    fn a_page_of_history_begins_after_a_position_and_is_bounded() {
        let fields = |json: &'static str| Fields::read(json);
        assert_eq!(fields(r#"{"after":"1f-12"}"#).after(), Ok(Some(ChannelPosition { epoch: 0x1f, offset: 12 })));
        assert_eq!((fields("{}").after(), fields(r#"{"after":null}"#).after()), (Ok(None), Ok(None)));
        assert!(fields(r#"{"after":12}"#).after().is_err() && fields(r#"{"after":"12"}"#).after().is_err());
        let limit = |json| fields(json).limit();
        assert_eq!((limit("{}"), limit(r#"{"limit":0}"#), limit(r#"{"limit":1000}"#)), (1_000, 0, 1_000));
        assert_eq!(
            (limit(r#"{"limit":1001}"#), limit(r#"{"limit":-1}"#), limit(r#"{"limit":"5"}"#)),
            (1_000, 1_000, 1_000)
        );
        assert!(fields(r#"{"waitForAuth":true}"#).waits_for_auth() && !fields(r#"{"waitForAuth":1}"#).waits_for_auth());
    }

    #[test]
    fn the_errors_are_worded_as_those_of_a_server_of_the_same_version() {
        let what = || "Failed to subscribe socket to the room channel".to_owned();
        let error = |version| broker(version, what(), "Socket ID tried to x")["message"].as_str().unwrap().to_owned();
        assert_eq!(error(Version::One), "Failed to subscribe socket to the room channel - Socket ID tried to x");
        assert_eq!(
            error(Version::Two),
            "Failed to subscribe socket to the room channel - InvalidActionError: Socket ID tried to x"
        );
    }
}
