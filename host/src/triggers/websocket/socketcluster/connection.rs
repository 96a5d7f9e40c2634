//! The state of one client, and what each of its packets does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::channels;
use super::errors::{Refused, error_of};
use super::handshake::{Handshake, authenticate_again, shown};
use super::packet::{self, Cid, Event, Incoming, Packet, Version};
use super::shared::Shared;
use super::written::{Written, remove_token};
use crate::call::time::now;
use crate::call::{CallResult, ClientMessage, Payload, RequestHead, bounds};
use crate::hub::Encoding;
use crate::triggers::websocket::backend::ClientBackend;
use crate::triggers::websocket::close_codes::{BEFORE_HANDSHAKE, NO_HANDSHAKE, NO_PONG, NORMAL, TOO_LARGE};
use crate::triggers::websocket::counters::Counters;
use crate::triggers::websocket::decoder::{Violation, may_be_sent};
use crate::triggers::websocket::frames;
use crate::triggers::websocket::link::{Link, Protocol};

/// The events of raw messages have this name.
const RAW: &str = "raw";

/// A client.
pub struct Connection<B: ClientBackend> {
    link: Link<B>,
    version: Version,
    shared: Arc<Shared>,
    /// The request that has opened the WebSocket, until the handshake.
    head: Option<Box<RequestHead>>,
    /// The decision of the hook `connect`, until the next message.
    opening: Option<oneshot::Receiver<bool>>,
    /// The packets of a message that wait.
    packets: VecDeque<Packet>,
    /// The bytes of this message and its packets.
    waiting: u64,
    /// Ends the connection if no handshake arrives.
    timer: AbortHandle,
}

impl<B: ClientBackend> Connection<B> {
    /// `timeout` is `websocket.handshakeTimeout`. Must run in a tokio runtime.
    pub(in crate::triggers::websocket) fn new(
        link: Link<B>,
        version: Version,
        shared: Arc<Shared>,
        head: RequestHead,
        timeout: Duration,
    ) -> Connection<B> {
        shared.questions.begin(&link.session.id, &link.flow);
        let (hub, session) = (link.hub.clone(), link.session.clone());
        let timer = tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            hub.sessions.disconnect(&session, NO_HANDSHAKE, "");
        });
        let (head, timer) = (Some(Box::new(head)), timer.abort_handle());
        Connection { link, version, shared, head, opening: None, packets: VecDeque::new(), waiting: 0, timer }
    }

    fn act(&mut self, packet: Packet) -> Result<(), Violation> {
        self.expire_token();
        match packet {
            Packet::Event(event) => return self.event(event),
            Packet::Raw(message) => self.call(RAW.into(), message, None),
            Packet::Answer(Some(answer)) => {
                self.shared.questions.answer(&self.link.session.id, answer.rid, answer.result);
            }
            Packet::Answer(None) => {}
        }
        Ok(())
    }

    fn event(&mut self, event: Event) -> Result<(), Violation> {
        let Event { name, data, cid } = event;
        match &*name {
            "#handshake" => self.greet(data, cid),
            "#authenticate" => self.authenticate(&data, cid),
            "#removeAuthToken" => self.link.session.set_claims(None),
            "#disconnect" => return Err(self.leave(&data)),
            _ if name.starts_with('#') => {
                channels::act(&self.link, &self.shared, self.version, Event { name, data, cid });
            }
            _ => self.call(name, data, cid),
        }
        Ok(())
    }

    /// Begins the session. While the hooks run, the host reads nothing more. A second handshake is
    /// ignored.
    fn greet(&mut self, data: Payload, cid: Option<Cid>) {
        let Some(head) = self.head.take() else { return };
        self.timer.abort();
        let (link, version, shared) = (self.link.clone(), self.version, self.shared.clone());
        let alone = self.link.flow.begin_alone();
        let (decision, opening) = oneshot::channel();
        self.opening = Some(opening);
        tokio::spawn(async move {
            Handshake { link, version, shared }.run(head, data, cid, decision).await;
            drop(alone);
        });
    }

    /// Verifies the token of an open client.
    fn authenticate(&self, data: &Payload, cid: Option<Cid>) {
        let token = shown(data.as_bytes());
        let (link, version, shared) = (self.link.clone(), self.version, self.shared.clone());
        let alone = self.link.flow.begin_alone();
        tokio::spawn(async move {
            authenticate_again(&Handshake { link, version, shared }, token, cid).await;
            drop(alone);
        });
    }

    /// The client leaves. Returns how the connection ends.
    fn leave(&self, data: &Payload) -> Violation {
        let json: Value = serde_json::from_slice(data.as_bytes()).unwrap_or_default();
        let code = json.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let code = code.filter(|code| may_be_sent(*code)).unwrap_or(NORMAL);
        self.link.session.set_ending(code, json.get("data").and_then(Value::as_str).unwrap_or_default());
        Violation { code, reason: "the client disconnects" }
    }

    /// Takes the token away once it has expired.
    fn expire_token(&self) {
        if self.link.session.expire_claims(now()) {
            self.link.send(remove_token());
        }
    }

    /// Queues the call of a route. If the client waits, it gets the outcome.
    fn call(&self, name: Arc<str>, payload: Payload, cid: Option<Cid>) {
        let Link { backend, counters, session, module, query, subdomain, timeout, flow, .. } = &self.link;
        Counters::count(&counters.messages);
        let called = backend.message(ClientMessage {
            session: session.id.clone(),
            module: module.clone(),
            name,
            socket: false,
            params: Vec::new(),
            query: query.to_string(),
            payload,
            wants_reply: cid.is_some(),
            subdomain: subdomain.clone(),
            timeout: *timeout,
        });
        let version = self.version;
        match called {
            Ok(outcome) => {
                let (running, link) = (flow.begin(), self.link.clone());
                tokio::spawn(async move {
                    send_outcome(&link, version, cid.as_ref(), outcome.await);
                    drop(running);
                });
            }
            Err(error) => send_outcome(&self.link, version, cid.as_ref(), Err(error)),
        }
    }
}

fn send_outcome<B: ClientBackend>(link: &Link<B>, version: Version, cid: Option<&Cid>, result: CallResult) {
    match (result, cid) {
        (Ok(outcome), Some(cid)) => {
            link.send(Arc::new(Written::new(&packet::answer(cid, &outcome.into_reply().payload))));
        }
        (Ok(_), None) => {}
        (Err(error), cid) => {
            Counters::count(&link.counters.failed);
            tracing::debug!(session = %link.session.id, %error, "the call of a message failed");
            if let Some(cid) = cid {
                let error = error_of(&error, Refused::Event, version);
                link.send(Arc::new(Written::new(&packet::error(cid, &error, &Payload::None))));
            }
            link.disconnect_after(&error);
        }
    }
}

impl<B: ClientBackend> Protocol for Connection<B> {
    type Backend = B;

    const ENCODING: Encoding = Encoding::SocketCluster;

    const SILENT: Violation = Violation { code: NO_PONG, reason: "" };

    fn link(&self) -> &Link<B> {
        &self.link
    }

    fn receive(&mut self, message: Payload) -> Result<(), Violation> {
        let (is_greeted, size) = (self.head.is_none(), message.len());
        self.opening = None;
        match packet::parse(message, self.version) {
            Incoming::Pong if is_greeted => self.expire_token(),
            Incoming::Packets(packets) if is_greeted || begins(&packets) => {
                self.waiting = (size + packets.len() * size_of::<Packet>()) as u64;
                self.packets = packets.into();
            }
            Incoming::TooMany if is_greeted => {
                bounds::PACKETS.count();
                return Err(Violation { code: TOO_LARGE, reason: "the message has too many packets" });
            }
            _ => return Err(Violation { code: BEFORE_HANDSHAKE, reason: "" }),
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<bool, Violation> {
        let Some(packet) = self.packets.pop_front() else { return Ok(false) };
        if self.packets.is_empty() {
            // An idle client keeps no memory for packets.
            self.packets = VecDeque::new();
            self.waiting = 0;
        }
        self.act(packet).map(|()| true)
    }

    fn is_behind(&self) -> bool {
        !self.packets.is_empty()
    }

    fn waiting(&self) -> u64 {
        self.waiting
    }

    fn opening(&mut self) -> Option<oneshot::Receiver<bool>> {
        self.opening.take()
    }

    /// Clients are pinged once their session is open.
    fn ping(&self) -> Bytes {
        match self.link.session.is_open() {
            true => frames::frame(frames::TEXT, self.version.ping().0.as_bytes()),
            false => Bytes::new(),
        }
    }
}

/// Whether packets begin with a handshake.
fn begins(packets: &[Packet]) -> bool {
    matches!(packets.first(), Some(Packet::Event(event)) if &*event.name == "#handshake")
}

impl<B: ClientBackend> Drop for Connection<B> {
    fn drop(&mut self) {
        self.timer.abort();
        self.shared.questions.end(&self.link.session.id);
    }
}
