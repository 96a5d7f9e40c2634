//! Runs the calls of an instance in its store, within the limits of the module.

use std::sync::atomic::Ordering;
use std::time::Instant;

use wasmtime::component::Accessor;

use super::InstanceTask;
use crate::call::{Call, CallError, CallResult, Failure, Outcome};
use crate::isolate::convert;
use crate::isolate::mailbox::{Capacity, QueuedCall};
use crate::isolate::program::GuestExports;
use crate::isolate::state::State;
use crate::isolate::turn::TurnLimiter;
use crate::registry::Generation;

/// A call that counts as running, and has not been given to the guest.
pub(super) struct Admitted {
    pub call: Call,
    pub started: Instant,
    pub deadline: Instant,
}

impl InstanceTask {
    /// Returns whether the instance can start a plain call now, and how many nested calls it can
    /// start. A serial module runs one call at a time, plain or nested.
    pub(super) fn capacity(&self) -> Capacity {
        let generation = &self.deployment.generation;
        let (plain, nested) = self.running_calls.counts();
        if generation.is_serial() {
            let idle = plain + nested == 0;
            return Capacity { accepts_plain: idle, nested: u32::from(idle) };
        }
        let Generation { limits, .. } = &**generation;
        let nested = u32::try_from(nested).unwrap_or(u32::MAX);
        Capacity { accepts_plain: plain < limits.concurrency as usize, nested: limits.nested.saturating_sub(nested) }
    }

    /// Admits a call at once. The future starts the admitted call and resolves when it has ended;
    /// it does nothing for a call that was not admitted. An error means that the store failed.
    pub(super) fn run_call<'a>(
        &'a self,
        accessor: &'a Accessor<State>,
        exports: &'a GuestExports,
        limiter: Option<&'a TurnLimiter>,
        queued: QueuedCall,
    ) -> impl Future<Output = wasmtime::Result<()>> + Send + 'a {
        // Outside the future, so that the call counts against the limits at once.
        let admitted = self.admit(queued);
        async move {
            let Some(Admitted { mut call, started, deadline }) = admitted else { return Ok(()) };
            let id = call.context.id;
            if let Some(exchange) = call.exchange.take() {
                // Boxed, like the state of middlewares below.
                return Box::pin(self.run_exchange(accessor, exports, id, *exchange)).await;
            }
            let guest_call = if call.route.chain.is_empty() {
                convert::call(call, deadline.saturating_duration_since(started))
            } else {
                // Boxed, so that calls without middlewares have no place for its state.
                let passed = Box::pin(self.pass_middlewares(call, deadline)).await;
                let Some(guest_call) = passed else { return Ok(()) };
                limiter.inspect(|limiter| limiter.give_work());
                guest_call
            };
            let started = accessor.with(|access| exports.start(access, guest_call))?;
            let task = started.task();
            // wasmtime reuses task ids. An earlier call with this id may have used processor time
            // after it returned its outcome, and this call must not pay for that.
            accessor.with(|mut access| access.get().cpu.forget(task));
            let outcome = exports.finish(accessor, started).await?;
            // The call has ended, so the meter no longer needs its time.
            accessor.with(|mut access| access.get().cpu.forget(task));
            self.running_calls.end(id, self.limit_size(outcome));
            Ok(())
        }
    }

    /// Registers a call as running. If its deadline has passed or its route no longer exists, ends
    /// the call with an error instead and returns `None`.
    pub(super) fn admit(&self, queued: QueuedCall) -> Option<Admitted> {
        let now = Instant::now();
        if queued.call.context.is_late(now) {
            self.slot.end(queued, &CallError::Timeout(None));
            return None;
        }
        let route = match self.deployment.route_of(&queued.call) {
            Ok(route) => route,
            Err(error) => {
                self.slot.end(queued, &error);
                return None;
            }
        };
        let QueuedCall { call, reply, nested, .. } = queued;
        let call = Call { route, ..call };
        let context = call.context.clone();
        let trigger = call.trigger.kind();
        if self.deployment.generation.is_serial() {
            // Dispatch rejects a call that would wait for this instance when this call is in its
            // chain, because the two would wait for each other.
            context.exclusive.store(true, Ordering::Release);
        }
        let deadline = self.running_calls.start(context, now, trigger, call.route.clone(), nested, reply);
        if let Some(probe) = &self.services.probe {
            probe(&call);
        }
        Some(Admitted { call, started: now, deadline })
    }

    /// Returns the guest's outcome, with the text of a failure cut to its maximal length. Returns a
    /// failure instead if the payload, or all other text of the outcome, is larger than
    /// `limits.payload`.
    pub(super) fn limit_size(&self, outcome: Result<Outcome, Failure>) -> CallResult {
        let limit = self.deployment.generation.limits.payload;
        let (payload_size, other_size) = crate::call::sizes(&outcome);
        let too_large = |size: usize, part: &str| {
            (size as u64 > limit).then(|| Failure {
                name: "payload-too-large".to_owned(),
                message: format!(
                    "the handler returned {size} bytes {part}; \
                     limits.payload allows {limit} bytes of payload and {limit} bytes of other text"
                ),
                ..Failure::default()
            })
        };
        match too_large(payload_size, "of payload").or_else(|| too_large(other_size, "of other text")) {
            Some(failure) => Err(CallError::Failure(failure)),
            None => outcome.map_err(|failure| CallError::Failure(failure.shortened())),
        }
    }
}
