//! Calls of the routes that admit readers to live streams.

use std::sync::Arc;
use std::time::Instant;

use super::{CallSpec, Dispatch};
use crate::call::{Admission, CallError, Deadline, Origin, Payload, StreamRequest, Trigger, TriggerKind};
use crate::isolate::{Isolate, Slot};
use crate::registry::{MatchedRoute, ModuleState};

/// The decision about a key in one worker.
enum Rule {
    Undeclared,
    Open,
    Call(Arc<Slot>, MatchedRoute),
    Unavailable(Arc<str>, CallError),
}

impl Dispatch {
    /// Whether an installed module declares streams or may publish to them.
    pub fn uses_streams(&self) -> bool {
        self.roster.streams.is_used()
    }

    /// Asks the module that declares a key whether a client may listen to it. `isolate` is that of
    /// the worker with the connection.
    pub async fn admit(&self, isolate: &Isolate, request: StreamRequest) -> Admission {
        let (here, matched) = match self.rule(isolate, &request.key) {
            Rule::Undeclared => return Admission::Undeclared,
            Rule::Open => return Admission::Open,
            Rule::Unavailable(module, error) => return Admission::Called(module, Err(error)),
            Rule::Call(here, matched) => (here, matched),
        };
        let module = here.module.clone();
        let slot = match self.worker_for(&here, false) {
            Ok(slot) => slot,
            Err(error) => {
                here.refused(TriggerKind::Stream, &error, Some(request.trace));
                return Admission::Called(module, Err(error));
            }
        };
        let spec = CallSpec {
            trigger: Trigger::Stream { key: request.key, last_event_id: request.last_event_id },
            origin: Origin::Client,
            deadline: Deadline::At(Instant::now() + slot.deployment().generation.limits.timeout),
            parent: None,
            remote: None,
            awaited: false,
            subdomain: request.subdomain,
            trace: Some(request.trace),
            http: Some(request.head),
            query: request.query,
            payload: Payload::None,
        };
        Admission::Called(module, self.call_in(slot, matched, spec).await)
    }

    fn rule(&self, isolate: &Isolate, key: &str) -> Rule {
        let Some(module) = self.roster.streams.module_of(key) else {
            return match self.absent_owner(key) {
                Some((module, error)) => Rule::Unavailable(module, error),
                None => Rule::Undeclared,
            };
        };
        let Some(slot) = isolate.slot(&module) else {
            let error = self.missing(&module);
            return Rule::Unavailable(module, error);
        };
        let deployment = slot.deployment();
        let manifest = &deployment.generation.manifest;
        match manifest.streams.find(key) {
            Some((_, stream)) => match stream.route {
                None => Rule::Open,
                Some(index) => match deployment.route(index) {
                    Some(route) => {
                        let matched =
                            MatchedRoute { route, access: deployment.generation.access(index), params: Vec::new() };
                        Rule::Call(slot.clone(), matched)
                    }
                    None => Rule::Unavailable(module, Self::not_ready(&slot)),
                },
            },
            // A swap is about to install the generation that declares the key.
            None => Rule::Unavailable(module, Self::not_ready(&slot)),
        }
    }

    /// The module whose name a key begins with, if the module's folder exists but the host has not
    /// loaded it. The module may want to decide who listens to the key, so the key must not be open
    /// meanwhile.
    fn absent_owner(&self, key: &str) -> Option<(Arc<str>, CallError)> {
        let name = key.split('/').next()?;
        match self.roster.state(name)? {
            ModuleState::Installed(_) => None,
            ModuleState::Loading | ModuleState::Waiting | ModuleState::Refused(_) => {
                Some((name.into(), self.missing(name)))
            }
        }
    }
}
