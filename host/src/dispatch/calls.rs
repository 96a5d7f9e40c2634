//! Calls to routes: from outside, from guests and from the operator.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::actor::{Actor, subdomain};
use super::resolve::{Member, Place};
use super::{CallSpec, Dispatch};
use crate::call::{
    Address, CallError, CallOptions, CallResult, Deadline, GatherEntry, Group, HttpRequest, IsolateId, Origin, Outcome,
    Payload, Peer, Receipt, Reply, RouteName, Target, Trigger, TriggerKind,
};
use crate::isolate::{Lane, Queued, Slot};
use crate::ports::{BoxFuture, Caller, Calls};
use crate::registry::Matched;

impl Dispatch {
    /// Calls the route of a request that arrived on worker `here`.
    pub async fn serve(&self, here: &Arc<Slot>, matched: Matched, request: HttpRequest) -> CallResult {
        let stays = here.is_ready() && !request.spill && (!here.deployment().generation.is_serial() || here.is_free());
        let slot = match stays {
            true => here.clone(),
            false => match self.least_loaded(&here.module, None) {
                Ok(slot) => slot,
                Err(error) => {
                    here.refused(TriggerKind::Http, &error, Some(request.trace));
                    return Err(error);
                }
            },
        };
        let spec = CallSpec {
            trigger: Trigger::Http(request.method),
            origin: Origin::Client,
            deadline: Deadline::At(Instant::now() + slot.deployment().generation.limits.timeout),
            parent: None,
            remote: None,
            awaited: false,
            subdomain: request.subdomain,
            trace: Some(request.trace),
            http: Some(request.head),
            query: request.query,
            payload: request.payload,
        };
        self.ask(slot, matched, spec).await
    }

    /// Calls one route in one place.
    pub fn call(
        &self,
        actor: &Actor,
        target: Target,
        name: &RouteName,
        payload: Payload,
        options: CallOptions,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send + use<> {
        let asked = self.resolve(actor, target, name, true).and_then(|place| match place {
            Place::Local(slot, matched) => {
                let spec = self.rpc(actor, &slot, name, payload, options, true);
                Ok(self.ask(slot, matched, spec).left_future())
            }
            Place::Remote(node, target) => {
                let call = self.outgoing(actor, Address::One(target), name, payload, &options, true)?;
                let asked = self.ask_one_of_peer(node, call);
                Ok(async move { asked.await.outcome.map(Outcome::Reply) }.right_future())
            }
        });
        async move { asked?.await.map(Outcome::into_reply) }
    }

    /// Calls one route in several places: one entry each, in index order, those of this node first.
    pub fn call_every(
        &self,
        actor: &Actor,
        group: Group,
        name: &RouteName,
        payload: Payload,
        options: CallOptions,
    ) -> impl Future<Output = Result<Vec<GatherEntry>, CallError>> + Send + use<> {
        let asked = self.members(actor, group, name).map(|members| {
            let ask = |member| self.call_member(actor, member, name, payload.clone(), options.clone());
            members.into_iter().map(ask).collect::<Vec<_>>()
        });
        async move { Ok(join_all(asked?).await.into_iter().flatten().collect()) }
    }

    fn call_member(
        &self,
        actor: &Actor,
        member: Member,
        name: &RouteName,
        payload: Payload,
        options: CallOptions,
    ) -> impl Future<Output = Vec<GatherEntry>> + Send + use<> {
        let address = member.address();
        match member {
            Member::Here(isolate) => {
                let call = self.call(actor, Target::Isolate(isolate), name, payload, options);
                async move { vec![GatherEntry { isolate, node: None, outcome: call.await }] }.left_future()
            }
            Member::Node(Peer { id, .. }) | Member::Workers(Peer { id, .. }) => {
                let asked = self.outgoing(actor, address, name, payload, &options, true);
                let asked = asked.map(|call| self.ask_peer(&id, call));
                async move {
                    let entries = match asked {
                        Ok(asked) => asked.await,
                        Err(error) => Err(error),
                    };
                    let lead =
                        |error| GatherEntry { isolate: IsolateId::Worker(0), node: Some(id), outcome: Err(error) };
                    entries.unwrap_or_else(|error| vec![lead(error)])
                }
                .right_future()
            }
        }
    }

    /// Queues a call without waiting for it: in how many places.
    pub fn notify(
        &self,
        actor: &Actor,
        address: Address,
        name: &RouteName,
        payload: Payload,
        options: CallOptions,
    ) -> Result<u32, CallError> {
        match address {
            Address::One(target) => self.queue(actor, target, name, payload, options).map(|()| 1),
            Address::Every(group) => {
                let mut taken = 0;
                let mut refusal = None;
                for member in self.members(actor, group, name)? {
                    let queued = match &member {
                        Member::Here(isolate) => {
                            let target = Target::Isolate(*isolate);
                            self.queue(actor, target, name, payload.clone(), options.clone()).map(|()| 1)
                        }
                        Member::Node(Peer { id, .. }) => {
                            self.send(actor, id, member.address(), name, payload.clone(), &options).map(|()| 1)
                        }
                        Member::Workers(Peer { id, workers, .. }) => {
                            self.send(actor, id, member.address(), name, payload.clone(), &options).map(|()| *workers)
                        }
                    };
                    match queued {
                        Ok(count) => taken += count,
                        Err(error) => refusal = Some(error),
                    }
                }
                refusal.filter(|_| taken == 0).map_or(Ok(taken), Err)
            }
        }
    }

    fn queue(
        &self,
        actor: &Actor,
        target: Target,
        name: &RouteName,
        payload: Payload,
        options: CallOptions,
    ) -> Result<(), CallError> {
        let (slot, matched) = match self.resolve(actor, target, name, false)? {
            Place::Local(slot, matched) => (slot, matched),
            Place::Remote(node, target) => {
                return self.send(actor, &node, Address::One(target), name, payload, &options);
            }
        };
        let spec = self.rpc(actor, &slot, name, payload, options, false);
        let trace = spec.trace();
        let placed = self
            .make(&slot, matched, spec)
            .and_then(|call| slot.offer(Lane::Calls, Queued::new(call, None)).map_err(|(error, _)| error));
        placed.inspect_err(|error| slot.refused(TriggerKind::Rpc, error, trace))
    }

    /// Sends a call that nobody waits for to another node.
    fn send(
        &self,
        actor: &Actor,
        node: &str,
        address: Address,
        name: &RouteName,
        payload: Payload,
        options: &CallOptions,
    ) -> Result<(), CallError> {
        self.peers.notify(node, self.outgoing(actor, address, name, payload, options, false)?)
    }

    pub(super) fn rpc(
        &self,
        actor: &Actor,
        slot: &Slot,
        name: &RouteName,
        payload: Payload,
        options: CallOptions,
        awaited: bool,
    ) -> CallSpec {
        let parent = actor.parent();
        // What nobody waits for has a deadline of its own.
        let (above, fallback) = match awaited {
            true => (parent, actor.timeout()),
            false => (None, options.timeout.unwrap_or(slot.deployment().generation.limits.timeout)),
        };
        CallSpec {
            trigger: Trigger::Rpc,
            origin: actor.origin(),
            deadline: Deadline::At(self.deadline(slot, above, options.timeout, fallback)),
            parent: parent.cloned(),
            awaited,
            remote: actor.envelope().cloned(),
            subdomain: match actor.envelope() {
                Some(envelope) => envelope.subdomain.clone(),
                None => subdomain(options.subdomain, parent),
            },
            trace: actor.envelope().map(|envelope| envelope.trace),
            http: None,
            query: name.query.clone(),
            payload,
        }
    }

    /// Until when a gather waits.
    pub(super) fn patience(&self, actor: &Actor, timeout: Option<Duration>) -> Instant {
        let now = Instant::now();
        let left = actor.parent().and_then(|parent| parent.until()).unwrap_or(now + actor.timeout());
        timeout.map_or(left, |timeout| left.min(now + timeout))
    }
}

/// Whether the caller may send so much: the payload, and the bytes of names that go beside it.
/// Nothing is copied before.
pub(super) fn within(caller: &Caller, payload: &Payload, beside: usize) -> Result<(), CallError> {
    super::within(caller.max_payload, &caller.module, payload.len(), beside)
}

/// The route that a guest names, when that and everything else it sends are within its limits.
fn asked(
    caller: &Caller,
    place: usize,
    route: &str,
    payload: &Payload,
    options: &CallOptions,
) -> Result<RouteName, CallError> {
    within(caller, payload, place + route.len() + options.text_len())?;
    RouteName::parse(route).map_err(|error| CallError::Invalid(error.to_string()))
}

/// The way up for what guests import.
impl Calls for Dispatch {
    fn emit(&self, from: Caller, what: crate::call::Emission, payload: Payload) -> Result<Receipt, CallError> {
        Dispatch::emit(self, &Actor::Guest(from), what, payload)
    }

    fn gather(
        &self,
        from: Caller,
        what: crate::call::Emission,
        payload: Payload,
        timeout: Option<Duration>,
    ) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        Box::pin(Dispatch::gather(self, &Actor::Guest(from), what, payload, timeout))
    }

    fn call(
        &self,
        from: Caller,
        target: Target,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> BoxFuture<Result<Reply, CallError>> {
        match asked(&from, target.names_len(), &route, &payload, &options) {
            Ok(name) => Box::pin(Dispatch::call(self, &Actor::Guest(from), target, &name, payload, options)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn call_every(
        &self,
        from: Caller,
        group: Group,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        match asked(&from, group.names_len(), &route, &payload, &options) {
            Ok(name) => Box::pin(Dispatch::call_every(self, &Actor::Guest(from), group, &name, payload, options)),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn notify(
        &self,
        from: Caller,
        address: Address,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> Result<u32, CallError> {
        let name = asked(&from, address.names_len(), &route, &payload, &options)?;
        Dispatch::notify(self, &Actor::Guest(from), address, &name, payload, options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beside_the_payload_have_its_limit_too() {
        let caller = Caller {
            module: "m".into(),
            isolate: IsolateId::Worker(0),
            capabilities: Arc::default(),
            default_timeout: Duration::ZERO,
            max_payload: 3,
            context: None,
        };
        assert_eq!(within(&caller, &Payload::Text("abc".into()), 3), Ok(()));
        let over = within(&caller, &Payload::None, 4).unwrap_err();
        assert_eq!(over.to_string(), "the names beside the payload have 4 bytes: more than limits.payload of m, 3");
        assert!(within(&caller, &Payload::Text("abcd".into()), 0).is_err());

        let ask_with = |place, route, subdomain: Option<&str>, extra: &[(&str, &str)]| {
            let extra = extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let options = CallOptions { timeout: None, subdomain: subdomain.map(str::to_owned), extra };
            asked(&caller, place, route, &Payload::None, &options)
        };
        let ask = |place, route, subdomain| ask_with(place, route, subdomain, &[]);
        assert!(ask_with(0, "a", None, &[("b", "c")]).is_ok());
        assert!(ask_with(0, "a", None, &[("b", "cd")]).unwrap_err().to_string().contains("limits.payload of m, 3"));
        assert!(ask(0, "a/b", None).is_ok() && ask(1, "/b", None).is_ok() && ask(0, "/b", Some("s")).is_ok());
        for over in [ask(0, "a/bc", None), ask(1, "a/b", None), ask(0, "a?q=", None), ask(0, "/b", Some("ss"))] {
            assert!(over.unwrap_err().to_string().contains("limits.payload of m, 3"));
        }
    }
}
