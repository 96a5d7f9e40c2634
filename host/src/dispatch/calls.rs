//! Calls to routes from HTTP clients, guests and the operator.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::actor::{Actor, subdomain};
use super::resolve::{Destination, Member};
use super::{CallSpec, Dispatch, PendingCall, check_size};
use crate::call::{
    Address, CallError, CallOptions, CallResult, Deadline, Emission, Exchange, GatherEntry, Group, HttpRequest,
    IsolateId, MiddlewareCall, Origin, Outcome, Payload, Peer, Receipt, Reply, RequestHead, RouteName, Target, Trace,
    Trigger, TriggerKind,
};
use crate::isolate::{Lane, QueuedCall, Slot};
use crate::ports::{BoxFuture, Caller, Calls};
use crate::registry::MatchedRoute;

/// A call whose outcome its caller waits for. The remote one is boxed, so that it costs local calls
/// nothing.
enum Sent {
    Local(Arc<Slot>, PendingCall),
    Remote(BoxFuture<GatherEntry>),
}

/// A call that a client causes, except for its route.
pub(super) struct ClientCall {
    pub(super) trigger: Trigger,
    /// `None` for a request with an exchange, which has its own head.
    pub(super) head: Option<Box<RequestHead>>,
    pub(super) query: String,
    pub(super) payload: Payload,
    pub(super) trace: Trace,
    pub(super) subdomain: Option<Arc<str>>,
    /// Whether another worker may run the call.
    pub(super) spill: bool,
    pub(super) exchange: Option<Box<Exchange>>,
}

impl Dispatch {
    /// Runs the call of an HTTP request. `here` is the slot of the worker that has the connection.
    pub async fn serve(&self, here: &Arc<Slot>, matched: MatchedRoute, request: HttpRequest) -> CallResult {
        let HttpRequest { method, query, payload, head, trace, subdomain, spill } = request;
        let (trigger, head, exchange) = (Trigger::Http(method), Some(head), None);
        let call = ClientCall { trigger, head, query, payload, trace, subdomain, spill, exchange };
        self.serve_client(here, matched, call).await
    }

    /// Runs a call that a client causes. `here` is the slot of the worker that has the connection.
    pub(super) async fn serve_client(&self, here: &Arc<Slot>, matched: MatchedRoute, call: ClientCall) -> CallResult {
        let chosen = self.worker_for(here, call.spill);
        let slot = chosen.inspect_err(|error| here.refused(call.trigger.kind(), error, Some(call.trace)))?;
        let spec = CallSpec {
            trigger: call.trigger,
            origin: Origin::Client,
            deadline: Deadline::At(Instant::now() + slot.deployment().generation.limits.timeout),
            parent: None,
            remote: None,
            awaited: false,
            subdomain: call.subdomain,
            trace: Some(call.trace),
            http: call.head,
            session: None,
            extra: Vec::new(),
            query: call.query,
            payload: call.payload,
            exchange: call.exchange,
        };
        self.call_in(slot, matched, spec).await
    }

    /// Calls a route and waits for the reply.
    pub fn call(
        &self,
        actor: &Actor,
        target: Target,
        name: &RouteName,
        payload: Payload,
        options: CallOptions,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send + use<> {
        let sent = self.resolve(actor, target, name, true).and_then(|destination| match destination {
            Destination::Local(slot, matched) => {
                let spec = self.rpc_spec(actor, &slot, name, payload, options, true);
                self.send_to(&slot, matched, spec).map(|pending| Sent::Local(slot, pending))
            }
            Destination::Remote(node, target) => {
                let call = self.peer_call(actor, Address::One(target), name, payload, &options, true)?;
                Ok(Sent::Remote(Box::pin(self.call_peer_once(node, call))))
            }
        });
        async move {
            let outcome = match sent? {
                Sent::Local(slot, pending) => pending.outcome(&slot).await,
                Sent::Remote(entry) => entry.await.outcome.map(Outcome::Reply),
            };
            outcome.map(Outcome::into_reply)
        }
    }

    /// Calls a route in every isolate of a group. Returns one entry for each, in index order, those
    /// of this node first.
    pub fn call_every(
        &self,
        actor: &Actor,
        group: Group,
        name: &RouteName,
        payload: Payload,
        options: CallOptions,
    ) -> impl Future<Output = Result<Vec<GatherEntry>, CallError>> + Send + use<> {
        let calls = self.members(actor, group, name).map(|members| {
            let call = |member| self.call_member(actor, member, name, payload.clone(), options.clone());
            members.into_iter().map(call).collect::<Vec<_>>()
        });
        async move { Ok(join_all(calls?).await.into_iter().flatten().collect()) }
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
            Member::Isolate(isolate) => {
                let call = self.call(actor, Target::Isolate(isolate), name, payload, options);
                async move { vec![GatherEntry { isolate, node: None, outcome: call.await }] }.left_future()
            }
            Member::AnyWorkerOf(Peer { id, .. }) | Member::EveryWorkerOf(Peer { id, .. }) => {
                let call = self.peer_call(actor, address, name, payload, &options, true);
                let answer = call.map(|call| self.call_peer(&id, call));
                async move {
                    let entries = match answer {
                        Ok(answer) => answer.await,
                        Err(error) => Err(error),
                    };
                    let lead = |error| GatherEntry {
                        isolate: IsolateId::Worker(0),
                        node: Some(id.to_string()),
                        outcome: Err(error),
                    };
                    entries.unwrap_or_else(|error| vec![lead(error)])
                }
                .right_future()
            }
        }
    }

    /// Queues a call without waiting for it. Returns for how many isolates. For a group, fails only
    /// if no isolate accepts the call.
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
                let mut accepted = 0;
                let mut rejection = None;
                for member in self.members(actor, group, name)? {
                    let queued = match &member {
                        Member::Isolate(isolate) => {
                            let target = Target::Isolate(*isolate);
                            self.queue(actor, target, name, payload.clone(), options.clone()).map(|()| 1)
                        }
                        Member::AnyWorkerOf(Peer { id, .. }) => {
                            self.notify_peer(actor, id, member.address(), name, payload.clone(), &options).map(|()| 1)
                        }
                        Member::EveryWorkerOf(Peer { id, workers, .. }) => self
                            .notify_peer(actor, id, member.address(), name, payload.clone(), &options)
                            .map(|()| *workers),
                    };
                    match queued {
                        Ok(count) => accepted += count,
                        Err(error) => rejection = Some(error),
                    }
                }
                rejection.filter(|_| accepted == 0).map_or(Ok(accepted), Err)
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
            Destination::Local(slot, matched) => (slot, matched),
            Destination::Remote(node, target) => {
                return self.notify_peer(actor, &node, Address::One(target), name, payload, &options);
            }
        };
        let spec = self.rpc_spec(actor, &slot, name, payload, options, false);
        let trace = spec.trace();
        let queued = self
            .build_call(&slot, matched, spec)
            .and_then(|call| slot.offer(Lane::Calls, QueuedCall::new(call, None)).map_err(|(error, _)| error));
        queued.inspect_err(|error| slot.refused(TriggerKind::Rpc, error, trace))
    }

    /// Sends a call to another node without waiting for it.
    fn notify_peer(
        &self,
        actor: &Actor,
        node: &str,
        address: Address,
        name: &RouteName,
        payload: Payload,
        options: &CallOptions,
    ) -> Result<(), CallError> {
        self.peers.notify(node, self.peer_call(actor, address, name, payload, options, false)?)
    }

    pub(super) fn rpc_spec(
        &self,
        actor: &Actor,
        slot: &Slot,
        name: &RouteName,
        payload: Payload,
        options: CallOptions,
        awaited: bool,
    ) -> CallSpec {
        let parent = actor.parent();
        // A call that no caller waits for does not inherit the caller's deadline.
        let (waiting, fallback) = match awaited {
            true => (parent, actor.timeout()),
            false => (None, options.timeout.unwrap_or(slot.deployment().generation.limits.timeout)),
        };
        CallSpec {
            trigger: Trigger::Rpc,
            origin: actor.origin(),
            deadline: Deadline::At(self.call_deadline(slot, waiting, options.timeout, fallback)),
            parent: parent.cloned(),
            awaited,
            remote: actor.envelope().cloned(),
            subdomain: match actor.envelope() {
                Some(envelope) => envelope.subdomain.clone(),
                None => subdomain(options.subdomain, parent),
            },
            trace: actor.envelope().map(|envelope| envelope.trace),
            http: None,
            session: None,
            extra: Vec::new(),
            query: name.query.clone(),
            payload,
            exchange: None,
        }
    }

    /// How long a caller waits: the time that it has left, but at most `timeout`.
    pub(super) fn caller_deadline(&self, actor: &Actor, timeout: Option<Duration>) -> Instant {
        let now = Instant::now();
        let inherited = actor.parent().and_then(|parent| parent.until()).unwrap_or(now + actor.timeout());
        timeout.map_or(inherited, |timeout| inherited.min(now + timeout))
    }
}

/// Checks the payload, and the bytes of the names sent with it, against the caller's own limit.
/// Runs before anything is copied.
pub(super) fn check_sent(caller: &Caller, payload: &Payload, names: usize) -> Result<(), CallError> {
    check_size(caller.max_payload, &caller.module, payload.len(), names)
}

/// Parses the route that a guest calls, after checking the size of everything that the guest sends.
/// `address` is the bytes of the names in the address.
fn parse_route(
    caller: &Caller,
    address: usize,
    route: &str,
    payload: &Payload,
    options: &CallOptions,
) -> Result<RouteName, CallError> {
    check_sent(caller, payload, address + route.len() + options.text_len())?;
    RouteName::parse(route).map_err(|error| CallError::Invalid(error.to_string()))
}

/// The port through which the imports of guests call.
impl Calls for Dispatch {
    fn emit(&self, from: Caller, emission: Emission, payload: Payload) -> Result<Receipt, CallError> {
        Dispatch::emit(self, &Actor::Guest(from), emission, payload)
    }

    fn emit_durable(
        &self,
        from: Caller,
        emission: Emission,
        payload: Payload,
    ) -> BoxFuture<Result<Receipt, CallError>> {
        Dispatch::emit_durable(self, &Actor::Guest(from), emission, payload, None)
    }

    fn gather(
        &self,
        from: Caller,
        emission: Emission,
        payload: Payload,
        timeout: Option<Duration>,
    ) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        Box::pin(Dispatch::gather(self, &Actor::Guest(from), emission, payload, timeout))
    }

    fn call(
        &self,
        from: Caller,
        target: Target,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> BoxFuture<Result<Reply, CallError>> {
        match parse_route(&from, target.names_len(), &route, &payload, &options) {
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
        match parse_route(&from, group.names_len(), &route, &payload, &options) {
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
        let name = parse_route(&from, address.names_len(), &route, &payload, &options)?;
        Dispatch::notify(self, &Actor::Guest(from), address, &name, payload, options)
    }

    fn middleware(&self, call: MiddlewareCall) -> BoxFuture<CallResult> {
        Box::pin(Dispatch::middleware(self, call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sent_with_the_payload_have_the_same_limit() {
        let caller = Caller {
            module: "m".into(),
            isolate: IsolateId::Worker(0),
            capabilities: Arc::default(),
            default_timeout: Duration::ZERO,
            max_payload: 3,
            max_subscriptions: 64,
            context: None,
        };
        assert_eq!(check_sent(&caller, &Payload::Text("abc".into()), 3), Ok(()));
        let over = check_sent(&caller, &Payload::None, 4).unwrap_err();
        assert_eq!(over.to_string(), "the names sent with the payload have 4 bytes, but limits.payload of m allows 3");
        assert!(check_sent(&caller, &Payload::Text("abcd".into()), 0).is_err());

        let parse_with = |address, route, subdomain: Option<&str>, extra: &[(&str, &str)]| {
            let extra = extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let options = CallOptions { timeout: None, subdomain: subdomain.map(str::to_owned), extra };
            parse_route(&caller, address, route, &Payload::None, &options)
        };
        let parse = |address, route, subdomain| parse_with(address, route, subdomain, &[]);
        assert!(parse_with(0, "a", None, &[("b", "c")]).is_ok());
        assert!(
            parse_with(0, "a", None, &[("b", "cd")]).unwrap_err().to_string().contains("limits.payload of m allows 3")
        );
        assert!(parse(0, "a/b", None).is_ok() && parse(1, "/b", None).is_ok() && parse(0, "/b", Some("s")).is_ok());
        for over in [parse(0, "a/bc", None), parse(1, "a/b", None), parse(0, "a?q=", None), parse(0, "/b", Some("ss"))]
        {
            assert!(over.unwrap_err().to_string().contains("limits.payload of m allows 3"));
        }
    }
}
