//! Calls of connected clients: their messages, the filters around them, and hooks about clients.
//!
//! A message is queued before `Dispatch::client_message` returns, so that the messages of a session
//! start in their order without a queue of their own. With filters, the first of them is the call
//! that is queued at once; the other steps follow in one future, in the slot that was chosen at the
//! beginning. So filters see messages in order, and routes behind filters usually do.
//!
//! A call knows its session by its id. Calls that it makes do not inherit the session, so only the
//! module that the client has called may use it without a grant.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;

use super::hooks::find_hook;
use super::{CallSpec, Dispatch, PendingCall};
use crate::call::{
    CallError, CallResult, CallSession, ClientHook, ClientMessage, ClientTrigger, Deadline, Envelope, Extra,
    FilterStage, Origin, Outcome, Payload, Reply, RouteName, SessionCopy, Trigger, TriggerKind, facts_before,
};
use crate::isolate::{Isolate, Slot};
use crate::registry::MatchedRoute;

impl Dispatch {
    /// Queues the call of a client's message before it returns, so that the messages of a session
    /// start in their order. The future resolves with the outcome. `isolate` is that of the worker
    /// with the socket; another worker runs the call only if the module has failed there. If this
    /// node does not have the module, another node runs it.
    ///
    /// Filters of the module run before and after the route. The first of them is the call that is
    /// queued at once.
    pub fn client_message(
        self: &Arc<Dispatch>,
        isolate: &Isolate,
        mut message: ClientMessage,
    ) -> Result<impl Future<Output = CallResult> + Send + use<>, CallError> {
        match self.client_route(isolate, &mut message)? {
            Found::Here(slot, matched) => {
                Chain::new(self, slot, matched, message, None).start().map(FutureExt::left_future)
            }
            Found::Elsewhere(name) => self.forward(isolate, name, message).map(FutureExt::right_future),
        }
    }

    /// Calls a hook about a client in the worker with its socket, or in another worker if the
    /// module has failed there. `None` if the module has no such hook.
    pub fn session_hook(
        &self,
        isolate: &Isolate,
        call: ClientHook,
    ) -> Option<impl Future<Output = CallResult> + Send + use<>> {
        let ClientHook { module, hook, session, head, params, query, payload, subdomain, since } = call;
        let slot = match self.client_slot(isolate, &module) {
            Ok(slot) => slot,
            Err(error) => return Some(std::future::ready(Err(error)).left_future()),
        };
        let matched = MatchedRoute { params, ..find_hook(&slot, hook).ok()? };
        let limit = slot.deployment().generation.limits.timeout;
        let spec = CallSpec {
            trigger: Trigger::Hook(hook),
            origin: session.clone().map_or(Origin::Client, Origin::Session),
            deadline: since.map_or(Deadline::AfterStart(limit), |since| Deadline::At(since + limit)),
            parent: None,
            remote: None,
            awaited: false,
            subdomain,
            trace: None,
            http: head,
            session: session.map(Into::into),
            extra: Vec::new(),
            query,
            payload,
            exchange: None,
        };
        Some(self.call_in(slot, matched, spec).right_future())
    }

    /// The slot that runs the calls of a client: that of the worker with its socket, or the least
    /// loaded one if the module has failed there.
    pub(super) fn client_slot(&self, isolate: &Isolate, module: &str) -> Result<Arc<Slot>, CallError> {
        let here = isolate.slot(module).ok_or_else(|| self.missing(module))?;
        if here.failed().is_none() { Ok(here) } else { self.least_loaded(module, None) }
    }

    /// The slot and the route of a client's message. A query in the name replaces that of the URL.
    fn client_route(&self, isolate: &Isolate, message: &mut ClientMessage) -> Result<Found, CallError> {
        let refused = |slot: &Slot, error: CallError| {
            slot.refused(TriggerKind::Client, &error, None);
            error
        };
        let name = match message.socket {
            true => self.route_of_other(isolate, message)?,
            false => Some(route_name(&message.module, &message.name)?),
        };
        let Some(name) = name else {
            let slot = self.client_slot(isolate, &message.module)?;
            let matched = socket_route(&slot, message).map_err(|error| refused(&slot, error))?;
            return Ok(Found::Here(slot, matched));
        };
        let module = name.module.as_deref().unwrap_or(&message.module);
        if isolate.slot(module).is_none() {
            return Ok(Found::Elsewhere(name));
        }
        let slot = self.client_slot(isolate, module)?;
        let matched = Self::find_route(&slot, &name, TriggerKind::Client).map_err(|error| refused(&slot, error))?;
        if !name.query.is_empty() {
            message.query = name.query;
        }
        Ok(Found::Here(slot, matched))
    }

    /// The route of another module that receives the messages of a socket. They need no instance of
    /// the module with the socket. `None` if the route is its own.
    fn route_of_other(&self, isolate: &Isolate, message: &ClientMessage) -> Result<Option<RouteName>, CallError> {
        let slot = isolate.slot(&message.module).ok_or_else(|| self.missing(&message.module))?;
        let deployment = slot.deployment();
        let socket = deployment.generation.manifest.sockets.get(&message.name);
        Ok(socket.and_then(|socket| socket.route.other()).cloned())
    }
}

/// Where a client's message runs.
enum Found {
    Here(Arc<Slot>, MatchedRoute),
    /// This node does not have the module.
    Elsewhere(RouteName),
}

/// What a message from another node has besides its data.
pub(super) struct FromPeer {
    pub(super) copy: Arc<SessionCopy>,
    pub(super) envelope: Arc<Envelope>,
}

/// The route that the name of a client's event means. A name without a dot or a slash is a path of
/// the listener's module.
fn route_name(module: &str, name: &str) -> Result<RouteName, CallError> {
    let path = name.split_once('?').map_or(name, |(path, _)| path);
    let parsed = match path.contains(['.', '/']) {
        true => RouteName::parse(name),
        false => RouteName::within(module, name),
    };
    // A client may choose any name, so a malformed one is only one that no route has.
    parsed.map_err(|error| CallError::NotFound(error.to_string()))
}

/// The own route of a module with a socket, found by the pattern.
fn socket_route(slot: &Slot, message: &ClientMessage) -> Result<MatchedRoute, CallError> {
    let deployment = slot.deployment();
    let socket = deployment.generation.manifest.sockets.get(&message.name);
    let index = socket.and_then(|socket| socket.route.own());
    let found = index.and_then(|index| Some((index, deployment.route(index)?)));
    let Some((index, route)) = found else {
        return Err(CallError::NotFound(format!("{} no longer has the socket `{}`", slot.module, message.name)));
    };
    let access = deployment.generation.access(index);
    let closed = |why| CallError::Forbidden(format!("the socket `{}` of {}: {why}", message.name, slot.module));
    access.admits(TriggerKind::Client).map_err(closed)?;
    Ok(MatchedRoute { route, access, params: Vec::new() })
}

/// The calls of one message: the filters before the route, the route, and the filters after it. All
/// of them run in one slot and end by one deadline.
pub(super) struct Chain {
    dispatch: Arc<Dispatch>,
    slot: Arc<Slot>,
    trigger: ClientTrigger,
    subdomain: Option<Arc<str>>,
    deadline: Instant,
    /// The filters before the route that are not called yet.
    before: VecDeque<MatchedRoute>,
    /// The route, until it is called.
    route: Option<MatchedRoute>,
    /// The route as the manifest writes it.
    route_text: Arc<str>,
    after: Vec<MatchedRoute>,
    query: String,
    payload: Payload,
    /// The facts that filters have passed on.
    facts: Extra,
    /// `None` for a client of this node.
    from: Option<FromPeer>,
}

impl Chain {
    pub(super) fn new(
        dispatch: &Arc<Dispatch>,
        slot: Arc<Slot>,
        mut route: MatchedRoute,
        message: ClientMessage,
        from: Option<FromPeer>,
    ) -> Chain {
        let ClientMessage { session, module, name, socket, params, .. } = message;
        let ClientMessage { wants_reply, subdomain, timeout, query, payload, .. } = message;
        let socket = socket.then_some(module);
        if socket.is_some() {
            route.params = params;
        }
        let deployment = slot.deployment();
        let generation = &deployment.generation;
        let filter = |index: &usize| {
            let (access, params) = (generation.access(*index), Vec::new());
            deployment.route(*index).map(|route| MatchedRoute { route, access, params })
        };
        let filters = &generation.manifest.filters;
        let deadline = Instant::now() + timeout.min(generation.limits.timeout);
        let (before, after) = (filters.before.iter(), filters.after.iter());
        let (before, after) = (before.filter_map(filter).collect(), after.filter_map(filter).collect());
        drop(deployment);
        Chain {
            dispatch: dispatch.clone(),
            trigger: ClientTrigger { session, name, socket, wants_reply },
            subdomain,
            deadline,
            before,
            route_text: route.route.text.clone(),
            route: Some(route),
            after,
            query,
            payload,
            facts: Vec::new(),
            slot,
            from,
        }
    }

    /// Queues the first step. The future resolves with the outcome of the last one.
    pub(super) fn start(mut self) -> Result<impl Future<Output = CallResult> + Send + use<>, CallError> {
        let first = self.offer()?;
        Ok(match self.is_one_call() {
            true => first.outcome_in(self.slot).left_future(),
            false => self.run(first).boxed().right_future(),
        })
    }

    /// Whether no call follows the one that [`Chain::offer`] has queued.
    fn is_one_call(&self) -> bool {
        self.route.is_none() && self.after.is_empty()
    }

    fn spec(&self, trigger: Trigger, payload: Payload, extra: Extra) -> CallSpec {
        let id = self.trigger.session.clone();
        CallSpec {
            trigger,
            origin: Origin::Session(id.clone()),
            deadline: Deadline::At(self.deadline),
            parent: None,
            remote: self.from.as_ref().map(|from| from.envelope.clone()),
            awaited: false,
            subdomain: self.subdomain.clone(),
            trace: self.from.as_ref().map(|from| from.envelope.trace),
            http: None,
            session: Some(CallSession { id, copy: self.from.as_ref().map(|from| from.copy.clone()) }),
            extra,
            query: self.query.clone(),
            payload,
            exchange: None,
        }
    }

    /// Queues the next filter before the route, or else the route.
    fn offer(&mut self) -> Result<PendingCall, CallError> {
        if let Some(filter) = self.before.pop_front() {
            let extra = facts_before(&self.facts, &self.route_text);
            let trigger = Trigger::Filter(FilterStage::Before(self.trigger.clone()));
            let spec = self.spec(trigger, self.payload.clone(), extra);
            return self.dispatch.send_to(&self.slot, filter, spec);
        }
        let done = || CallError::Invalid("the message has no next step".to_owned());
        let route = self.route.take().ok_or_else(done)?;
        let (payload, facts) = (std::mem::take(&mut self.payload), std::mem::take(&mut self.facts));
        let spec = self.spec(Trigger::Client(self.trigger.clone()), payload, facts);
        self.dispatch.send_to(&self.slot, route, spec)
    }

    /// Runs the message to its end. `first` is the call that [`Chain::offer`] has queued.
    async fn run(mut self, first: PendingCall) -> CallResult {
        let mut pending = first;
        loop {
            let is_route = self.route.is_none();
            match pending.outcome(&self.slot).await? {
                outcome if is_route => return self.run_after(outcome.into_reply()).await.map(Outcome::Reply),
                Outcome::Reply(reply) => return Ok(Outcome::Reply(reply)),
                Outcome::Pass(passed) => {
                    passed.apply(&self.slot.module, &mut self.payload, &mut self.facts);
                }
            }
            pending = self.offer()?;
        }
    }

    /// Runs the filters after the route. The client gets no reply that a filter has refused.
    async fn run_after(&mut self, mut reply: Reply) -> Result<Reply, CallError> {
        for filter in std::mem::take(&mut self.after) {
            let (route, status) = (self.route_text.clone(), reply.status);
            let trigger = Trigger::Filter(FilterStage::After { route, status });
            let spec = self.spec(trigger, reply.payload.clone(), Vec::new());
            match self.dispatch.send_to(&self.slot, filter, spec)?.outcome(&self.slot).await? {
                Outcome::Reply(other) => reply = other,
                Outcome::Pass(passed) => reply.payload = passed.payload.unwrap_or(reply.payload),
            }
        }
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_dot_or_a_slash_belongs_to_the_listeners_module() {
        let name = |name| route_name("lobby", name).map(|name| name.to_string()).map_err(|error| error.code());
        for (given, expected) in [
            ("say", "lobby/say"),
            ("say?to=a.b", "lobby/say?to=a.b"),
            ("", "lobby/"),
            ("chat.main.say", "chat/main/say"),
            ("chat/main/say", "chat/main/say"),
            ("/main/say", "/main/say"),
            ("PUT say", "PUT lobby/say"),
        ] {
            assert_eq!(name(given), Ok(expected.to_owned()), "{given:?}");
        }
        for given in ["chat message", ".", &"x/".repeat(65)] {
            assert_eq!(name(given), Err("not-found"), "{given:?}");
        }
    }
}
