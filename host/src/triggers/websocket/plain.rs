//! Plain WebSockets: each message is a call of the socket's route, and a reply with a payload is
//! one message back.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::backend::{ClientBackend, SocketTarget};
use super::close_codes::PROTOCOL;
use super::counters::Counters;
use super::decoder::Violation;
use super::frames::PING_FRAME;
use super::link::{Link, Protocol};
use super::message::OutgoingMessage;
use crate::call::{CallError, CallResult, ClientMessage, Payload};
use crate::hub::Encoding;

/// A client of a plain WebSocket.
pub(super) struct PlainClient<B> {
    /// Shared with the task of each message.
    pub(super) link: Arc<Link<B>>,
    pub(super) target: SocketTarget,
    /// The decision of the hook `connect`, until the client has its socket.
    pub(super) opening: Option<oneshot::Receiver<bool>>,
}

impl<B: ClientBackend> Protocol for PlainClient<B> {
    type Backend = B;

    const ENCODING: Encoding = Encoding::Plain;

    const SILENT: Violation =
        Violation { code: PROTOCOL, reason: "the client answers no pings (websocket.pingTimeout)" };

    fn link(&self) -> &Link<B> {
        &self.link
    }

    /// Queues the call of a message. Its reply goes to the client as soon as there is one.
    fn receive(&mut self, payload: Payload) -> Result<(), Violation> {
        let Link { backend, counters, session, params, query, subdomain, timeout, flow, .. } = &*self.link;
        Counters::count(&counters.messages);
        let target = &self.target;
        let called = backend.message(ClientMessage {
            session: session.id.clone(),
            module: target.name.module.clone(),
            name: target.name.pattern.clone(),
            socket: true,
            params: params.to_vec(),
            query: query.to_string(),
            payload,
            wants_reply: true,
            subdomain: subdomain.clone(),
            timeout: *timeout,
        });
        match called {
            Ok(outcome) => {
                let (running, link) = (flow.begin(), self.link.clone());
                tokio::spawn(async move {
                    send_outcome(&link, outcome.await);
                    drop(running);
                });
            }
            Err(error) => send_outcome(&self.link, Err(error)),
        }
        Ok(())
    }

    fn connected(&mut self) {
        self.opening = None;
    }

    fn opening(&mut self) -> Option<oneshot::Receiver<bool>> {
        self.opening.take()
    }

    fn ping(&self) -> Bytes {
        PING_FRAME
    }
}

/// Sends the outcome of a call to the client that has caused it. The protocol has no errors, so the
/// client learns of a failure only if it closes the WebSocket.
fn send_outcome<B: ClientBackend>(link: &Link<B>, result: CallResult) {
    match result {
        Ok(outcome) => match outcome.into_reply().payload {
            Payload::None => {}
            payload => link.send(Arc::new(OutgoingMessage::new(String::new(), payload))),
        },
        Err(error) => fail(link, &error),
    }
}

fn fail<B: ClientBackend>(link: &Link<B>, error: &CallError) {
    Counters::count(&link.counters.failed);
    tracing::debug!(session = %link.session.id, %error, "the call of a message failed");
    link.disconnect_after(error);
}
