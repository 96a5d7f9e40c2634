//! Calls that go to other nodes, and those that come from them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Dispatch;
use super::actor::{Actor, Arrived, module_of, subdomain};
use super::resolve::Place;
use crate::call::{
    Address, CallError, CallOptions, Context, Emission, Envelope, GatherEntry, IsolateId, Link, Origin, Outcome,
    Payload, PeerBroadcast, PeerCall, Receipt, RouteName, Target, Trace, VERSION,
};
use crate::ports::BoxFuture;

impl Dispatch {
    /// A call for another node.
    pub(super) fn outgoing(
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
            true => self.patience(actor, options.timeout).saturating_duration_since(Instant::now()),
            false => options.timeout.unwrap_or_else(|| actor.timeout()),
        };
        let envelope = self.envelope(actor, options.subdomain.clone(), left, awaited);
        self.not_too_deep(module, envelope.depth)?;
        let address = match address {
            // Of that node.
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

    fn envelope(&self, actor: &Actor, given: Option<String>, left: Duration, awaited: bool) -> Envelope {
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

    /// Makes a call on another node. It resolves with the end of the caller's time at the latest.
    pub(super) fn ask_peer(
        &self,
        node: &str,
        call: PeerCall,
    ) -> impl Future<Output = Result<Vec<GatherEntry>, CallError>> + Send + use<> {
        let left = call.envelope.left;
        let asked = self.peers.call(node, call);
        let node = node.to_owned();
        async move {
            let mut entries = tokio::time::timeout(left, asked).await.unwrap_or(Err(CallError::Timeout))?;
            entries.iter_mut().for_each(|entry| entry.node = Some(node.clone()));
            Ok(entries)
        }
    }

    /// The same for one place.
    pub(super) fn ask_one_of_peer(
        &self,
        node: String,
        call: PeerCall,
    ) -> impl Future<Output = GatherEntry> + Send + use<> {
        let asked = self.ask_peer(&node, call);
        async move {
            let entries = asked.await.map(|entries| entries.into_iter().next());
            let lead =
                |error| GatherEntry { isolate: IsolateId::Worker(0), node: Some(node.clone()), outcome: Err(error) };
            match entries {
                Ok(Some(entry)) => entry,
                Ok(None) => lead(CallError::Crashed(format!("node {node} lost a call"))),
                Err(error) => lead(error),
            }
        }
    }

    /// Sends a broadcast that is queued here to every other node, and notes in its receipt to how many.
    pub(super) fn broadcast_to_peers(
        &self,
        actor: &Actor,
        (module, name): (String, String),
        given: Option<String>,
        payload: Payload,
        receipt: &mut Receipt,
    ) {
        let envelope = self.envelope(actor, given, Duration::ZERO, false);
        let sent = self.peers.broadcast(PeerBroadcast { envelope, module, name, id: receipt.id, payload });
        receipt.extra.push(("nodes".to_owned(), sent.to_string()));
    }

    fn arrived(&self, envelope: Envelope, broadcast: Option<u64>) -> Result<Actor, CallError> {
        if envelope.version != VERSION {
            let version = envelope.version;
            return Err(CallError::Invalid(format!("this node reads calls of version {VERSION}, this is {version}")));
        }
        let parent =
            envelope.chain.iter().filter(|link| *link.node == *self.node.id).find_map(|link| self.living(link));
        Ok(Actor::Peer(Arrived { envelope: Arc::new(envelope), parent, broadcast }))
    }

    /// A call of this node that runs.
    fn living(&self, link: &Link) -> Option<Arc<Context>> {
        self.places.get(link.isolate)?.slot(&link.module)?.context(link.call)
    }

    /// Makes a call that another node asks for: one entry for each place that it reaches.
    pub fn answer(&self, call: PeerCall) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        let PeerCall { envelope, address, route, payload } = call;
        let options = CallOptions { timeout: Some(envelope.left), ..CallOptions::default() };
        let actor = match self.arrived(envelope, None) {
            Ok(actor) => actor,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        match address {
            Address::Every(group) => Box::pin(self.call_every(&actor, group, &route, payload, options)),
            Address::One(target) => {
                let placed = self.resolve(&actor, target, &route, true).map(|place| match place {
                    Place::Local(slot, matched) => {
                        let spec = self.rpc(&actor, &slot, &route, payload, options, true);
                        Ok((slot.isolate, self.ask(slot, matched, spec)))
                    }
                    Place::Remote(node, _) => {
                        Err(CallError::NotFound(format!("there is no such place here, but on {node}")))
                    }
                });
                Box::pin(async move {
                    let (isolate, ended) = placed??;
                    let outcome = ended.await.map(Outcome::into_reply);
                    Ok(vec![GatherEntry { isolate, node: None, outcome }])
                })
            }
        }
    }

    /// Queues a call from another node that nobody waits for.
    pub fn accept(&self, call: PeerCall) -> Result<u32, CallError> {
        let PeerCall { envelope, address, route, payload } = call;
        let options = CallOptions { timeout: Some(envelope.left), ..CallOptions::default() };
        self.notify(&self.arrived(envelope, None)?, address, &route, payload, options)
    }

    /// Queues a broadcast of another node in every worker of this one.
    pub fn hear(&self, broadcast: PeerBroadcast) -> Result<Receipt, CallError> {
        let PeerBroadcast { envelope, module, name, id, payload } = broadcast;
        let what = Emission { module: Some(module), name, ..Emission::default() };
        self.emit(&self.arrived(envelope, Some(id))?, what, payload)
    }
}
