//! The events of the protocol about channels. A client that waits for an answer gets the error of a
//! SocketCluster server of its version.

use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::errors::{Refused, error_of};
use super::fields::{Fields, shown};
use super::packet::{self, Cid, Event, Version};
use super::shared::Shared;
use super::written::Written;
use crate::call::channel::{LONGEST_LIST, ListSize};
use crate::call::session::client_id;
use crate::call::{CallError, ChannelPage, Payload};
use crate::hub::{ChannelError, Session};
use crate::ports::{BoxFuture, channel_caller};
use crate::triggers::channels::{Actor, Refusal};
use crate::triggers::websocket::auth::TOKEN_ERROR;
use crate::triggers::websocket::backend::ClientBackend;
use crate::triggers::websocket::channel_page::page;
use crate::triggers::websocket::counters::Counters;
use crate::triggers::websocket::flow::InFlight;
use crate::triggers::websocket::link::Link;

/// The error of an event, as clients get it.
type Failed = Value;

/// An event about a channel, and who waits for its answer.
struct Asked<B> {
    link: Link<B>,
    version: Version,
    cid: Option<Cid>,
    /// Counts the event until its answer.
    running: InFlight,
}

/// Acts on an event whose name begins with `#`.
pub(super) fn act<B: ClientBackend>(link: &Link<B>, shared: &Shared, version: Version, event: Event) {
    let Event { name, data, cid } = event;
    let is_long = matches!(&*name, "#history" | "#members");
    if is_long && cid.is_none() {
        // Nobody waits for the answer.
        return;
    }
    // The host reads no other message of the client until a long answer is sent. Otherwise a
    // client that reads nothing could ask for one after the other.
    let running = if is_long { link.flow.begin_alone() } else { link.flow.begin() };
    let asked = Asked { link: link.clone(), version, cid, running };
    // Bytes are in a text, too, if they are all of the data.
    let json = std::str::from_utf8(data.as_bytes()).unwrap_or_default();
    let fields = Fields::read(json);
    match &*name {
        "#subscribe" => asked.subscribe(shared, &fields),
        "#unsubscribe" => asked.unsubscribe(shared, &fields),
        "#publish" => asked.publish(shared, &fields),
        "#history" => match asked.history(shared, &fields) {
            Ok(page) => asked.answer_later(shared, page),
            Err(error) => asked.answer_long(Err::<&str, _>(error)),
        },
        "#members" => {
            match asked.members(shared, &fields) {
                Err(error) => asked.answer_long(Err::<Arc<str>, _>(error)),
                Ok(mut listed) => {
                    // At once, if no other node has to be asked.
                    match (&mut listed).now_or_never() {
                        Some(listed) => asked.answer_members(listed),
                        None => _ = shared.channels.runtime.spawn(async move { asked.answer_members(listed.await) }),
                    }
                }
            }
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
        if let Some(json) = self.packet(answer) {
            self.link.send(Arc::new(Written::new(&json)));
        }
    }

    /// Answers the client with JSON. The event ends when the answer is sent.
    fn answer_long(self, answer: Result<impl AsRef<str>, Failed>) {
        let Some(cid) = &self.cid else { return };
        let packet = match answer {
            Ok(json) => packet::answer_json(cid, json.as_ref()),
            Err(error) => {
                Counters::count(&self.link.counters.failed);
                packet::error(cid, &error, &Payload::None)
            }
        };
        self.link.send(Arc::new(Written::of_event(&packet, self.running)));
    }

    /// The answer as a packet. `None` if the client does not wait.
    fn packet(&self, answer: Result<Payload, Failed>) -> Option<String> {
        if answer.is_err() {
            Counters::count(&self.link.counters.failed);
        }
        let cid = self.cid.as_ref()?;
        Some(match answer {
            Ok(data) => packet::answer(cid, &data),
            Err(error) => packet::error(cid, &error, &Payload::None),
        })
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
                            client_id(&self.session().id)
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
                        let id = client_id(&self.session().id);
                        let message = format!("Socket {id} tried to publish to an invalid {shown} channel");
                        json!({ "message": message, "name": "BrokerError" })
                    }
                    Version::Two => invalid("Publish channel name was malformatted"),
                };
                return self.answer(Err(error));
            }
        };
        if let Err(error) = channel_caller::may_be_published(&channel) {
            return self.answer(Err(invalid(&error.to_string())));
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

    fn history(
        &self,
        shared: &Shared,
        fields: &Fields<'_>,
    ) -> Result<BoxFuture<Result<ChannelPage, CallError>>, Failed> {
        let channel = self.subscribed(shared, fields, "read the history of")?;
        let after = fields.after().map_err(|()| {
            let why = "after: must be the `position` of a message, such as \"1f-12\", or null";
            error_of(&CallError::Invalid(why.to_owned()), Refused::Event, self.version)
        })?;
        let service = &shared.channels;
        Ok(service.history(&channel, after, fields.limit(), shared.max_history, &self.actor()))
    }

    /// Answers the client with a page, at once if it is there.
    fn answer_later(self, shared: &Shared, mut read: BoxFuture<Result<ChannelPage, CallError>>) {
        let answer = |asked: Self, read: Result<ChannelPage, CallError>| {
            let error = |error| error_of(&error, Refused::Event, asked.version);
            let answer = read.map(|read| page(&read)).map_err(error);
            asked.answer_long(answer);
        };
        match (&mut read).now_or_never() {
            Some(read) => answer(self, read),
            None => shared.channels.spawn(async move { answer(self, read.await) }),
        }
    }

    fn members(&self, shared: &Shared, fields: &Fields<'_>) -> Result<BoxFuture<Result<Arc<str>, CallError>>, Failed> {
        let channel = self.subscribed(shared, fields, "list the members of")?;
        let most = ListSize { bytes: shared.max_history, ..LONGEST_LIST };
        Ok(shared.channels.members_as_json(&channel, most, &self.actor()))
    }

    fn answer_members(self, listed: Result<Arc<str>, CallError>) {
        let listed = listed.map_err(|error| error_of(&error, Refused::Event, self.version));
        self.answer_long(listed);
    }

    /// The channel of an event for which the client must be subscribed.
    fn subscribed(&self, shared: &Shared, fields: &Fields<'_>, what: &str) -> Result<Arc<str>, Failed> {
        let id = client_id(&self.session().id);
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
        let id = client_id(&self.session().id);
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
            Refusal::Hub(error @ ChannelError::TooMuchInfo { .. }) => {
                error_of(&CallError::Invalid(error.to_string()), refused, self.version)
            }
            Refusal::Hub(error) => broker(self.version, what, &error.to_string()),
        }
    }
}

fn invalid_name(session: &Session) -> String {
    format!("Socket {} provided an invalid channel name", client_id(&session.id))
}

/// Version 2 names the inner error.
fn broker(version: Version, what: String, why: &str) -> Failed {
    let inner = if version == Version::Two { "InvalidActionError: " } else { "" };
    json!({ "message": format!("{what} - {inner}{why}"), "name": "BrokerError" })
}

fn invalid(message: &str) -> Failed {
    json!({ "message": message, "name": "InvalidActionError" })
}

#[cfg(test)]
mod tests {
    use super::*;

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
