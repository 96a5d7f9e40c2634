//! An instance is a task that runs the calls of one module in one isolate. It runs all of them in
//! one store or, with `"isolation": "fresh"`, each in a store of its own.
//!
//! As soon as the supervisor or a swap begins to drain the instance, the instance takes no further
//! calls. It ends when its running calls have ended, at the latest `limits.abandonAfter` after
//! their deadlines.
//!
//! The task also ends when its store or a startup handler fails, for example because the guest
//! traps, exceeds a limit or stops responding, and when the host panics. It then ends each running
//! call with the error `crashed`. Calls that have not started stay in the mailbox for the next
//! instance. A kill aborts the task ([`Killer`]) with the same result.

mod calls;
mod control;
mod exchanges;
mod first_calls;
mod fresh;
mod intake;
mod killer;
mod leftovers;
mod middlewares;
mod overdue;
mod snapshot;
mod snapshot_request;
mod startup_handlers;

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio_util::sync::DropGuard;
use wasmtime::component::Accessor;

pub use self::control::Control;
pub use self::killer::Killer;
pub use self::snapshot_request::SnapshotRequest;
use super::cpu::metered;
use super::deployment::Deployment;
use super::error::{Crash, End};
use super::program::GuestExports;
use super::running_calls::RunningCalls;
use super::services::Services;
use super::slot_core::SlotCore;
use super::state::{self, OneCall, State};
use super::turn::TurnLimiter;
use super::when_woken::when_woken;
use crate::call::{StartupReason, panic_text};
use crate::engine::AddressSpaceError;
use crate::events::{HostEvent, Origin};
use crate::registry::Isolation;
use leftovers::Leftovers;

/// The supervisor's handle to a running instance. When the handle is dropped, the instance drains:
/// see [`Control::drain`].
pub struct Instance {
    /// The id that the mailbox knows the instance by.
    pub id: u64,
    pub running_calls: Arc<RunningCalls>,
    /// The supervisor and swaps use this to drain, finish, watch and snapshot the instance.
    pub control: Arc<Control>,
    pub killer: Killer,
    pub task: tokio::task::JoinHandle<End>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.control.drain();
    }
}

/// Everything that an instance's task needs to run calls.
struct InstanceTask {
    /// The id that the mailbox knows the instance by.
    id: u64,
    /// The mailbox and the counters, which outlive the instance.
    slot: Arc<SlotCore>,
    /// The program that the instance runs, and its routes and log in this isolate.
    deployment: Arc<Deployment>,
    services: Arc<Services>,
    running_calls: Arc<RunningCalls>,
    control: Arc<Control>,
    startup_reason: StartupReason,
    activation: Activation,
    /// Lets the next instance take calls when the task has ended.
    _idle: IdleGuard,
    /// Tells that the task has ended. The last field, so that everything else was dropped before.
    _ended: DropGuard,
}

/// When it is dropped, an instance no longer keeps the next one from its first call.
struct IdleGuard(Arc<Control>);

impl Drop for IdleGuard {
    fn drop(&mut self) {
        self.0.set_idle();
    }
}

/// When it is dropped, the bodies that an instance still streams are cut.
struct CutStreams<'a>(&'a RunningCalls);

impl Drop for CutStreams<'_> {
    fn drop(&mut self) {
        self.0.cut_streams();
    }
}

/// Ends all running calls with the function `end`. Returns the names of their handlers.
fn end_calls(
    running_calls: &RunningCalls,
    slot: &SlotCore,
    generation: &str,
    why: &str,
    end: impl FnOnce(&RunningCalls, &dyn Fn(&str) -> String) -> Vec<String>,
) -> Vec<String> {
    let SlotCore { module, isolate, .. } = slot;
    end(running_calls, &|handler| {
        format!("the instance of {module} in {isolate} (generation {generation}) ended while `{handler}` ran: {why}")
    })
}

/// When an instance begins to take calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// When its startup handlers have ended. `era` is the number of hand-overs of the mailbox that
    /// the supervisor knew of when it started the instance. If a swap has handed the mailbox over
    /// since then, the instance gets no calls.
    Immediate { era: u64 },
    /// When a swap hands the mailbox over to it.
    OnHandOver,
}

impl Instance {
    /// Starts an instance on the tokio runtime of the thread that runs its isolate.
    pub fn spawn(
        slot: &Arc<SlotCore>,
        deployment: &Arc<Deployment>,
        services: &Arc<Services>,
        startup_reason: StartupReason,
        activation: Activation,
    ) -> Instance {
        let id = services.next_id();
        let running_calls = Arc::new(RunningCalls::new(slot.stats.clone(), deployment.failed.clone()));
        let control = Arc::new(Control::default());
        let task = InstanceTask {
            id,
            slot: slot.clone(),
            deployment: deployment.clone(),
            services: services.clone(),
            running_calls: running_calls.clone(),
            control: control.clone(),
            startup_reason,
            activation,
            _idle: IdleGuard(control.clone()),
            _ended: control.ended.clone().drop_guard(),
        };
        let task = services.tasks.spawn_on(metered(services.engine.ticks().clone(), task.run()), &slot.runtime);
        let killer = Killer {
            abort: task.abort_handle(),
            control: control.clone(),
            running_calls: running_calls.clone(),
            slot: slot.clone(),
            generation: deployment.generation.short_digest().into(),
        };
        Instance { id, running_calls, control, killer, task }
    }

    /// Waits until the task ends, and returns how it ended.
    pub async fn wait(&mut self) -> End {
        // The error is a panic: the host waits for no task that it has aborted.
        (&mut self.task).await.unwrap_or_else(|error| Crash::HostPanic(error.to_string()).into())
    }
}

impl InstanceTask {
    async fn run(self) -> End {
        let generation = &self.deployment.generation;
        let drive = async {
            match generation.isolation {
                Isolation::Resident => self.run_resident().await,
                Isolation::Fresh => self.run_fresh().await,
            }
        };
        let end = match AssertUnwindSafe(drive).catch_unwind().await {
            Ok(end) => end,
            Err(panic) => Crash::HostPanic(panic_text(&*panic).to_owned()).into(),
        };
        self.control.snapshots.close();
        self.note_quiet_hook();
        // First, so that a caller that gets the error finds the event.
        if let End::Crashed(crash) = &end
            && !self.control.is_quiet()
        {
            let origin = Origin::module(self.slot.isolate, &generation.module);
            self.services.events.raise(HostEvent::Fail { origin, message: crash.reason() });
        }
        let handlers = self.end_running_calls(&match &end {
            End::Drained => "the host stopped the instance before the call ended".to_owned(),
            End::Crashed(crash) => crash.reason(),
        });
        if let End::Crashed(crash) = &end {
            self.running_calls.fail_streams();
            let event = if crash.is_of_start() { "an instance did not start" } else { "the instance crashed" };
            self.log_crash(event, &handlers, crash);
        }
        end
    }

    /// Lets the end or the replacement of the instance raise no event if a hook of a host event, or
    /// a call that descends from one, runs in it. Otherwise a hook that crashes could be called
    /// because of its own crash, without end.
    fn note_quiet_hook(&self) {
        if self.running_calls.runs_quiet_hook() {
            self.control.set_quiet();
        }
    }

    /// Ends each running call with the error `crashed`, because the instance has ended. Returns the
    /// names of their handlers.
    fn end_running_calls(&self, why: &str) -> Vec<String> {
        let generation = self.deployment.generation.short_digest();
        end_calls(&self.running_calls, &self.slot, generation, why, RunningCalls::end_all_as_crashed)
    }

    /// Logs a crash. The first line has the reason and the handlers that were running. The
    /// backtrace is below it.
    fn log_crash(&self, event: &str, handlers: &[String], crash: &Crash) {
        let generation = &self.deployment.generation;
        let text = crash.report();
        let (reason, backtrace) =
            text.split_once('\n').map_or((text.as_str(), None), |(reason, rest)| (reason, Some(rest)));
        tracing::error!(
            module = %generation.module, generation = generation.short_digest(), isolate = %self.slot.isolate,
            fault = crash.fault().as_str(),
            handlers = (!handlers.is_empty()).then(|| tracing::field::debug(handlers)),
            backtrace = backtrace.map(|lines| tracing::field::display(format!("\n{lines}"))),
            "{event}: {reason}"
        );
    }

    /// Runs all calls in one store.
    async fn run_resident(&self) -> End {
        let mut store = match self.new_store(OneCall::default()) {
            Ok(store) => store,
            Err(error) => return Crash::from(error).into(),
        };
        // Dropped before the store.
        let _cut = CutStreams(&self.running_calls);
        let limits = &self.deployment.generation.limits;
        let exports = match tokio::time::timeout(limits.startup, self.deployment.program.instantiate(&mut store)).await
        {
            Ok(Ok(exports)) => exports,
            Ok(Err(error)) => return self.crash_from(&error, store.data()).into(),
            Err(_) => return Crash::SlowInstantiation(limits.startup).into(),
        };
        let served = {
            let limiter = self.turn_limiter();
            let run = store.run_concurrent(async |accessor| self.serve(accessor, &exports, &limiter).await);
            tokio::select! {
                biased;
                // Returning drops the store, even if the guest no longer responds.
                end = self.watch_deadlines() => return end,
                served = limiter.run(run, |is_idle| self.control.turn_ended(is_idle)) => served,
            }
        };
        // The outer error comes from wasmtime's event loop, the inner one from `serve`.
        match served {
            Ok(Ok(end)) => end,
            Ok(Err(error)) | Err(error) => self.crash_from(&error, store.data()).into(),
        }
    }

    /// Runs the startup handlers, then the calls from the mailbox, until the instance has drained
    /// or finished. An error means that the store or a startup handler failed.
    async fn serve(
        &self,
        accessor: &Accessor<State>,
        exports: &GuestExports,
        limiter: &TurnLimiter,
    ) -> wasmtime::Result<End> {
        self.run_startup_handlers(accessor, exports).await?;
        self.activate();
        let (mut calls, mut snapshots) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut leftovers = Leftovers::new(self.deployment.generation.limits.handles);
        let (mut is_first, mut first_calls) = (true, 0);
        // wasmtime polls this future after every step of the guest. `when_woken` skips a poll when
        // nothing has woken this future since its last poll.
        let mut serve_calls = pin!(when_woken(|cx| {
            self.control.turn_count.fetch_add(1, Ordering::Relaxed);
            self.control.waker.register(cx.waker());
            loop {
                while let Poll::Ready(Some(ended)) = calls.poll_next_unpin(cx) {
                    if let Err(error) = ended {
                        return Poll::Ready(Err(error));
                    }
                }
                while let Some(request) = self.control.snapshots.pop() {
                    limiter.give_work();
                    snapshots.push(self.snapshot(accessor, exports, request));
                }
                while let Poll::Ready(Some(done)) = snapshots.poll_next_unpin(cx) {
                    if let Err(error) = done {
                        return Poll::Ready(Err(error));
                    }
                }
                let is_idle = calls.is_empty() && !self.running_calls.is_streaming();
                let next = self.poll_next_call(cx, || leftovers.leave_room(accessor, limiter), is_idle, &mut is_first);
                let mut next = ready!(next);
                if next.is_none() {
                    return Poll::Ready(Ok(End::Drained));
                }
                limiter.give_work();
                while let Some(queued) = next {
                    limiter.count_call();
                    leftovers.count_call();
                    self.count_first_call(accessor, &mut first_calls);
                    calls.push(self.run_call(accessor, exports, Some(limiter), queued));
                    next = if leftovers.leave_room(accessor, limiter) {
                        self.slot.mailbox.take(self.id, self.capacity())
                    } else {
                        None
                    };
                }
            }
        }));
        poll_fn(|cx| {
            limiter.begin_poll();
            serve_calls.as_mut().poll(cx)
        })
        .await
    }

    /// Creates the limiter for the number of calls that the instance starts in one turn. A turn is
    /// one poll of the instance's task.
    fn turn_limiter(&self) -> Arc<TurnLimiter> {
        TurnLimiter::new(self.services.restart.turn_calls, self.slot.stats.full_turns.clone())
    }

    /// Lets the instance take calls, unless a swap will do that later. Then tells the supervisor or
    /// the swap that the instance is ready.
    fn activate(&self) {
        if let Activation::Immediate { era } = self.activation {
            self.slot.mailbox.appoint(self.id, era);
        }
        self.control.set_ready();
    }

    fn new_store(&self, once: OneCall<'_>) -> Result<wasmtime::Store<State>, AddressSpaceError> {
        let log = self.deployment.log.clone();
        let program = &self.deployment.program;
        state::new_store(
            &self.services,
            &program.generation,
            &program.folders,
            self.slot.isolate,
            self.running_calls.clone(),
            log,
            once,
        )
    }

    /// Returns the crash that an error of the store or of a startup handler stands for.
    fn crash_from(&self, error: &wasmtime::Error, state: &State) -> Crash {
        match error.downcast_ref::<Crash>() {
            // If a call exceeded limits.cpu, that is the cause, whatever the error says.
            Some(crash) if !state.cpu.exceeded() => crash.clone(),
            _ => super::trap::crash(error, state, &self.deployment.generation.limits),
        }
    }
}
