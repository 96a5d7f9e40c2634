//! Calls of the routes that admit readers to live streams.

use std::sync::Arc;

use super::Dispatch;
use super::calls::ClientCall;
use crate::call::{Admission, CallError, Payload, StreamRequest, Trigger};
use crate::isolate::{Isolate, Slot};
use crate::registry::{KeyOwner, MatchedRoute, PatternKind};

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
        self.roster.patterns.is_used(PatternKind::Stream)
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
        let call = ClientCall {
            trigger: Trigger::Stream { key: request.key, last_event_id: request.last_event_id },
            head: Some(request.head),
            query: request.query,
            payload: Payload::None,
            trace: request.trace,
            subdomain: request.subdomain,
            spill: false,
            exchange: None,
        };
        Admission::Called(module, self.serve_client(&here, matched, call).await)
    }

    fn rule(&self, isolate: &Isolate, key: &str) -> Rule {
        let module = match self.roster.owner_of_key(key) {
            KeyOwner::Nobody => return Rule::Undeclared,
            KeyOwner::Installed(module) => module,
            // The module may want to decide who reads the key, so the key must not be open
            // meanwhile.
            KeyOwner::Claimed(module) => {
                let what = "has not installed the generation that declares this key";
                let error = CallError::Unavailable(format!("{module} {what}: try again"));
                return Rule::Unavailable(module, error);
            }
            KeyOwner::Absent(module) => {
                let error = self.missing(&module);
                return Rule::Unavailable(module, error);
            }
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
}
