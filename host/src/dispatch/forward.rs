//! Messages of clients that other nodes run, because this node does not have the module.
//!
//! The node of the client picks the node that runs the message, and sends it a copy of the session.
//! That node finds the route and checks access as for its own clients. All messages of a session
//! run in the same worker there, so that they start in their order.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clients::{Chain, FromPeer};
use super::rendezvous::weight_of;
use super::{CallSpec, Dispatch, PendingCall};
use crate::call::text::{NAME, line};
use crate::call::{
    AppliedValues, CallError, CallResult, ClientMessage, Deadline, Envelope, Origin, Peer, PeerMessage, Recipient,
    RouteName, SessionAct, SessionCopy, SessionHome, SessionInfo, Trace, Trigger, TriggerKind, VERSION,
};
use crate::config::RouterConfig;
use crate::isolate::{Isolate, Slot};
use crate::ports::{BoxFuture, ClientEvent, Forward, Sessions, Wanted};

/// The server type that has the module of a message, and its nodes that do.
struct Holders {
    server: Arc<str>,
    nodes: Vec<Peer>,
}

/// How the node of a message is found.
enum Pick {
    /// The hash picks it when the message leaves, because nodes may stop until then.
    Nearest,
    Named(Arc<str>),
    /// A route of a module on this node says it.
    Asked(Arc<Slot>, PendingCall),
}

impl Dispatch {
    /// Sends a client's message to a node that has its module. The route function is called before
    /// this returns, and messages of a session leave in the order of these calls.
    pub(super) fn forward(
        self: &Arc<Dispatch>,
        isolate: &Isolate,
        name: RouteName,
        message: ClientMessage,
    ) -> Result<BoxFuture<CallResult>, CallError> {
        let module = name.module.as_deref().unwrap_or(&message.module).to_owned();
        let holders = self.holders_of(&module)?;
        let until = Instant::now() + message.timeout;
        let sessions = self.sessions().ok_or_else(CallError::stopping)?;
        let missing = || CallError::NotFound(format!("there is no session {}", line(&message.session, NAME)));
        let info = sessions.look(&message.session).ok_or_else(missing)?;
        let trace = Trace::fresh();
        let pick = self.pick(isolate, &holders, &*sessions, &info, &message, (until, trace));
        let pick = pick.inspect_err(|error| self.peers.unrouted(&holders.server, error))?;
        let mut values = sessions.values(&message.session)?;
        values.retain(|(name, _)| !name.starts_with('_'));
        let max_values = sessions.max_values();
        let (before, turn) = self.turns.queue(&message.session);
        let dispatch = self.clone();
        Ok(Box::pin(async move {
            let failed = |error: &CallError| dispatch.peers.unrouted(&holders.server, error);
            let picked = dispatch.picked(pick, &holders).await;
            if let Some(before) = before {
                // It ends when the turn of the message before this one is over. The next message
                // waits for it, too, if this one fails.
                _ = before.await;
            }
            let node = match picked.inspect_err(failed)? {
                Some(node) => node,
                None => dispatch.nearest(&info, &module, &holders.server).inspect_err(failed)?,
            };
            let message = dispatch.peer_message(name, module, message, info, (values, max_values), (until, trace));
            let session = message.session.id.clone();
            tracing::debug!(%node, route = %message.route, %trace, "a message of a client runs on another node");
            let acts = Box::new(move |act| on_act(&*sessions, &session, act));
            let outcome = dispatch.peers.forward(&node, Forward { message, turn: Box::new(turn), acts });
            match tokio::time::timeout_at(until.into(), outcome).await {
                Ok(outcome) => outcome,
                Err(_) => Err(CallError::Timeout(None)),
            }
        }))
    }

    fn peer_message(
        &self,
        name: RouteName,
        module: String,
        message: ClientMessage,
        session: SessionInfo,
        (values, max_values): (Vec<(String, String)>, u64),
        (until, trace): (Instant, Trace),
    ) -> PeerMessage {
        PeerMessage {
            envelope: Envelope {
                version: VERSION,
                origin: Origin::Session(message.session),
                chain: Vec::new(),
                depth: 0,
                in_startup: false,
                left: until.saturating_duration_since(Instant::now()),
                trace,
                subdomain: message.subdomain,
            },
            session,
            values,
            max_values,
            route: RouteName { module: Some(module), ..name },
            name: message.name.to_string(),
            socket: message.socket.then(|| message.module.to_string()),
            params: message.params,
            wants_reply: message.wants_reply,
            query: message.query,
            payload: message.payload,
        }
    }

    /// The nodes that have a module. If they are of several types, one with a route function comes
    /// first, else the first name.
    fn holders_of(&self, module: &str) -> Result<Holders, CallError> {
        let mut nodes = self.peers.holders(module);
        let servers: BTreeSet<&Arc<str>> = nodes.iter().map(|peer| &peer.server).collect();
        let routed = servers.iter().find(|server| self.routers.contains_key(&****server));
        let Some(server) = routed.or(servers.first()).map(|server| Arc::clone(server)) else {
            return Err(self.peers.missing(Wanted::Module(module)).unwrap_or_else(|| self.missing(module)));
        };
        nodes.retain(|peer| peer.server == server);
        Ok(Holders { server, nodes })
    }

    fn pick(
        &self,
        isolate: &Isolate,
        holders: &Holders,
        sessions: &dyn Sessions,
        info: &SessionInfo,
        message: &ClientMessage,
        times: (Instant, Trace),
    ) -> Result<Pick, CallError> {
        let server = &holders.server;
        let Some(router) = self.routers.get(&**server) else {
            return Ok(Pick::Nearest);
        };
        if let Some(key) = &router.session {
            let value = sessions.get(&info.id, key)?;
            let unset = || unrouted(server, format_args!("the session has no value `{key}`"));
            let text = value.ok_or_else(unset)?;
            let node: Result<String, _> = serde_json::from_str(&text);
            let node =
                node.map_err(|_| unrouted(server, format_args!("the value `{key}` of the session is no text")))?;
            return self.holder(holders, &node).map(Pick::Named);
        }
        self.ask_router(isolate, router, server, message, times)
            .map(|(slot, pending)| Pick::Asked(slot, pending))
            .map_err(|error| unrouted(server, error))
    }

    /// Queues the call of a route function.
    fn ask_router(
        &self,
        isolate: &Isolate,
        router: &RouterConfig,
        server: &Arc<str>,
        message: &ClientMessage,
        (until, trace): (Instant, Trace),
    ) -> Result<(Arc<Slot>, PendingCall), CallError> {
        let (module, path) = (router.module.as_deref().unwrap_or_default(), router.path.as_deref().unwrap_or_default());
        let name = RouteName::within(module, path).map_err(|error| CallError::Invalid(error.to_string()))?;
        let slot = self.client_slot(isolate, module)?;
        let matched = Self::find_route(&slot, &name, TriggerKind::Route)?;
        let limit = Instant::now() + slot.deployment().generation.limits.timeout;
        let trigger = Trigger::Route { server: server.clone(), event: message.name.clone() };
        let spec = CallSpec {
            origin: Origin::Session(message.session.clone()),
            subdomain: message.subdomain.clone(),
            trace: Some(trace),
            session: Some(message.session.clone().into()),
            query: name.query,
            ..CallSpec::of_host(trigger, Deadline::At(until.min(limit)), message.payload.clone())
        };
        let pending = self.send_to(&slot, matched, spec)?;
        Ok((slot, pending))
    }

    /// The node that a router names.
    async fn picked(&self, pick: Pick, holders: &Holders) -> Result<Option<Arc<str>>, CallError> {
        let (slot, pending) = match pick {
            Pick::Nearest => return Ok(None),
            Pick::Named(node) => return Ok(Some(node)),
            Pick::Asked(slot, pending) => (slot, pending),
        };
        let server = &holders.server;
        let reply = pending.outcome(&slot).await.map_err(|error| unrouted(server, error))?.into_reply();
        let text = std::str::from_utf8(reply.payload.as_bytes()).unwrap_or_default();
        // A handler may reply with text, or with JSON.
        let node = serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned());
        self.holder(holders, &node).map(Some)
    }

    /// The node that a router names.
    fn holder(&self, holders: &Holders, node: &str) -> Result<Arc<str>, CallError> {
        let found = holders.nodes.iter().find(|peer| *peer.id == *node);
        found.map(|peer| peer.id.clone()).ok_or_else(|| {
            let why = self.peers.missing(Wanted::Node(node)).map_or_else(String::new, |why| format!(": {why}"));
            let node = line(node, NAME);
            unrouted(&holders.server, format_args!("node `{node}` is away, or does not have the module{why}"))
        })
    }

    /// The node of a server type that the hash picks for a session.
    fn nearest(&self, session: &SessionInfo, module: &str, server: &str) -> Result<Arc<str>, CallError> {
        let nodes = self.peers.holders(module);
        let nodes: Vec<Peer> = nodes.into_iter().filter(|peer| *peer.server == *server).collect();
        let found = nearest(session.uid.as_deref().unwrap_or(&session.id), &nodes);
        let missing = || self.peers.missing(Wanted::Server(server)).unwrap_or_else(|| self.missing(module));
        found.map(|peer| peer.id.clone()).ok_or_else(missing)
    }

    /// Queues the call of a message from another node before it returns.
    pub fn on_peer_message(
        self: &Arc<Dispatch>,
        message: PeerMessage,
        home: Arc<dyn SessionHome>,
    ) -> Result<BoxFuture<CallResult>, CallError> {
        let PeerMessage { envelope, session, values, max_values, route, name, socket, .. } = message;
        if envelope.version != VERSION {
            return Err(CallError::Invalid(format!(
                "the message has version {} of the envelope, but this node reads only version {VERSION}",
                envelope.version
            )));
        }
        let module = route.module.as_deref().unwrap_or_default();
        let slot = self.session_slot(module, &session.id)?;
        let refused = |error: &CallError| slot.refused(TriggerKind::Client, error, Some(envelope.trace));
        let matched = Self::find_route(&slot, &route, TriggerKind::Client).inspect_err(refused)?;
        let message = ClientMessage {
            session: session.id.clone(),
            module: socket.as_deref().unwrap_or(module).into(),
            name: name.into(),
            socket: socket.is_some(),
            params: message.params,
            query: if route.query.is_empty() { message.query } else { route.query },
            payload: message.payload,
            wants_reply: message.wants_reply,
            subdomain: envelope.subdomain.clone(),
            timeout: envelope.left,
        };
        let copy = SessionCopy::new(session, values, max_values, home);
        let copy = Arc::new(copy.map_err(|error| CallError::Invalid(error.to_string()))?);
        let from = FromPeer { copy, envelope: Arc::new(envelope) };
        Chain::new(self, slot, matched, message, Some(from)).start().map(|outcome| Box::pin(outcome) as BoxFuture<_>)
    }

    /// Writes back the values of a copy.
    pub fn on_peer_apply(&self, applied: AppliedValues) -> Result<(), CallError> {
        let sessions = self.sessions().ok_or_else(CallError::stopping)?;
        sessions.apply(&applied.session, applied.values)
    }

    /// The slot that runs the messages of a session of another node: always the same one, or the
    /// least loaded one if the module has failed there.
    fn session_slot(&self, module: &str, session: &str) -> Result<Arc<Slot>, CallError> {
        let slots = self.workers().iter().filter_map(|isolate| isolate.slot(module));
        let nearest = slots.max_by_key(|slot| weight_of(session, &slot.isolate.to_string()));
        let here = nearest.ok_or_else(|| self.missing(module))?;
        if here.failed().is_none() { Ok(here) } else { self.least_loaded(module, None) }
    }
}

/// The error of a message whose route function fails.
fn unrouted(server: &str, why: impl std::fmt::Display) -> CallError {
    CallError::Unavailable(format!("no node of the server type {server} for this message: {why}"))
}

/// Does to a session what a call on another node asks for. Returns the number of sessions that this
/// has changed.
fn on_act(sessions: &dyn Sessions, session: &str, act: SessionAct) -> Result<u32, CallError> {
    match act {
        SessionAct::Send { name, payload } => {
            return sessions.send(&Recipient::Session(session.to_owned()), ClientEvent { name, payload });
        }
        SessionAct::Join(group) => return sessions.join(&group, &[session.to_owned()]),
        SessionAct::Leave(group) => return sessions.leave(&group, &[session.to_owned()]),
        SessionAct::Disconnect { code, reason } => sessions.disconnect(session, code, reason),
        SessionAct::Bind { uid, taken } => sessions.bind(session, uid, taken),
        SessionAct::Unbind => sessions.unbind(session),
        SessionAct::Authenticate { claims, expires_ms } => {
            sessions.authenticate(session, &claims, expires_ms.map(Duration::from_millis))
        }
        SessionAct::Deauthenticate => sessions.deauthenticate(session),
    }
    .map(|()| 1)
}

/// The node that has a key.
fn nearest<'a>(key: &str, nodes: &'a [Peer]) -> Option<&'a Peer> {
    nodes.iter().max_by_key(|peer| (weight_of(key, &peer.id), Reverse(&peer.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Vec<Peer> {
        let peer = |number| Peer { id: format!("chat-{number}").into(), server: "chat".into(), workers: 1 };
        (1..=count).map(peer).collect()
    }

    #[test]
    fn users_are_spread_evenly_and_a_node_that_goes_moves_only_its_own() {
        let (all, mut fewer) = (nodes(4), nodes(4));
        fewer.remove(1);
        let mut counts = [0; 4];
        for number in 0..10_000 {
            let key = format!("user-{number}");
            let (with, without) = (nearest(&key, &all).unwrap(), nearest(&key, &fewer).unwrap());
            counts[all.iter().position(|peer| peer.id == with.id).unwrap()] += 1;
            assert!(with.id == without.id || &*with.id == "chat-2", "{key} moves from {} without need", with.id);
        }
        assert!(counts.iter().all(|count| (2_300..2_700).contains(count)), "{counts:?}");
        assert!(nearest("a", &[]).is_none());
    }

    #[test]
    fn the_hash_is_part_of_the_protocol() {
        let nodes = nodes(3);
        let found = ["ada", "bob", "eve", "7"].map(|key| nearest(key, &nodes).unwrap().id.to_string());
        assert_eq!(found.join(" "), "chat-3 chat-2 chat-3 chat-3");
    }
}
