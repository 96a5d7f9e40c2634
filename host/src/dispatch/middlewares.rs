//! Calls of middlewares that are routes of modules.
//!
//! The instance that runs a call calls its middlewares, before it calls the handler. So the call
//! has already started, in its order, and waits for each middleware as for any call that it makes:
//! deadline, depth, trace and the detection of deadlocks are the same.

use std::sync::Arc;

use super::{CallSpec, Dispatch};
use crate::call::{CallError, CallResult, Deadline, IsolateId, MiddlewareCall, Trigger, TriggerKind};
use crate::isolate::Slot;

impl Dispatch {
    /// Calls a middleware in the worker of the call that waits for it. A broker and the master have
    /// only some of the modules, so their calls use any worker.
    pub(super) fn middleware(&self, call: MiddlewareCall) -> impl Future<Output = CallResult> + Send + use<> {
        let sent = self.middleware_slot(&call).and_then(|slot| {
            let matched = Self::find_route(&slot, &call.name, TriggerKind::Middleware)?;
            let MiddlewareCall { context, trigger, query, payload, extra, .. } = call;
            let fallback = slot.deployment().generation.limits.timeout;
            let spec = CallSpec {
                trigger: Trigger::Middleware(Arc::new(trigger)),
                origin: context.origin.clone(),
                deadline: Deadline::At(self.call_deadline(&slot, Some(&context), None, fallback)),
                remote: None,
                awaited: true,
                subdomain: context.subdomain.clone(),
                trace: None,
                http: context.http.clone(),
                session: context.session.clone(),
                extra,
                query,
                payload,
                parent: Some(context),
                exchange: None,
            };
            Ok((self.send_to(&slot, matched, spec)?, slot))
        });
        async move {
            let (pending, slot) = sent?;
            pending.outcome(&slot).await
        }
    }

    fn middleware_slot(&self, call: &MiddlewareCall) -> Result<Arc<Slot>, CallError> {
        let module = call.name.module.as_deref().unwrap_or(&call.context.module);
        let parent = Some(&call.context);
        let isolate = call.context.isolate;
        if !matches!(isolate, IsolateId::Worker(_)) {
            return self.choose(module, None, parent);
        }
        let slot = self.slot_in(module, isolate)?;
        match self.rejection(&slot, parent) {
            None => Ok(slot),
            Some(error) => {
                slot.refused(TriggerKind::Middleware, &error, Some(call.context.trace));
                Err(error)
            }
        }
    }
}
