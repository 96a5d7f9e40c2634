//! Calls to routes: from outside, from guests and from the operator.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{Actor, Dispatch, Making};
use crate::call::text::{NAME, line};
use crate::call::{
    Address, CallError, CallOptions, Context, Deadline, Ended, Entry, Group, IsolateId, Origin, Outcome, Payload,
    Receipt, Reply, RequestHead, RouteName, Target, Trace, Trigger, TriggerKind,
};
use crate::config::capabilities::forbidden;
use crate::isolate::{Lane, Queued, Slot};
use crate::ports::{BoxFuture, Caller, Calls};
use crate::registry::Matched;

/// A request from outside whose route is known.
pub struct Request {
    pub method: http::Method,
    pub query: String,
    pub payload: Payload,
    pub head: Box<RequestHead>,
    pub trace: Trace,
    pub subdomain: Option<Arc<str>>,
    /// Whether another worker may be better than the connection's own.
    pub spill: bool,
}

impl Actor {
    pub(super) fn origin(&self) -> Origin {
        match self {
            Actor::Operator => Origin::Operator,
            Actor::Guest(caller) => {
                Origin::Guest { module: caller.module.clone(), isolate: caller.isolate, node: None }
            }
        }
    }

    fn parent(&self) -> Option<&Arc<Context>> {
        match self {
            Actor::Operator => None,
            Actor::Guest(caller) => caller.context.as_ref(),
        }
    }

    fn here(&self) -> Option<IsolateId> {
        match self {
            Actor::Operator => None,
            Actor::Guest(caller) => Some(caller.isolate),
        }
    }

    /// How long it waits when nothing else is said. The operator has only the target's own limit.
    fn timeout(&self) -> Duration {
        match self {
            Actor::Operator => Duration::from_secs(24 * 3600),
            Actor::Guest(caller) => caller.timeout,
        }
    }
}

impl Dispatch {
    /// A request that came in on worker `here`.
    pub async fn serve(&self, here: &Arc<Slot>, matched: Matched, request: Request) -> Ended {
        let stays = here.is_ready() && !request.spill && (!here.version().generation.is_serial() || here.is_free());
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
        let making = Making {
            trigger: Trigger::Http(request.method),
            origin: Origin::Client,
            deadline: Deadline::At(Instant::now() + slot.version().generation.limits.timeout),
            parent: None,
            awaited: false,
            subdomain: request.subdomain,
            trace: Some(request.trace),
            http: Some(request.head),
            query: request.query,
            payload: request.payload,
        };
        self.ask(slot, matched, making).await
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
        let asked = self.prepare(actor, target, name, true).map(|(slot, matched)| {
            let making = self.rpc(actor, &slot, name, payload, options, true);
            self.ask(slot, matched, making)
        });
        async move { asked?.await.map(Outcome::into_reply) }
    }

    /// Calls one route in several places: one entry each, in index order.
    pub fn call_every(
        &self,
        actor: &Actor,
        group: Group,
        name: &RouteName,
        payload: Payload,
        options: CallOptions,
    ) -> impl Future<Output = Result<Vec<Entry>, CallError>> + Send + use<> {
        let asked = self.members(actor, group, name).map(|members| {
            let ask = |isolate| {
                let call = self.call(actor, Target::Isolate(isolate), name, payload.clone(), options.clone());
                async move { Entry { isolate, node: None, outcome: call.await } }
            };
            members.into_iter().map(ask).collect::<Vec<_>>()
        });
        async move { Ok(join_all(asked?).await) }
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
                for isolate in self.members(actor, group, name)? {
                    match self.queue(actor, Target::Isolate(isolate), name, payload.clone(), options.clone()) {
                        Ok(()) => taken += 1,
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
        let (slot, matched) = self.prepare(actor, target, name, false)?;
        let making = self.rpc(actor, &slot, name, payload, options, false);
        let trace = making.trace();
        let placed = self
            .make(&slot, matched, making)
            .and_then(|call| slot.offer(Lane::Calls, Queued::new(call, None)).map_err(|(error, _)| error));
        placed.inspect_err(|error| slot.refused(TriggerKind::Rpc, error, trace))
    }

    /// The slot and the route of an rpc, if the actor may call it. Only who waits for it can wait for himself.
    fn prepare(
        &self,
        actor: &Actor,
        target: Target,
        name: &RouteName,
        awaited: bool,
    ) -> Result<(Arc<Slot>, Matched), CallError> {
        let module = module_of(actor, name)?;
        if let Actor::Guest(caller) = actor
            && module != &*caller.module
            && !caller.capabilities.rpc.allow(module)
        {
            return Err(forbidden(&caller.module, "rpc", Some(module)));
        }
        let parent = actor.parent().filter(|_| awaited);
        let slot = match self.isolate_of(target)? {
            None => self.choose(module, actor.here(), parent)?,
            Some(isolate) => {
                let slot = self.slot_in(module, isolate)?;
                match self.refusal(&slot, parent) {
                    Some(error) => {
                        slot.refused(TriggerKind::Rpc, &error, parent.map(|parent| parent.trace));
                        return Err(error);
                    }
                    None => slot,
                }
            }
        };
        let matched = Dispatch::find(&slot, name, TriggerKind::Rpc)?;
        Ok((slot, matched))
    }

    fn rpc(
        &self,
        actor: &Actor,
        slot: &Slot,
        name: &RouteName,
        payload: Payload,
        options: CallOptions,
        awaited: bool,
    ) -> Making {
        let parent = actor.parent();
        // What nobody waits for has a deadline of its own.
        let (above, fallback) = match awaited {
            true => (parent, actor.timeout()),
            false => (None, options.timeout.unwrap_or(slot.version().generation.limits.timeout)),
        };
        Making {
            trigger: Trigger::Rpc,
            origin: actor.origin(),
            deadline: Deadline::At(self.deadline(slot, above, options.timeout, fallback)),
            parent: parent.cloned(),
            awaited,
            subdomain: subdomain(options.subdomain, parent),
            trace: None,
            http: None,
            query: name.query.clone(),
            payload,
        }
    }

    /// `None` is any worker of this node.
    fn isolate_of(&self, target: Target) -> Result<Option<IsolateId>, CallError> {
        match target {
            Target::Any => Ok(None),
            Target::Isolate(isolate) => Ok(Some(isolate)),
            Target::Node(id) if id == self.node.id => Ok(None),
            Target::Server(server) if server == self.node.server => Ok(None),
            Target::Node(id) => Err(CallError::NotFound(format!("there is no node {}", line(&id, NAME)))),
            Target::Server(server) => Err(no_server(&server)),
            Target::Channel(channel) => Err(CallError::NotFound(format!(
                "there is no channel {}: this version serves no channels",
                line(&channel, NAME)
            ))),
            Target::Session(session) => Err(CallError::NotFound(format!(
                "there is no session {}: this version serves no sessions",
                line(&session, NAME)
            ))),
            Target::Other(kind, _) => Err(unknown("target", &kind)),
        }
    }

    fn members(&self, actor: &Actor, group: Group, name: &RouteName) -> Result<Vec<IsolateId>, CallError> {
        match group {
            Group::Workers | Group::Cluster => Ok(self.workers().iter().map(|isolate| isolate.id).collect()),
            Group::Nodes => self.one_worker(actor, name).map(|isolate| vec![isolate]),
            Group::Servers(server) if server == self.node.server => {
                self.one_worker(actor, name).map(|isolate| vec![isolate])
            }
            Group::Brokers if self.places.brokers.is_empty() => {
                Err(CallError::NotFound("no module is held by brokers".to_owned()))
            }
            Group::Brokers => Ok(self.places.brokers.iter().map(|isolate| isolate.id).collect()),
            Group::Servers(server) => Err(no_server(&server)),
            Group::Other(kind, _) => Err(unknown("group", &kind)),
        }
    }

    /// The worker that takes the call for this node. Where none can, the lead's own refusal tells why.
    fn one_worker(&self, actor: &Actor, name: &RouteName) -> Result<IsolateId, CallError> {
        let chosen = self.choose(module_of(actor, name)?, actor.here(), actor.parent());
        Ok(chosen.map_or(IsolateId::Worker(0), |slot| slot.isolate))
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
    super::within(caller.payload, &caller.module, payload.len(), beside)
}

/// The route that a guest names, when that and everything else it sends are within its limits.
fn asked(
    caller: &Caller,
    place: usize,
    route: &str,
    payload: &Payload,
    options: &CallOptions,
) -> Result<RouteName, CallError> {
    within(caller, payload, place + route.len() + options.names())?;
    RouteName::parse(route).map_err(|error| CallError::Invalid(error.to_string()))
}

/// The module whose route is named: the caller's own when the name has none.
fn module_of<'a>(actor: &'a Actor, name: &'a RouteName) -> Result<&'a str, CallError> {
    match (&name.module, actor) {
        (Some(module), _) => Ok(module),
        (None, Actor::Guest(caller)) => Ok(&caller.module),
        (None, Actor::Operator) => Err(CallError::Invalid("name the module".to_owned())),
    }
}

fn no_server(server: &str) -> CallError {
    CallError::NotFound(format!("there is no node of the type {}", line(server, NAME)))
}

fn unknown(what: &str, kind: &str) -> CallError {
    CallError::Invalid(format!("this version knows no {what} of the kind `{}`", line(kind, NAME)))
}

/// The one given, else the caller's.
pub(super) fn subdomain(given: Option<String>, parent: Option<&Arc<Context>>) -> Option<Arc<str>> {
    given.map(Arc::from).or_else(|| parent.and_then(|parent| parent.subdomain.clone()))
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
    ) -> BoxFuture<Result<Vec<Entry>, CallError>> {
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
        match asked(&from, target.names(), &route, &payload, &options) {
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
    ) -> BoxFuture<Result<Vec<Entry>, CallError>> {
        match asked(&from, group.names(), &route, &payload, &options) {
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
        let name = asked(&from, address.names(), &route, &payload, &options)?;
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
            timeout: Duration::ZERO,
            payload: 3,
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
