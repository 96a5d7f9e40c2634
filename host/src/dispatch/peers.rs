//! Calls to other nodes, and calls from other nodes.
//!
//! The caller's node checks what the caller may do, and ends the call when its time is over,
//! whatever happens on the way. The receiving node looks up the links of the chain that are its
//! own. The nearest call in the chain that still runs becomes the parent, so that nested lanes,
//! holds and the detection of deadlocks work as within one node. A broadcast is queued on its own
//! node first, then sent to the others; each node numbers it in an order of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Dispatch;
use super::actor::{Actor, PeerCaller, module_of, subdomain};
use super::resolve::Destination;
use crate::call::{
    Address, CallError, CallOptions, Context, Emission, Envelope, GatherEntry, IsolateId, Link, Origin, Outcome,
    Payload, PeerBroadcast, PeerCall, Receipt, RouteName, Target, Trace, VERSION,
};
use crate::ports::{BoxFuture, Reached};

/// A broadcast that is sent to other nodes.
pub(super) struct RemoteEmission {
    pub(super) module: String,
    pub(super) name: String,
    pub(super) id: u64,
    pub(super) subdomain: Option<String>,
    pub(super) payload: Payload,
}

impl RemoteEmission {
    pub(super) fn broadcast(self, envelope: Envelope) -> PeerBroadcast {
        let RemoteEmission { module, name, id, payload, .. } = self;
        PeerBroadcast { envelope, module, name, id, payload }
    }
}

impl Dispatch {
    /// Builds a call to another node.
    pub(super) fn peer_call(
        &self,
        actor: &Actor,
        address: Address,
        name: &RouteName,
        payload: Payload,
        options: &CallOptions,
        awaited: bool,
    ) -> Result<PeerCall, CallError> {
        let module = module_of(actor, name)?;
        let left = match awaited {
            true => self.caller_deadline(actor, options.timeout).saturating_duration_since(Instant::now()),
            false => options.timeout.unwrap_or_else(|| actor.timeout()),
        };
        let envelope = self.envelope(actor, options.subdomain.clone(), left, awaited);
        self.check_depth(module, envelope.depth)?;
        let address = match address {
            // The call goes to the node that was meant, so any worker of it will do.
            Address::One(Target::Node(_) | Target::Server(_)) => Address::One(Target::Any),
            other => other,
        };
        Ok(PeerCall {
            envelope,
            address,
            route: RouteName { module: Some(module.to_owned()), ..name.clone() },
            payload,
        })
    }

    pub(super) fn envelope(&self, actor: &Actor, given: Option<String>, left: Duration, awaited: bool) -> Envelope {
        let node: Arc<str> = self.node.id.as_str().into();
        let parent = actor.parent();
        let origin = match actor.origin() {
            Origin::Guest { module, isolate, node: None } => {
                Origin::Guest { module, isolate, node: Some(node.clone()) }
            }
            other => other,
        };
        Envelope {
            version: VERSION,
            origin,
            chain: parent.filter(|_| awaited).map(|parent| parent.chain(&node)).unwrap_or_default(),
            depth: parent.map_or(0, |parent| parent.depth + 1),
            in_startup: awaited && parent.is_some_and(|parent| parent.in_startup),
            left,
            trace: parent.map_or_else(Trace::fresh, |parent| parent.trace),
            subdomain: subdomain(given, parent),
        }
    }

    /// Calls another node. Resolves at the latest when the caller's time is over.
    pub(super) fn call_peer(
        &self,
        node: &str,
        call: PeerCall,
    ) -> impl Future<Output = Result<Vec<GatherEntry>, CallError>> + Send + use<> {
        let left = call.envelope.left;
        let answer = self.peers.call(node, call);
        let node = node.to_owned();
        async move {
            let mut entries = tokio::time::timeout(left, answer).await.unwrap_or(Err(CallError::Timeout(None)))?;
            entries.iter_mut().for_each(|entry| entry.node = Some(node.clone()));
            Ok(entries)
        }
    }

    /// Calls one isolate of another node.
    pub(super) fn call_peer_once(
        &self,
        node: Arc<str>,
        call: PeerCall,
    ) -> impl Future<Output = GatherEntry> + Send + use<> {
        let answer = self.call_peer(&node, call);
        async move {
            let entries = answer.await.map(|entries| entries.into_iter().next());
            let lead = |error| GatherEntry {
                isolate: IsolateId::Worker(0),
                node: Some(node.to_string()),
                outcome: Err(error),
            };
            match entries {
                Ok(Some(entry)) => entry,
                Ok(None) => lead(CallError::Crashed(format!("node {node} lost a call"))),
                Err(error) => lead(error),
            }
        }
    }

    /// Sends a broadcast to every other node that serves its module.
    pub(super) fn broadcast_to_peers(&self, actor: &Actor, emitted: RemoteEmission) -> Reached {
        let envelope = self.envelope(actor, emitted.subdomain.clone(), Duration::ZERO, false);
        self.peers.broadcast(emitted.broadcast(envelope))
    }

    /// Sends a broadcast to every other node that serves its module, and waits for an entry from
    /// each of their workers for at most `left`.
    pub(super) fn gather_from_peers(
        &self,
        actor: &Actor,
        emitted: RemoteEmission,
        left: Duration,
    ) -> BoxFuture<Vec<GatherEntry>> {
        let envelope = self.envelope(actor, emitted.subdomain.clone(), left, true);
        self.peers.gather(emitted.broadcast(envelope))
    }

    /// The caller that an envelope from another node describes.
    fn peer_actor(&self, envelope: Envelope, broadcast: Option<u64>) -> Result<Actor, CallError> {
        if envelope.version != VERSION {
            return Err(CallError::Invalid(format!(
                "the call has version {} of the envelope, but this node reads only version {VERSION}",
                envelope.version
            )));
        }
        let parent = self.caller_of(&envelope);
        Ok(Actor::Peer(PeerCaller { envelope: Arc::new(envelope), parent, broadcast }))
    }

    /// The context of a call of this node, while it runs.
    pub(super) fn running_call(&self, link: &Link) -> Option<Arc<Context>> {
        self.places.get(link.isolate)?.slot(&link.module)?.context(link.call)
    }

    /// Runs a call from another node. Returns one entry for each isolate that the address names.
    pub fn on_peer_call(&self, call: PeerCall) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        let PeerCall { envelope, address, route, payload } = call;
        let options = CallOptions { timeout: Some(envelope.left), ..CallOptions::default() };
        let actor = match self.peer_actor(envelope, None) {
            Ok(actor) => actor,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        match address {
            Address::Every(group) => Box::pin(self.call_every(&actor, group, &route, payload, options)),
            Address::One(target) => {
                let call = self.resolve(&actor, target, &route, true).and_then(|destination| match destination {
                    Destination::Local(slot, matched) => {
                        let spec = self.rpc_spec(&actor, &slot, &route, payload, options, true);
                        Ok((slot.isolate, self.call_in(slot, matched, spec)))
                    }
                    Destination::Remote(node, _) => {
                        Err(CallError::NotFound(format!("the target is on node {node}, not on this node")))
                    }
                });
                Box::pin(async move {
                    let (isolate, outcome) = call?;
                    let outcome = outcome.await.map(Outcome::into_reply);
                    Ok(vec![GatherEntry { isolate, node: None, outcome }])
                })
            }
        }
    }

    /// Queues a call from another node without waiting for it. Returns for how many isolates.
    pub fn on_peer_notify(&self, call: PeerCall) -> Result<u32, CallError> {
        let PeerCall { envelope, address, route, payload } = call;
        let options = CallOptions { timeout: Some(envelope.left), ..CallOptions::default() };
        self.notify(&self.peer_actor(envelope, None)?, address, &route, payload, options)
    }

    /// Runs a broadcast from another node that waits for an entry from each worker of this node.
    pub fn on_peer_gather(&self, broadcast: PeerBroadcast) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        let PeerBroadcast { envelope, module, name, id, payload } = broadcast;
        let left = envelope.left;
        let emission = Emission { module: Some(module), name, ..Emission::default() };
        match self.peer_actor(envelope, Some(id)) {
            Ok(actor) => Box::pin(self.gather(&actor, emission, payload, Some(left))),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    /// Queues a broadcast from another node in every worker of this node.
    pub fn on_peer_broadcast(&self, broadcast: PeerBroadcast) -> Result<Receipt, CallError> {
        let PeerBroadcast { envelope, module, name, id, payload } = broadcast;
        let emission = Emission { module: Some(module), name, ..Emission::default() };
        self.emit(&self.peer_actor(envelope, Some(id))?, emission, payload)
    }
}
