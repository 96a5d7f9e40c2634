//! Calls on their way to a worker.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::node::{Node, Running};
use super::promise::{Promise, promise};
use super::routes::{Found, Wanted};
use super::worker::Message;
use super::{Asked, Emitted};
use crate::failure::CallError;
use crate::types::{
    Broadcast, Call, CallId, CallOptions, Emission, GuestOrigin, Isolate, Origin, Outcome, Payload, Receipt, Reply,
    Target, Trigger,
};

/// What the real host allows too.
const DEPTH: u32 = 16;
const DEADLINE_MS: u32 = 5000;

pub(super) type Pending = Promise<Result<Outcome, CallError>>;

pub(super) fn worker(index: usize) -> Isolate {
    Isolate::Worker(u32::try_from(index).unwrap_or(u32::MAX))
}

/// Where nothing is left to go on to, `pass` counts as a reply.
pub(super) fn into_reply(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Reply(reply) => reply,
        Outcome::Pass(passed) => {
            let payload = passed.payload.unwrap_or(Payload::None);
            Reply { status: 0, headers: Vec::new(), payload, extra: Vec::new() }
        }
    }
}

/// A call that has its route and its reason.
pub(super) struct Start<'a> {
    pub found: Found,
    pub query: &'a str,
    pub trigger: Trigger,
    pub payload: Payload,
    pub timeout: Option<u32>,
    pub running: Running,
    pub origin: Origin,
}

impl Node {
    /// Queues a call.
    pub fn start(&self, start: Start<'_>) -> Pending {
        let (resolver, pending) = promise();
        let worker = start.running.worker;
        let subdomain = start.running.subdomain.clone();
        if let Some(timeout) = start.timeout {
            let resolver = resolver.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(timeout.into()));
                resolver.resolve(Err(CallError::Timeout));
            });
        }
        // The number and the place in the mailbox are taken together: broadcasts keep their order.
        let mut state = self.state();
        let id = state.next_call;
        state.next_call += 1;
        state.calls.insert(id, Running { resolver: Some(resolver), ..start.running });
        self.send(
            worker,
            Message::Call(Box::new(Call {
                id,
                handler: start.found.handler,
                trigger: start.trigger,
                origin: start.origin,
                subdomain,
                deadline_ms: start.timeout.unwrap_or(DEADLINE_MS).min(DEADLINE_MS),
                params: start.found.params,
                query: start.query.to_owned(),
                payload: start.payload,
                extra: Vec::new(),
            })),
        );
        pending
    }

    /// The call that a handler makes this one for, one step deeper.
    fn nested(&self, caller: Option<CallId>, subdomain: Option<&String>) -> Result<Running, CallError> {
        let state = self.state();
        let parent = caller.and_then(|caller| state.calls.get(&caller));
        let depth = parent.map_or(0, |parent| parent.depth + 1);
        if depth > DEPTH {
            return Err(CallError::TooDeep(format!("the chain of calls is longer than {DEPTH}")));
        }
        let subdomain = subdomain.cloned().or_else(|| parent.and_then(|parent| parent.subdomain.clone()));
        Ok(Running { depth, subdomain, ..Running::default() })
    }

    /// Notes that a reload was asked for. Nothing is reloaded here.
    pub fn reload(&self, module: Option<&str>) -> Receipt {
        let mut state = self.state();
        state.reloads.push(module.map(str::to_owned));
        let seq = state.reloads.len() as u64;
        drop(state);
        Receipt { id: seq, seq, accepted: self.workers(), skipped: Vec::new(), extra: Vec::new() }
    }

    /// `from` is the worker and the call that emit; `None` is the operator.
    pub fn emit(
        &self,
        from: Option<(u32, Option<CallId>)>,
        what: &Emission,
        payload: &Payload,
    ) -> Result<(Receipt, Vec<Pending>), CallError> {
        let running = self.nested(from.and_then(|(_, call)| call), what.subdomain.as_ref())?;
        let workers = self.workers();
        let own = what.module.as_ref().is_none_or(|module| *module == self.name);
        let found = if own {
            let Some(target) = self.manifest.broadcasts.get(&what.name) else {
                return Err(CallError::NotFound(format!("`{}` has no broadcast `{}`", self.name, what.name)));
            };
            Some(Wanted { method: Some("post"), path: &target.path, query: "" })
        } else {
            None
        };
        let _sequencer = self.sequencer.lock();
        let id = {
            let mut state = self.state();
            let emitted = Emitted {
                module: what.module.clone(),
                name: what.name.clone(),
                payload: payload.clone(),
                subdomain: running.subdomain.clone(),
            };
            state.emitted.push(emitted);
            state.next_broadcast += 1;
            state.next_broadcast - 1
        };
        let mut pending = Vec::new();
        for worker in 0..workers {
            let Some(wanted) = &found else {
                // Another module's broadcast is recorded, and answered with nothing.
                let (resolver, promise) = promise();
                let empty = Reply { status: 0, headers: Vec::new(), payload: Payload::None, extra: Vec::new() };
                resolver.resolve(Ok(Outcome::Reply(empty)));
                pending.push(promise);
                continue;
            };
            let same_as_caller = from.is_some_and(|(emitter, _)| emitter == worker);
            pending.push(self.start(Start {
                found: self.manifest.find(wanted)?,
                query: "",
                trigger: Trigger::Broadcast(Broadcast { name: what.name.clone(), id, seq: id, same_as_caller }),
                payload: payload.clone(),
                timeout: None,
                running: Running { worker, ..running.clone() },
                origin: self.origin(from.map(|(worker, _)| worker)),
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

    /// A call of a handler to a route, here or in another module.
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
        let mut running = self.nested(from.1, options.subdomain.as_ref())?;

        if module.is_empty() || module == self.name {
            running.worker = match *target {
                Target::Any => from.0,
                Target::Worker(worker) if worker < self.workers() => worker,
                Target::Other(_) => return Err(CallError::Invalid(format!("this version knows no {target:?}"))),
                _ => return Err(CallError::NotFound(format!("there is no {target:?} in a test"))),
            };
            return Ok(self.start(Start {
                found: self.manifest.find(&Wanted { method, path, query })?,
                query,
                trigger: Trigger::Rpc,
                payload: payload.clone(),
                timeout: options.timeout_ms,
                running,
                origin: self.origin(Some(from.0)),
            }));
        }

        let asked = format!("{module}/{path}");
        let written = |other: &str| {
            let other = other.split_once(' ').map_or(other, |(_, rest)| rest);
            if other.contains('/') { other.to_owned() } else { other.replace('.', "/") }
        };
        let Some((_, answer)) = self.answers.iter().find(|(other, _)| written(other) == asked) else {
            let message = format!("nothing answers `{asked}`: give the test host an `.answer({asked:?}, ..)`");
            return Err(CallError::NotFound(message));
        };
        let answer = Arc::clone(answer);
        let (resolver, pending) = promise();
        resolver.resolve(
            answer(Asked {
                route: route.to_owned(),
                target: target.clone(),
                payload: payload.clone(),
                subdomain: running.subdomain,
            })
            .map(Outcome::Reply),
        );
        Ok(pending)
    }
}
