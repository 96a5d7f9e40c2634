//! The startup handlers of an instance, which run before its first call.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use wasmtime::component::Accessor;

use super::InstanceTask;
use crate::call::{Call, Context, Deadline, IsolateId, Origin, Payload, Trigger, text};
use crate::isolate::error::Crash;
use crate::isolate::mailbox::QueuedCall;
use crate::isolate::program::GuestExports;
use crate::isolate::state::State;

impl InstanceTask {
    /// Runs the startup handlers one after the other. An error means that the store failed, or that
    /// a handler failed or ended without an outcome.
    pub(super) async fn run_startup_handlers(
        &self,
        accessor: &Accessor<State>,
        exports: &GuestExports,
    ) -> wasmtime::Result<()> {
        let generation = &self.deployment.generation;
        for (name, startup) in &generation.manifest.startups {
            if !startup.everywhere && self.slot.isolate != IsolateId::Worker(0) {
                continue;
            }
            let Some(route) = self.deployment.route(startup.route) else { continue };
            let deadline = Deadline::At(Instant::now() + generation.limits.startup);
            let id = self.services.next_id();
            let mut context = Context::root(id, generation.module.clone(), self.slot.isolate, Origin::Host, deadline);
            context.in_startup = true;
            let (reply_sender, outcome) = oneshot::channel();
            let trigger = Trigger::Startup { name: name.as_str().into(), reason: self.startup_reason };
            let call = Call {
                context: Arc::new(context),
                route,
                trigger,
                params: Vec::new(),
                query: String::new(),
                payload: Payload::None,
                extra: Vec::new(),
                exchange: None,
            };
            self.run_call(accessor, exports, None, QueuedCall::new(call, Some(reply_sender))).await?;
            match outcome.await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    let why = text::line(&error.to_string(), text::MESSAGE);
                    return Err(Crash::StartupFailed { name: name.clone(), why }.into());
                }
                Err(_) => return Err(Crash::StartupWithoutOutcome(name.clone()).into()),
            }
        }
        Ok(())
    }
}
