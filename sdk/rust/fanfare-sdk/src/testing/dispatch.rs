//! Resolves calls and broadcasts, and queues them in workers.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::node::{CallState, Node};
use super::promise::{Promise, promise};
use super::routes::{MatchedRoute, RouteRequest};
use super::worker::Message;
use super::{Emitted, OutgoingCall};
use crate::failure::CallError;
use crate::types::{
    Broadcast, Call, CallId, CallOptions, Emission, GuestOrigin, Isolate, Origin, Outcome, Payload, Receipt, Reply,
    Target, Trigger,
};

/// The longest chain of calls, as in the real host.
const DEPTH: u32 = 16;
const DEADLINE_MS: u32 = 5000;

pub(super) type Pending = Promise<Result<Outcome, CallError>>;

pub(super) fn worker(index: usize) -> Isolate {
    Isolate::Worker(u32::try_from(index).unwrap_or(u32::MAX))
}

/// Converts an outcome of a call that has no next step, where a pass counts as a reply.
pub(super) fn into_reply(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Reply(reply) => reply,
        Outcome::Pass(passed) => {
            let payload = passed.payload.unwrap_or(Payload::None);
            Reply { status: 0, headers: Vec::new(), payload, extra: Vec::new() }
        }
    }
}

/// A resolved call that is not queued yet.
pub(super) struct CallSpec<'a> {
    pub route: MatchedRoute,
    pub query: &'a str,
    pub trigger: Trigger,
    pub payload: Payload,
    pub timeout: Option<u32>,
    pub state: CallState,
    pub origin: Origin,
    pub extra: Vec<(String, String)>,
}

impl Node {
    /// Queues a call.
    pub fn start(&self, spec: CallSpec<'_>) -> Pending {
        self.start_numbered(spec).1
    }

    /// Queues a call. Returns its id, too.
    pub fn start_numbered(&self, spec: CallSpec<'_>) -> (CallId, Pending) {
        let (resolver, pending) = promise();
        let worker = spec.state.worker;
        let subdomain = spec.state.subdomain.clone();
        if let Some(timeout) = spec.timeout {
            let resolver = resolver.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(timeout.into()));
                resolver.resolve(Err(CallError::Timeout));
            });
        }
        // One lock covers the number and the place in the mailbox, so that broadcasts keep their
        // order.
        let mut state = self.state();
        let id = state.next_call;
        state.next_call += 1;
        let MatchedRoute { handler, params, text: route, chain, .. } = spec.route;
        state.calls.insert(id, CallState { route, chain, resolver: Some(resolver), ..spec.state });
        self.send(
            worker,
            Message::Call(Box::new(Call {
                id,
                handler,
                trigger: spec.trigger,
                origin: spec.origin,
                subdomain,
                deadline_ms: spec.timeout.unwrap_or(DEADLINE_MS).min(DEADLINE_MS),
                params,
                query: spec.query.to_owned(),
                payload: spec.payload,
                extra: spec.extra,
            })),
        );
        (id, pending)
    }

    /// Returns the state of a call that descends from `caller`, one level deeper.
    pub fn nested(&self, caller: Option<CallId>, subdomain: Option<&String>) -> Result<CallState, CallError> {
        let state = self.state();
        let parent = caller.and_then(|caller| state.calls.get(&caller));
        let depth = parent.map_or(0, |parent| parent.depth + 1);
        if depth > DEPTH {
            return Err(CallError::TooDeep(format!(
                "the chain of calls is longer than {DEPTH}: call fewer routes in a row"
            )));
        }
        let subdomain = subdomain.cloned().or_else(|| parent.and_then(|parent| parent.subdomain.clone()));
        Ok(CallState { depth, subdomain, ..CallState::default() })
    }

    /// Records a reload request. The test host does not reload the module.
    pub fn reload(&self, module: Option<&str>) -> Receipt {
        let mut state = self.state();
        state.reloads.push(module.map(str::to_owned));
        let seq = state.reloads.len() as u64;
        drop(state);
        Receipt { id: seq, seq, accepted: self.workers(), skipped: Vec::new(), extra: Vec::new() }
    }

    /// Queues a durable broadcast in every worker. There is one stream for the module.
    pub fn emit_durable(
        &self,
        from: (u32, Option<CallId>),
        emission: &Emission,
        payload: &Payload,
    ) -> Result<(Receipt, Vec<Pending>), CallError> {
        let own = emission.module.as_ref().is_none_or(|module| *module == self.name);
        let declared = self.manifest.broadcasts.get(&emission.name);
        if own && declared.is_some_and(|target| target.delivery.as_deref() != Some("durable")) {
            return Err(CallError::Invalid(format!("the broadcast `{}` is not durable", emission.name)));
        }
        self.emit(Some(from), emission, payload)
    }

    /// Queues a broadcast in every worker. `from` is the worker and the call that emit it, or
    /// `None` for the operator.
    pub fn emit(
        &self,
        from: Option<(u32, Option<CallId>)>,
        emission: &Emission,
        payload: &Payload,
    ) -> Result<(Receipt, Vec<Pending>), CallError> {
        let state = self.nested(from.and_then(|(_, call)| call), emission.subdomain.as_ref())?;
        let workers = self.workers();
        let own = emission.module.as_ref().is_none_or(|module| *module == self.name);
        let route = if own {
            let Some(target) = self.manifest.broadcasts.get(&emission.name) else {
                return Err(CallError::NotFound(format!(
                    "the module `{}` has no broadcast `{}`",
                    self.name, emission.name
                )));
            };
            Some(RouteRequest { method: Some("post"), path: &target.path, query: "" })
        } else {
            None
        };
        let _sequencer = self.sequencer.lock();
        let id = {
            let emitted = Emitted {
                module: emission.module.clone(),
                name: emission.name.clone(),
                payload: payload.clone(),
                subdomain: state.subdomain.clone(),
            };
            let mut node = self.state();
            node.emitted.push(emitted);
            node.next_broadcast += 1;
            node.next_broadcast - 1
        };
        let mut pending = Vec::new();
        for worker in 0..workers {
            let Some(route) = &route else {
                // The broadcast of another module is only recorded. Each worker answers without a
                // body.
                let (resolver, promise) = promise();
                let empty = Reply { status: 0, headers: Vec::new(), payload: Payload::None, extra: Vec::new() };
                resolver.resolve(Ok(Outcome::Reply(empty)));
                pending.push(promise);
                continue;
            };
            let same_as_caller = from.is_some_and(|(emitter, _)| emitter == worker);
            pending.push(self.start(CallSpec {
                route: self.manifest.find(route)?,
                query: "",
                trigger: Trigger::Broadcast(Broadcast { name: emission.name.clone(), id, seq: id, same_as_caller }),
                payload: payload.clone(),
                timeout: None,
                state: CallState { worker, ..state.clone() },
                origin: self.origin(from.map(|(worker, _)| worker)),
                extra: Vec::new(),
            }));
        }
        Ok((Receipt { id, seq: id, accepted: workers, skipped: Vec::new(), extra: Vec::new() }, pending))
    }

    fn origin(&self, worker: Option<u32>) -> Origin {
        match worker {
            Some(worker) => {
                let isolate = Isolate::Worker(worker);
                Origin::Guest(GuestOrigin { module: self.name.clone(), isolate, node: None })
            }
            None => Origin::Operator,
        }
    }

    /// Queues a call of a handler to a route of this module, or answers it for another module.
    pub fn rpc(
        &self,
        from: (u32, Option<CallId>),
        target: &Target,
        route: &str,
        payload: &Payload,
        options: &CallOptions,
    ) -> Result<Pending, CallError> {
        let (method, rest) = match route.split_once(' ') {
            Some((method, rest)) => (Some(method), rest),
            None => (None, route),
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = if path.contains('/') { path.to_owned() } else { path.replace('.', "/") };
        let (module, path) = path.split_once('/').unwrap_or((&path, ""));
        let mut state = self.nested(from.1, options.subdomain.as_ref())?;

        if module.is_empty() || module == self.name {
            state.worker = match *target {
                Target::Any => from.0,
                Target::Worker(worker) if worker < self.workers() => worker,
                Target::Other(_) => return Err(CallError::Invalid(format!("this version has no target {target:?}"))),
                _ => return Err(CallError::NotFound(format!("there is no {target:?}: a test host has workers only"))),
            };
            let found = self.manifest.find(&RouteRequest { method, path, query })?;
            if found.session {
                let message =
                    format!("only messages of connected clients reach `{route}`: it has the middleware `session`");
                return Err(CallError::Forbidden(message));
            }
            return Ok(self.start(CallSpec {
                route: found,
                query,
                trigger: Trigger::Rpc,
                payload: payload.clone(),
                timeout: options.timeout_ms,
                state,
                origin: self.origin(Some(from.0)),
                extra: Vec::new(),
            }));
        }

        let called = format!("{module}/{path}");
        let with_slashes = |route: &str| {
            let route = route.split_once(' ').map_or(route, |(_, rest)| rest);
            if route.contains('/') { route.to_owned() } else { route.replace('.', "/") }
        };
        let Some((_, answer)) = self.answers.iter().find(|(route, _)| with_slashes(route) == called) else {
            let message = format!("nothing answers `{called}`: add `.answer({called:?}, ..)` to the test host");
            return Err(CallError::NotFound(message));
        };
        let answer = Arc::clone(answer);
        let (resolver, pending) = promise();
        resolver.resolve(
            answer(OutgoingCall {
                route: route.to_owned(),
                target: target.clone(),
                payload: payload.clone(),
                subdomain: state.subdomain,
            })
            .map(Outcome::Reply),
        );
        Ok(pending)
    }
}
