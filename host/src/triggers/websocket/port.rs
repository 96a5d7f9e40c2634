//! The sessions as guests use them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::message::OutgoingMessage;
use super::route::WebSockets;
use super::socketcluster::{self, Question};
use crate::call::time::now;
use crate::call::{CallError, Payload, Pushed, Recipient, SessionInfo, WhenTaken};
use crate::hub::{BindError, Hub, JoinError, Message, Reach, Session};
use crate::ports::{self, BoxFuture, ClientEvent, SessionValues};

/// The port to the sessions of a host.
pub struct SessionPort {
    hub: Arc<Hub>,
    sockets: Arc<WebSockets>,
}

impl SessionPort {
    pub fn new(hub: Arc<Hub>, sockets: Arc<WebSockets>) -> SessionPort {
        SessionPort { hub, sockets }
    }

    /// A session whose client has tokens and answers.
    fn of_socketcluster(&self, id: &str, what: &str) -> Result<Arc<Session>, CallError> {
        let session = self.hub.sessions.named(id)?;
        if socketcluster::is_client(&session) {
            return Ok(session);
        }
        Err(CallError::Invalid(format!("a plain WebSocket has no {what}: send a message of your own instead")))
    }

    /// Queues a packet for the client of a session.
    fn publish(&self, session: &Session, packet: Arc<dyn Message>) -> u32 {
        self.hub.sessions.topics.publish(&session.id, packet, Reach::Node)
    }

    fn question(&self, id: &str, event: &ClientEvent, timeout: Duration) -> Result<Question, CallError> {
        let session = self.of_socketcluster(id, "answers")?;
        if !session.is_open() {
            return Err(CallError::Unavailable(
                "the client answers only after its hook `connect`: ask later".to_owned(),
            ));
        }
        let question = self.sockets.questions().ask(&session.id, timeout)?;
        match self.publish(&session, socketcluster::question(&event.name, &event.payload, question.cid)) {
            0 => Err(CallError::Unavailable("the session has ended".to_owned())),
            _ => Ok(question),
        }
    }

    fn change(&self, id: &str, values: SessionValues, remove: &[String]) -> Result<(), CallError> {
        let session = self.hub.sessions.named(id)?;
        self.hub.sessions.change(&session, values, remove).map_err(|error| CallError::Invalid(error.to_string()))
    }
}

fn ids(sessions: &[Arc<Session>]) -> Vec<Arc<str>> {
    sessions.iter().map(|session| session.id.clone()).collect()
}

impl ports::Sessions for SessionPort {
    fn look(&self, session: &str) -> Option<SessionInfo> {
        self.hub.sessions.get(session).map(|session| session.info())
    }

    fn find(&self, uid: &str) -> Vec<Arc<str>> {
        ids(&self.hub.sessions.find(uid))
    }

    fn get(&self, session: &str, key: &str) -> Result<Option<String>, CallError> {
        Ok(self.hub.sessions.named(session)?.get(key))
    }

    fn values(&self, session: &str) -> Result<SessionValues, CallError> {
        Ok(self.hub.sessions.named(session)?.values())
    }

    fn set(&self, session: &str, values: SessionValues, remove: &[String]) -> Result<(), CallError> {
        self.change(session, values, remove)
    }

    fn apply(&self, session: &str, values: SessionValues) -> Result<(), CallError> {
        let session = self.hub.sessions.named(session)?;
        self.hub.sessions.apply(&session, values).map_err(|error| CallError::Invalid(error.to_string()))
    }

    fn max_values(&self) -> u64 {
        self.hub.sessions.max_values()
    }

    fn bind(&self, session: &str, uid: String, taken: WhenTaken) -> Result<(), CallError> {
        let session = self.hub.sessions.named(session)?;
        self.hub.sessions.bind(&session, &uid, taken).map_err(|error| match error {
            BindError::Taken => CallError::Forbidden(error.to_string()),
            BindError::Ended => CallError::NotFound(error.to_string()),
        })
    }

    fn unbind(&self, session: &str) -> Result<(), CallError> {
        let session = self.hub.sessions.named(session)?;
        self.hub.sessions.unbind(&session);
        Ok(())
    }

    fn authenticate(&self, session: &str, claims: &str, expires: Option<Duration>) -> Result<(), CallError> {
        let session = self.of_socketcluster(session, "tokens")?;
        let Some(auth) = self.sockets.auth().filter(|auth| auth.signs()) else {
            let why = "this host signs no tokens: set websocket.auth.keyFile or websocket.auth.keyVariable";
            return Err(CallError::Unavailable(why.to_owned()));
        };
        let (token, claims) = auth.sign(claims, expires, now()).map_err(CallError::Invalid)?;
        session.set_claims(Some(claims));
        self.publish(&session, socketcluster::set_token(&token));
        Ok(())
    }

    fn deauthenticate(&self, session: &str) -> Result<(), CallError> {
        let session = self.of_socketcluster(session, "tokens")?;
        session.set_claims(None);
        self.publish(&session, socketcluster::remove_token());
        Ok(())
    }

    fn send(&self, to: &Recipient, event: ClientEvent) -> Result<u32, CallError> {
        Ok(self.hub.sessions.send(to, Arc::new(OutgoingMessage::new(event.name, event.payload))).reached)
    }

    fn disconnect(&self, session: &str, code: u16, reason: String) -> Result<(), CallError> {
        let session = self.hub.sessions.named(session)?;
        self.hub.sessions.disconnect(&session, code, &reason);
        Ok(())
    }

    fn join(&self, group: &str, sessions: &[String]) -> Result<u32, CallError> {
        let mut joined = 0;
        for session in sessions.iter().filter_map(|id| self.hub.sessions.get(id)) {
            match self.hub.sessions.join(&session, group) {
                Ok(is_new) => joined += u32::from(is_new),
                Err(JoinError::Ended) => {}
                Err(error) => return Err(CallError::Overloaded(error.to_string())),
            }
        }
        Ok(joined)
    }

    fn leave(&self, group: &str, sessions: &[String]) -> Result<u32, CallError> {
        let found = sessions.iter().filter_map(|id| self.hub.sessions.get(id));
        Ok(found.map(|session| u32::from(self.hub.sessions.leave(&session, group))).sum())
    }

    fn members(&self, group: &str) -> Vec<Arc<str>> {
        self.hub.sessions.members(group)
    }

    fn count(&self) -> (u32, u32) {
        self.hub.sessions.count()
    }

    fn push(&self, to: Vec<Recipient>, event: ClientEvent) -> BoxFuture<Result<Pushed, CallError>> {
        let message = Arc::new(OutgoingMessage::new(event.name, event.payload));
        let mut pushed = Pushed::default();
        // A recipient that is named twice counts once, so that the work is bounded by the sessions
        // and the groups that exist.
        let mut named = HashSet::new();
        for recipient in to {
            if !named.insert(recipient.clone()) {
                continue;
            }
            let sent = self.hub.sessions.send(&recipient, message.clone());
            pushed.reached = pushed.reached.saturating_add(sent.reached);
            if sent.is_unknown {
                pushed.unknown.push(recipient);
            }
        }
        Box::pin(std::future::ready(Ok(pushed)))
    }

    fn ask(&self, session: String, event: ClientEvent, timeout: Duration) -> BoxFuture<Result<Payload, CallError>> {
        let question = self.question(&session, &event, timeout.min(self.sockets.ack_timeout()));
        Box::pin(async move { question?.answer().await })
    }

    fn read(&self, session: String) -> BoxFuture<Result<(SessionInfo, SessionValues), CallError>> {
        let read = self.hub.sessions.named(&session).map(|session| (session.info(), session.values()));
        Box::pin(std::future::ready(read))
    }

    fn write(&self, session: String, values: SessionValues, remove: Vec<String>) -> BoxFuture<Result<(), CallError>> {
        Box::pin(std::future::ready(self.change(&session, values, &remove)))
    }

    fn find_everywhere(&self, uid: String) -> BoxFuture<Result<Vec<SessionInfo>, CallError>> {
        let found = self.hub.sessions.find(&uid).iter().map(|session| session.info()).collect();
        Box::pin(std::future::ready(Ok(found)))
    }
}
