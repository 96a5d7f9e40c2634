//! The port to the sessions of connected clients.

use std::sync::Arc;
use std::time::Duration;

use super::BoxFuture;
use crate::call::{CallError, Payload, Pushed, Recipient, SessionInfo, WhenTaken};

/// The name of each value of a session, and its JSON text.
pub type SessionValues = Vec<(String, String)>;

/// A message to clients.
#[derive(Debug, Clone)]
pub struct ClientEvent {
    pub name: String,
    pub payload: Payload,
}

/// The functions of sessions for the imports `sessions`, `sessions-await` and `sessions-blocking`.
///
/// The imports have checked the arguments and the capability of the caller
/// ([`SessionCaller`](super::SessionCaller)). A session is named by its id. Functions that need a
/// session return `not-found` if there is no session with this id.
pub trait Sessions: Send + Sync {
    /// Returns a session of this node.
    fn look(&self, session: &str) -> Option<SessionInfo>;

    /// Returns the ids of the sessions of this node that are bound to a user.
    fn find(&self, uid: &str) -> Vec<Arc<str>>;

    fn get(&self, session: &str, key: &str) -> Result<Option<String>, CallError>;

    fn values(&self, session: &str) -> Result<SessionValues, CallError>;

    /// Removes values, then sets values. Does all of it, or nothing if it fails.
    fn set(&self, session: &str, values: SessionValues, remove: &[String]) -> Result<(), CallError>;

    /// Sets values in place of all that may leave the node. Does all of it, or nothing.
    fn apply(&self, session: &str, values: SessionValues) -> Result<(), CallError>;

    /// `websocket.sessionSize`.
    fn max_values(&self) -> u64;

    fn bind(&self, session: &str, uid: String, taken: WhenTaken) -> Result<(), CallError>;

    fn unbind(&self, session: &str) -> Result<(), CallError>;

    /// Signs a token with these claims, a JSON object, and sends it to the client. `None` is the
    /// expiry of the settings.
    fn authenticate(&self, session: &str, claims: &str, expires: Option<Duration>) -> Result<(), CallError>;

    fn deauthenticate(&self, session: &str) -> Result<(), CallError>;

    /// Queues a message for sessions of this node. Returns their number.
    fn send(&self, to: &Recipient, event: ClientEvent) -> Result<u32, CallError>;

    /// Ends a session after everything that is queued for it is sent.
    fn disconnect(&self, session: &str, code: u16, reason: String) -> Result<(), CallError>;

    /// Adds sessions to a group. Returns how many were not in it.
    fn join(&self, group: &str, sessions: &[String]) -> Result<u32, CallError>;

    /// Removes sessions from a group. Returns how many were in it.
    fn leave(&self, group: &str, sessions: &[String]) -> Result<u32, CallError>;

    /// Returns the members of a group on this node.
    fn members(&self, group: &str) -> Vec<Arc<str>>;

    /// Returns the number of sessions of this node, and how many of them are bound.
    fn count(&self) -> (u32, u32);

    /// Sends a message to each recipient, on every node.
    fn push(&self, to: Vec<Recipient>, event: ClientEvent) -> BoxFuture<Result<Pushed, CallError>>;

    /// Sends a message to one client and waits for its answer.
    fn ask(&self, session: String, event: ClientEvent, timeout: Duration) -> BoxFuture<Result<Payload, CallError>>;

    /// Returns a session of any node, and its values.
    fn read(&self, session: String) -> BoxFuture<Result<(SessionInfo, SessionValues), CallError>>;

    /// Like [`Sessions::set`], for a session of any node.
    fn write(&self, session: String, values: SessionValues, remove: Vec<String>) -> BoxFuture<Result<(), CallError>>;

    /// Returns the sessions of all nodes that are bound to a user.
    fn find_everywhere(&self, uid: String) -> BoxFuture<Result<Vec<SessionInfo>, CallError>>;
}

/// The port of a host that serves no clients.
#[derive(Debug, Clone, Copy)]
pub struct NoSessions;

impl Sessions for NoSessions {
    fn look(&self, _: &str) -> Option<SessionInfo> {
        None
    }

    fn find(&self, _: &str) -> Vec<Arc<str>> {
        Vec::new()
    }

    fn get(&self, _: &str, _: &str) -> Result<Option<String>, CallError> {
        Err(unavailable())
    }

    fn values(&self, _: &str) -> Result<SessionValues, CallError> {
        Err(unavailable())
    }

    fn set(&self, _: &str, _: SessionValues, _: &[String]) -> Result<(), CallError> {
        Err(unavailable())
    }

    fn apply(&self, _: &str, _: SessionValues) -> Result<(), CallError> {
        Err(unavailable())
    }

    fn max_values(&self) -> u64 {
        0
    }

    fn bind(&self, _: &str, _: String, _: WhenTaken) -> Result<(), CallError> {
        Err(unavailable())
    }

    fn unbind(&self, _: &str) -> Result<(), CallError> {
        Err(unavailable())
    }

    fn authenticate(&self, _: &str, _: &str, _: Option<Duration>) -> Result<(), CallError> {
        Err(unavailable())
    }

    fn deauthenticate(&self, _: &str) -> Result<(), CallError> {
        Err(unavailable())
    }

    fn send(&self, _: &Recipient, _: ClientEvent) -> Result<u32, CallError> {
        Err(unavailable())
    }

    fn disconnect(&self, _: &str, _: u16, _: String) -> Result<(), CallError> {
        Err(unavailable())
    }

    fn join(&self, _: &str, _: &[String]) -> Result<u32, CallError> {
        Err(unavailable())
    }

    fn leave(&self, _: &str, _: &[String]) -> Result<u32, CallError> {
        Err(unavailable())
    }

    fn members(&self, _: &str) -> Vec<Arc<str>> {
        Vec::new()
    }

    fn count(&self) -> (u32, u32) {
        (0, 0)
    }

    fn push(&self, _: Vec<Recipient>, _: ClientEvent) -> BoxFuture<Result<Pushed, CallError>> {
        Box::pin(std::future::ready(Err(unavailable())))
    }

    fn ask(&self, _: String, _: ClientEvent, _: Duration) -> BoxFuture<Result<Payload, CallError>> {
        Box::pin(std::future::ready(Err(unavailable())))
    }

    fn read(&self, _: String) -> BoxFuture<Result<(SessionInfo, SessionValues), CallError>> {
        Box::pin(std::future::ready(Err(unavailable())))
    }

    fn write(&self, _: String, _: SessionValues, _: Vec<String>) -> BoxFuture<Result<(), CallError>> {
        Box::pin(std::future::ready(Err(unavailable())))
    }

    fn find_everywhere(&self, _: String) -> BoxFuture<Result<Vec<SessionInfo>, CallError>> {
        Box::pin(std::future::ready(Err(unavailable())))
    }
}

fn unavailable() -> CallError {
    CallError::Unavailable("this host only inspects modules and serves no clients".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_without_clients_has_no_sessions() {
        let (none, key) = (NoSessions, || "k".to_owned());
        let event = || ClientEvent { name: key(), payload: Payload::None };
        let errors = [
            none.get("s", "k").unwrap_err(),
            none.values("s").unwrap_err(),
            none.set("s", Vec::new(), &[]).unwrap_err(),
            none.apply("s", Vec::new()).unwrap_err(),
            none.bind("s", key(), WhenTaken::Share).unwrap_err(),
            none.unbind("s").unwrap_err(),
            none.authenticate("s", "{}", None).unwrap_err(),
            none.deauthenticate("s").unwrap_err(),
            none.send(&Recipient::Everyone, event()).unwrap_err(),
            none.disconnect("s", 1000, key()).unwrap_err(),
            none.join("g", &[]).unwrap_err(),
            none.leave("g", &[]).unwrap_err(),
            none.push(Vec::new(), event()).await.unwrap_err(),
            none.ask(key(), event(), Duration::ZERO).await.unwrap_err(),
            none.read(key()).await.unwrap_err(),
            none.write(key(), Vec::new(), Vec::new()).await.unwrap_err(),
            none.find_everywhere(key()).await.unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error, CallError::Unavailable(_)), "{error:?}");
        }
        assert_eq!((none.look("s"), none.count(), none.max_values()), (None, (0, 0), 0));
        assert!(none.find("u").is_empty() && none.members("g").is_empty());
    }
}
