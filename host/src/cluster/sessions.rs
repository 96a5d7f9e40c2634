//! The sessions of all nodes: the port [`Sessions`] of a node in a cluster.
//!
//! What returns at once is about the sessions of this node. What waits reaches those of all nodes.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cluster;
use super::asking::{Asked, Unanswered};
use super::presence::Reachable;
use super::pushes::push_here;
use super::session_request::{ReadResult, SessionRequest};
use super::wire::Request;
use crate::call::text::{NAME, line};
use crate::call::{
    CallError, GatherEntry, IsolateId, Payload, Pushed, Recipient, Reply, SessionInfo, WhenTaken, session,
};
use crate::ports::{BoxFuture, ClientEvent, SessionValues, Sessions, Wanted};

/// Values whose names begin with this never leave the node of their session.
const OF_NODE: char = '_';

/// The sessions of a node in a cluster.
pub struct ClusterSessions {
    own: Arc<dyn Sessions>,
    cluster: Arc<Cluster>,
    /// `websocket.ackTimeout`.
    ack_timeout: Duration,
}

impl ClusterSessions {
    /// `own` are the sessions of this node.
    pub fn new(own: Arc<dyn Sessions>, cluster: &Arc<Cluster>, ack_timeout: Duration) -> ClusterSessions {
        // The host calls this once. The sessions hold the calls, and these the cluster.
        let weak = Arc::downgrade(&own);
        _ = cluster.node.sessions.set(weak);
        ClusterSessions { own, cluster: cluster.clone(), ack_timeout }
    }
}

/// Whether a lost connection leaves open if the request has done something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Reads,
    Changes,
}

pub(super) fn failed<T: Send + 'static>(error: CallError) -> BoxFuture<Result<T, CallError>> {
    Box::pin(std::future::ready(Err(error)))
}

fn reply(payload: Payload) -> Reply {
    Reply { payload, ..Reply::default() }
}

pub(super) fn as_json(result: &impl Serialize) -> Result<Reply, CallError> {
    let text = serde_json::to_string(result).map_err(|error| CallError::Invalid(error.to_string()))?;
    Ok(reply(Payload::Text(text)))
}

pub(super) fn from_json<T: DeserializeOwned>(reply: &Reply) -> Result<T, CallError> {
    let malformed = |error| CallError::Crashed(format!("the answer of a node cannot be read: {error}"));
    serde_json::from_str(&reply.payload.to_text()).map_err(malformed)
}

/// The error of a request that one node did not answer.
pub(super) fn unanswered(node: &Reachable, why: Unanswered, effect: Effect) -> CallError {
    let id = &node.peer.id;
    match why {
        Unanswered::Gone => CallError::Unavailable(format!("node {id} was lost, and its sessions with it")),
        Unanswered::Cut if effect == Effect::Changes => {
            CallError::Crashed("the connection to NATS was lost; the call may have run".to_owned())
        }
        Unanswered::Cut => CallError::Unavailable("the connection to NATS was lost".to_owned()),
        Unanswered::Late => CallError::Timeout(Some(format!("node {id} has not answered"))),
        Unanswered::Refused(error) => error,
    }
}

impl Cluster {
    /// The other node that has a session. `None` if this node would have it.
    fn home_of(&self, id: &str) -> Result<Option<Reachable>, CallError> {
        let Some(node) = session::node_of(id).filter(|node| *node != self.own.id) else { return Ok(None) };
        self.client()?;
        let view = self.view.load();
        if let Some(home) = view.frontends.get(node) {
            return Ok(Some(home.clone()));
        }
        let missing = || CallError::NotFound(format!("no session `{}` on any node", line(id, NAME)));
        let absent = self.absent(Wanted::Node(node)).filter(|_| !view.nodes.contains_key(node));
        Err(absent.unwrap_or_else(missing))
    }

    fn ask_one(&self, node: Reachable, request: SessionRequest) -> Result<Asked, CallError> {
        let bytes = self.written(Request::Sessions(self.sender(), request))?;
        self.ask_each(vec![(node, bytes)])
    }

    /// Asks the node of a session. `None` if this node would have it.
    fn ask_home(
        &self,
        id: &str,
        request: impl FnOnce() -> SessionRequest,
        within: Duration,
        effect: Effect,
    ) -> Option<BoxFuture<Result<Reply, CallError>>> {
        let node = match self.home_of(id) {
            Ok(node) => node?,
            Err(error) => return Some(failed(error)),
        };
        Some(match self.ask_one(node, request()) {
            Err(error) => failed(error),
            Ok(asked) => Box::pin(async move {
                let (node, outcome) = asked.outcomes(within).await.pop().ok_or_else(CallError::stopping)?;
                outcome.map_err(|why| unanswered(&node, why, effect))
            }),
        })
    }

    /// Does what another node asks about the sessions of this one. A push is done when this
    /// returns.
    pub(super) fn on_session_request(&self, request: SessionRequest) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        let Some(sessions) = self.node.sessions() else { return failed(CallError::stopping()) };
        let outcome = served(&*sessions, request);
        // As part of an entry, the data of a failure crosses as they are.
        Box::pin(async move {
            let outcome = outcome.await;
            Ok(vec![GatherEntry { isolate: IsolateId::Master, node: None, outcome }])
        })
    }

    /// Asks every other node for the sessions of a user.
    fn find_elsewhere(&self, uid: &str) -> Result<Option<Asked>, CallError> {
        self.client()?;
        if !self.has_met_all() && !self.unmet_frontends().is_empty() {
            return Err(CallError::Unavailable("this node has not met all others yet: try again".to_owned()));
        }
        let view = self.view.load();
        if view.frontends.is_empty() {
            return Ok(None);
        }
        let bytes = self.written(Request::Sessions(self.sender(), SessionRequest::Find(uid.to_owned())))?;
        self.ask_each(view.frontends.values().map(|node| (node.clone(), bytes.clone())).collect()).map(Some)
    }
}

fn served(sessions: &dyn Sessions, request: SessionRequest) -> BoxFuture<Result<Reply, CallError>> {
    match request {
        SessionRequest::Push { to, event } => {
            let pushed = push_here(sessions, to, event.into());
            Box::pin(async move { as_json(&pushed.await?) })
        }
        SessionRequest::Ask { session, event, timeout } => {
            let answer = sessions.ask(session, event.into(), timeout);
            Box::pin(async move { answer.await.map(reply) })
        }
        SessionRequest::Read(session) => {
            let read = sessions.read(session);
            Box::pin(async move {
                let (session, mut values) = read.await?;
                values.retain(|(key, _)| !key.starts_with(OF_NODE));
                as_json(&ReadResult { session, values })
            })
        }
        SessionRequest::Write { session, set, remove } => {
            let written = sessions.write(session, set, remove);
            Box::pin(async move { written.await.map(|()| reply(Payload::None)) })
        }
        SessionRequest::Find(uid) => {
            let found = sessions.find_everywhere(uid);
            Box::pin(async move { as_json(&found.await?) })
        }
    }
}

impl Sessions for ClusterSessions {
    fn look(&self, session: &str) -> Option<SessionInfo> {
        self.own.look(session)
    }

    fn find(&self, uid: &str) -> Vec<Arc<str>> {
        self.own.find(uid)
    }

    fn get(&self, session: &str, key: &str) -> Result<Option<String>, CallError> {
        self.own.get(session, key)
    }

    fn values(&self, session: &str) -> Result<SessionValues, CallError> {
        self.own.values(session)
    }

    fn set(&self, session: &str, values: SessionValues, remove: &[String]) -> Result<(), CallError> {
        self.own.set(session, values, remove)
    }

    fn apply(&self, session: &str, values: SessionValues) -> Result<(), CallError> {
        self.own.apply(session, values)
    }

    fn max_values(&self) -> u64 {
        self.own.max_values()
    }

    fn bind(&self, session: &str, uid: String, taken: WhenTaken) -> Result<(), CallError> {
        self.own.bind(session, uid, taken)
    }

    fn unbind(&self, session: &str) -> Result<(), CallError> {
        self.own.unbind(session)
    }

    fn authenticate(&self, session: &str, claims: &str, expires: Option<Duration>) -> Result<(), CallError> {
        self.own.authenticate(session, claims, expires)
    }

    fn deauthenticate(&self, session: &str) -> Result<(), CallError> {
        self.own.deauthenticate(session)
    }

    fn send(&self, to: &Recipient, event: ClientEvent) -> Result<u32, CallError> {
        self.cluster.send_to_clients(&*self.own, to, event)
    }

    fn disconnect(&self, session: &str, code: u16, reason: String) -> Result<(), CallError> {
        self.own.disconnect(session, code, reason)
    }

    fn join(&self, group: &str, sessions: &[String]) -> Result<u32, CallError> {
        self.own.join(group, sessions)
    }

    fn leave(&self, group: &str, sessions: &[String]) -> Result<u32, CallError> {
        self.own.leave(group, sessions)
    }

    fn members(&self, group: &str) -> Vec<Arc<str>> {
        self.own.members(group)
    }

    fn count(&self) -> (u32, u32) {
        self.own.count()
    }

    fn push(&self, to: Vec<Recipient>, event: ClientEvent) -> BoxFuture<Result<Pushed, CallError>> {
        self.cluster.push(&*self.own, to, event).unwrap_or_else(failed)
    }

    fn ask(&self, session: String, event: ClientEvent, timeout: Duration) -> BoxFuture<Result<Payload, CallError>> {
        let timeout = timeout.min(self.ack_timeout);
        let request = || SessionRequest::Ask { session: session.clone(), event: (&event).into(), timeout };
        match self.cluster.ask_home(&session, request, timeout, Effect::Changes) {
            Some(answer) => Box::pin(async move { answer.await.map(|reply| reply.payload) }),
            None => self.own.ask(session, event, timeout),
        }
    }

    fn read(&self, session: String) -> BoxFuture<Result<(SessionInfo, SessionValues), CallError>> {
        let within = self.cluster.config.gone_after;
        match self.cluster.ask_home(&session, || SessionRequest::Read(session.clone()), within, Effect::Reads) {
            Some(read) => Box::pin(async move {
                let ReadResult { session, values } = from_json(&read.await?)?;
                Ok((session, values))
            }),
            None => self.own.read(session),
        }
    }

    fn write(&self, session: String, values: SessionValues, remove: Vec<String>) -> BoxFuture<Result<(), CallError>> {
        let within = self.cluster.config.gone_after;
        let request =
            || SessionRequest::Write { session: session.clone(), set: values.clone(), remove: remove.clone() };
        match self.cluster.ask_home(&session, request, within, Effect::Changes) {
            Some(written) => Box::pin(async move { written.await.map(drop) }),
            None => self.own.write(session, values, remove),
        }
    }

    fn find_everywhere(&self, uid: String) -> BoxFuture<Result<Vec<SessionInfo>, CallError>> {
        let asked = match self.cluster.find_elsewhere(&uid) {
            Ok(asked) => asked,
            Err(error) => return failed(error),
        };
        let (own, within) = (self.own.find_everywhere(uid), self.cluster.config.gone_after);
        Box::pin(async move {
            let mut found = own.await?;
            let Some(asked) = asked else { return Ok(found) };
            for (node, outcome) in asked.outcomes(within).await {
                match outcome {
                    Ok(reply) => found.append(&mut from_json(&reply)?),
                    // A node that is gone has no sessions.
                    Err(Unanswered::Gone) => {}
                    Err(why) => return Err(unanswered(&node, why, Effect::Reads)),
                }
            }
            Ok(found)
        })
    }
}
