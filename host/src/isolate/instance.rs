//! One instance: a task that owns a store and drives every call in it.
//!
//! The task ends when its supervisor drains it and its calls have ended or are too late. It also
//! ends when the store fails: by a trap, a limit, a host panic, or a guest that stops responding
//! after a deadline. Calls that still run then end as crashed. Calls that have not started stay in
//! the mailbox for the next instance.

mod control;
mod fresh;
mod overdue;
mod snapshot;
mod snapshot_request;

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use wasmtime::component::Accessor;

pub use self::control::Control;
pub use self::snapshot_request::SnapshotRequest;
use super::cpu::metered;
use super::deployment::Deployment;
use super::error::{Crash, End};
use super::mailbox::{Capacity, QueuedCall};
use super::program::{GuestExports, Program};
use super::running_calls::RunningCalls;
use super::services::Services;
use super::slot_core::SlotCore;
use super::state::{self, State};
use super::turn::TurnLimiter;
use super::when_woken::when_woken;
use crate::call::{
    Call, CallError, CallResult, Context, Deadline, Failure, Origin, Outcome, Payload, StartupReason, Trigger,
    panic_text, text,
};
use crate::engine::AddressSpaceError;
use crate::registry::{Generation, Isolation};

/// The handle to a running instance, which its supervisor owns. Dropping it drains the instance.
pub struct Instance {
    /// Identifies the instance to the mailbox.
    pub number: u64,
    pub running: Arc<RunningCalls>,
    pub control: Arc<Control>,
    pub task: tokio::task::JoinHandle<End>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.control.drain();
    }
}

/// The task of an instance.
struct InstanceTask {
    /// Identifies the instance to the mailbox.
    number: u64,
    slot: Arc<SlotCore>,
    deployment: Arc<Deployment>,
    program: Arc<Program>,
    services: Arc<Services>,
    running: Arc<RunningCalls>,
    control: Arc<Control>,
    reason: StartupReason,
    activation: Activation,
}

/// When an instance begins to take calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// As soon as its startups are done, unless the mailbox was handed over since this era.
    Immediate { era: u64 },
    /// When a swap hands the mailbox over to it.
    OnHandOver,
}

impl Instance {
    /// Starts an instance on the runtime of its isolate's thread.
    pub fn spawn(
        slot: &Arc<SlotCore>,
        deployment: &Arc<Deployment>,
        program: &Arc<Program>,
        services: &Arc<Services>,
        (reason, activation): (StartupReason, Activation),
    ) -> Instance {
        let number = services.next_id();
        let running = Arc::new(RunningCalls::new(slot.stats.clone(), deployment.failed.clone()));
        let control = Arc::new(Control::default());
        let task = InstanceTask {
            number,
            slot: slot.clone(),
            deployment: deployment.clone(),
            program: program.clone(),
            services: services.clone(),
            running: running.clone(),
            control: control.clone(),
            reason,
            activation,
        };
        let task = services.tasks.spawn_on(metered(services.engine.ticks().clone(), task.run()), &slot.runtime);
        Instance { number, running, control, task }
    }

    /// Waits until the instance ends.
    pub async fn end(&mut self) -> End {
        (&mut self.task).await.unwrap_or_else(|panic| Crash::HostPanic(panic.to_string()).into())
    }
}

impl InstanceTask {
    async fn run(self) -> End {
        let generation = &self.program.generation;
        let drive = async {
            match generation.manifest.isolation {
                Isolation::Resident => self.resident().await,
                Isolation::Fresh => self.fresh().await,
            }
        };
        let end = match AssertUnwindSafe(drive).catch_unwind().await {
            Ok(end) => end,
            Err(panic) => Crash::HostPanic(panic_text(&*panic).to_owned()).into(),
        };
        self.control.snapshots.close();
        let why = match &end {
            End::Drained => "the instance was replaced before the call ended".to_owned(),
            End::Crashed(crash) => crash.reason(),
        };
        let handlers = self.running.crash(|handler| {
            let short = generation.short_digest();
            format!("{} ({short}) ended in {} while `{handler}` ran: {why}", generation.module, self.slot.isolate)
        });
        if let End::Crashed(crash) = &end {
            self.report("the instance crashed", &handlers, crash);
        }
        end
    }

    /// Logs a crash: the reason and the handlers that ran in the first line, the backtrace below
    /// it.
    fn report(&self, what: &str, handlers: &[String], crash: &Crash) {
        let generation = &self.program.generation;
        let why = crash.to_string();
        let (reason, backtrace) =
            why.split_once('\n').map_or((why.as_str(), None), |(reason, rest)| (reason, Some(rest)));
        tracing::error!(
            module = %generation.module, generation = generation.short_digest(), isolate = %self.slot.isolate,
            fault = crash.fault().as_str(), failed = ?handlers, backtrace = backtrace.map(|lines| tracing::field::display(format!("\n{lines}"))),
            "{what}: {reason}"
        );
    }

    /// Runs all calls in one store.
    async fn resident(&self) -> End {
        let mut store = match self.store() {
            Ok(store) => store,
            Err(error) => return Crash::from(error).into(),
        };
        let limits = &self.program.generation.limits;
        let exports = match tokio::time::timeout(limits.startup, self.program.instantiate(&mut store)).await {
            Ok(Ok(exports)) => exports,
            Ok(Err(error)) => return self.crash(&error, store.data()).into(),
            Err(_) => return Crash::SlowInstantiation.into(),
        };
        let watched = {
            let turns = self.turns();
            let run = store.run_concurrent(async |accessor| self.serve(accessor, &exports, &turns).await);
            tokio::select! {
                biased;
                end = self.watch() => Err(end),
                ended = turns.run(run) => Ok(ended),
            }
        };
        match watched {
            Err(end) => end,
            Ok(Ok(Ok(end))) => end,
            Ok(Ok(Err(error)) | Err(error)) => self.crash(&error, store.data()).into(),
        }
    }

    /// Runs the startups, then the calls of the mailbox.
    async fn serve(
        &self,
        accessor: &Accessor<State>,
        exports: &GuestExports,
        turns: &TurnLimiter,
    ) -> wasmtime::Result<End> {
        self.startups(accessor, exports).await?;
        self.activate();
        let (mut calls, mut snapshots) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut driven = pin!(when_woken(|cx| {
            self.control.turns.fetch_add(1, Ordering::Relaxed);
            self.control.waker.register(cx.waker());
            loop {
                while let Poll::Ready(Some(ended)) = calls.poll_next_unpin(cx) {
                    if let Err(error) = ended {
                        return Poll::Ready(Err(error));
                    }
                }
                while let Some(request) = self.control.snapshots.pop() {
                    snapshots.push(self.snapshot(accessor, exports, request));
                }
                while let Poll::Ready(Some(done)) = snapshots.poll_next_unpin(cx) {
                    if let Err(error) = done {
                        return Poll::Ready(Err(error));
                    }
                }
                if self.control.draining.load(Ordering::Acquire) {
                    return if calls.is_empty() { Poll::Ready(Ok(End::Drained)) } else { Poll::Pending };
                }
                if !self.slot.mailbox.is_appointed(self.number) {
                    return Poll::Pending;
                }
                if !turns.has_room() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                self.slot.mailbox.register(cx.waker());
                let Some(queued) = self.slot.mailbox.take(self.number, self.capacity()) else {
                    let finished = self.control.is_finished(calls.is_empty());
                    return if finished { Poll::Ready(Ok(End::Drained)) } else { Poll::Pending };
                };
                turns.count();
                calls.push(self.start(accessor, exports, queued));
                while turns.has_room()
                    && let Some(queued) = self.slot.mailbox.take(self.number, self.capacity())
                {
                    turns.count();
                    calls.push(self.start(accessor, exports, queued));
                }
            }
        }));
        poll_fn(|cx| {
            // wasmtime polls its own futures after this one, so every wake so far gets its poll
            // now.
            turns.clear_wakes();
            driven.as_mut().poll(cx)
        })
        .await
    }

    fn turns(&self) -> Arc<TurnLimiter> {
        TurnLimiter::new(self.services.restart.turn_calls, self.slot.stats.full_turns.clone())
    }

    /// Reports that the instance is ready, and appoints it unless a swap will do so.
    fn activate(&self) {
        if let Activation::Immediate { era } = self.activation {
            self.slot.mailbox.appoint(self.number, era);
        }
        self.control.set_ready();
    }

    fn capacity(&self) -> Capacity {
        let generation = &self.program.generation;
        let (plain, nested) = self.running.counts();
        if generation.is_serial() {
            let idle = plain + nested == 0;
            return Capacity { calls: idle, nested: u32::from(idle) };
        }
        let Generation { limits, .. } = &**generation;
        let nested = u32::try_from(nested).unwrap_or(u32::MAX);
        Capacity { calls: plain < limits.concurrency as usize, nested: limits.nested.saturating_sub(nested) }
    }

    /// Starts a call. The future resolves when the call ends; an error means that the store failed.
    fn start<'a>(
        &'a self,
        accessor: &'a Accessor<State>,
        exports: &'a GuestExports,
        queued: QueuedCall,
    ) -> impl Future<Output = wasmtime::Result<()>> + Send + 'a {
        let begun = self.begin(queued);
        async move {
            let Some((id, record)) = begun else { return Ok(()) };
            let started = accessor.with(|access| exports.start(access, record))?;
            let task = started.task();
            // wasmtime reuses task ids. A call that computed after its answer may have left usage
            // under this one.
            accessor.with(|mut access| access.get().cpu.forget(task));
            let outcome = exports.finish(accessor, started).await?;
            accessor.with(|mut access| access.get().cpu.forget(task));
            self.running.end(id, self.checked(outcome));
            Ok(())
        }
    }

    /// Records that a call starts. `None` when the call ends here instead, because its deadline has
    /// passed or its route no longer exists.
    fn begin(&self, queued: QueuedCall) -> Option<(u64, crate::bindings::fanfare::module::types::Call)> {
        let now = Instant::now();
        if queued.call.context.is_late(now) {
            self.slot.end(queued, &CallError::Timeout);
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
        if self.program.generation.is_serial() {
            context.exclusive.store(true, Ordering::Release);
        }
        let id = context.id;
        let deadline = self.running.start(context, now, trigger, call.route.clone(), nested, reply);
        if let Some(probe) = &self.services.probe {
            probe(&call);
        }
        Some((id, super::convert::call(call, deadline.saturating_duration_since(now))))
    }

    /// Returns the guest's outcome, or a failure when it is larger than `limits.payload`.
    fn checked(&self, outcome: Result<Outcome, Failure>) -> CallResult {
        let limit = self.program.generation.limits.payload;
        let (payload, other) = crate::call::sizes(&outcome);
        let too_large = |size: usize, what: &str| {
            (size as u64 > limit).then(|| Failure {
                name: "payload-too-large".to_owned(),
                message: format!("the handler returned {size} bytes{what}: more than limits.payload, {limit}"),
                ..Failure::default()
            })
        };
        match too_large(payload, "").or_else(|| too_large(other, " besides the payload")) {
            Some(failure) => Err(CallError::Failure(failure)),
            None => outcome.map_err(|failure| CallError::Failure(failure.shortened())),
        }
    }

    /// Runs the startups. An error means that the store failed.
    async fn startups(&self, accessor: &Accessor<State>, exports: &GuestExports) -> wasmtime::Result<()> {
        let generation = &self.program.generation;
        for (name, startup) in &generation.manifest.startups {
            if !startup.everywhere && self.slot.isolate != crate::call::IsolateId::Worker(0) {
                continue;
            }
            let Some(route) = self.deployment.route(startup.route) else { continue };
            let deadline = Deadline::At(Instant::now() + generation.limits.startup);
            let id = self.services.next_id();
            let mut context = Context::root(id, generation.module.clone(), self.slot.isolate, Origin::Host, deadline);
            context.in_startup = true;
            let (reply, ended) = tokio::sync::oneshot::channel();
            let trigger = Trigger::Startup { name: name.as_str().into(), reason: self.reason };
            let call = crate::call::Call {
                context: Arc::new(context),
                route,
                trigger,
                params: Vec::new(),
                query: String::new(),
                payload: Payload::None,
                extra: Vec::new(),
            };
            self.start(accessor, exports, QueuedCall::new(call, Some(reply))).await?;
            match ended.await {
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

    fn store(&self) -> Result<wasmtime::Store<State>, AddressSpaceError> {
        let generation = &self.program.generation;
        let log = self.deployment.log.clone();
        state::store(&self.services, generation, self.slot.isolate, self.running.clone(), log)
    }

    /// Returns why the store failed.
    fn crash(&self, error: &wasmtime::Error, state: &State) -> Crash {
        match error.downcast_ref::<Crash>() {
            // A call that exceeds limits.cpu is the cause of any error that follows.
            Some(crash) if !state.cpu.exceeded() => crash.clone(),
            _ => Crash::Trap(super::trap::describe(error, state, &self.program.generation.limits)),
        }
    }
}
