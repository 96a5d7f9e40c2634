//! What the messages of one client need, whatever its protocol.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::oneshot;

use super::backend::ClientBackend;
use super::close_codes;
use super::counters::Counters;
use super::decoder::Violation;
use super::flow::Flow;
use crate::call::{CallError, CallResult, ClientHook, Payload, RequestHead, hook};
use crate::hub::{Encoding, Hub, Message, Reach, Session};

/// Why the connection of a client ends that sends a message too slowly.
pub(super) const LATE: Violation = Violation {
    code: close_codes::LATE,
    reason: "the rest of the message has not arrived in time (websocket.messageTimeout)",
};

/// The protocol of the messages of a WebSocket.
pub(super) trait Protocol: Send + 'static {
    type Backend: ClientBackend;

    /// How the hub encodes messages for its clients.
    const ENCODING: Encoding;

    /// Why the connection of a client ends that answers no pings.
    const SILENT: Violation;

    fn link(&self) -> &Link<Self::Backend>;

    /// Acts on a message of the client. A violation ends the connection.
    fn receive(&mut self, message: Payload) -> Result<(), Violation>;

    /// Acts on the next part of a message that has several. Returns whether there was one.
    fn advance(&mut self) -> Result<bool, Violation> {
        Ok(false)
    }

    /// Whether [`Protocol::advance`] has more to do.
    fn is_behind(&self) -> bool {
        false
    }

    /// The client has its socket: hyper has sent the response.
    fn connected(&mut self) {}

    /// The bytes of what [`Protocol::advance`] has to do.
    fn waiting(&self) -> u64 {
        0
    }

    /// The decision of the hook `connect`, while the hook runs or if nobody has asked for it yet.
    fn opening(&mut self) -> Option<oneshot::Receiver<bool>> {
        None
    }

    /// The frame of a ping. None to send no ping yet.
    fn ping(&self) -> Bytes;
}

#[derive(Clone)]
pub(super) struct Link<B> {
    pub(super) backend: B,
    pub(super) hub: Arc<Hub>,
    pub(super) counters: Arc<Counters>,
    pub(super) session: Arc<Session>,
    /// The module that the client connects to.
    pub(super) module: Arc<str>,
    /// The parameters of the path, if the client has opened a socket of the module.
    pub(super) params: Arc<[(String, String)]>,
    /// The query of the URL.
    pub(super) query: Arc<str>,
    pub(super) subdomain: Option<Arc<str>>,
    /// `websocket.ackTimeout`.
    pub(super) timeout: Duration,
    pub(super) flow: Arc<Flow>,
}

impl<B: ClientBackend> Link<B> {
    /// Queues a message for the client, behind all that wait.
    pub(super) fn send(&self, message: Arc<dyn Message>) {
        self.hub.sessions.topics.publish(&self.session.id, message, Reach::Node);
    }

    /// Calls a hook about the client. `None` if the module has no such hook. `since` is when the
    /// client asked, if it waits for the hook.
    pub(super) fn hook(
        &self,
        hook: &'static str,
        head: Option<Box<RequestHead>>,
        payload: Payload,
        since: Option<Instant>,
    ) -> Option<impl Future<Output = CallResult> + Send + 'static> {
        self.backend.hook(ClientHook {
            module: self.module.clone(),
            hook,
            session: Some(self.session.id.clone()),
            head,
            params: self.params.to_vec(),
            query: self.query.to_string(),
            payload,
            subdomain: self.subdomain.clone(),
            since,
        })
    }

    /// Calls the hook `disconnect`, after the connection has ended.
    pub(super) fn ended(&self) -> Option<impl Future<Output = CallResult> + Send + 'static> {
        let ending = self.session.ending().map(|ending| (ending.code, &*ending.reason)).unwrap_or_default();
        let payload = Payload::from(json!({ "code": ending.0, "reason": ending.1 }));
        self.hook(hook::DISCONNECT, None, payload, None)
    }

    /// The close code that the failure of a call asks for.
    pub(super) fn close_code(&self, error: &CallError) -> Option<u16> {
        match error {
            CallError::Failure(failure) => close_code(&failure.extra),
            _ => None,
        }
    }

    /// Ends the connection if the failure of a call asks for it, after what is queued.
    pub(super) fn disconnect_after(&self, error: &CallError) {
        if let Some(code) = self.close_code(error) {
            self.hub.sessions.disconnect(&self.session, code, &error.to_string());
        }
    }
}

/// The code of `close-code`, if it is one that a module may choose.
fn close_code(extra: &[(String, String)]) -> Option<u16> {
    let (_, code) = extra.iter().find(|(name, _)| name == "close-code")?;
    code.parse().ok().filter(|code| *code == close_codes::NORMAL || (4000..=4999).contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_chooses_only_codes_for_applications() {
        let of =
            |code: &str| close_code(&[("a".to_owned(), "4000".to_owned()), ("close-code".to_owned(), code.to_owned())]);
        assert_eq!((of("1000"), of("4000"), of("4999")), (Some(1000), Some(4000), Some(4999)));
        for code in ["", "x", "999", "1001", "3999", "5000", "70000"] {
            assert_eq!(of(code), None, "{code}");
        }
        assert_eq!(close_code(&[]), None);
    }
}
