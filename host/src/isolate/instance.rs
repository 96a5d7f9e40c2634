//! One instance: a task that owns a store and drives every call in it.
//!
//! The task ends when it was told to drain and its calls are done or too late, or when its store has failed: a trap, a
//! limit, a host panic, or a guest that answers nothing past a deadline. Then every call still in it is ended as
//! crashed. Calls that have not started stay in the mailbox, for the next instance.

mod ask;
mod control;
mod fresh;
mod overdue;
mod snapshot;

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

pub use self::ask::Ask;
pub use self::control::Control;
use super::bell::when_woken;
use super::cpu::in_turns;
use super::deployment::Deployment;
use super::error::{Crash, End};
use super::intake::Intake;
use super::mailbox::{Queued, Room};
use super::program::{Handler, Program};
use super::running::Running;
use super::services::Services;
use super::state::{self, State};
use super::turn::Turns;
use crate::call::{
    Call, CallError, CallResult, Context, Deadline, Failure, Origin, Outcome, Payload, StartupReason, Trigger,
    panic_text, text,
};
use crate::engine::NoSpace;
use crate::registry::{Generation, Isolation};

/// An instance that runs, as its supervisor holds it.
pub struct Instance {
    /// Names it to its mailbox.
    pub number: u64,
    pub running: Arc<Running>,
    pub control: Arc<Control>,
    pub task: tokio::task::JoinHandle<End>,
}

/// One that nobody holds any more takes no further calls.
impl Drop for Instance {
    fn drop(&mut self) {
        self.control.drain();
    }
}

/// Everything the task of an instance needs.
struct Drive {
    /// Names the instance to its mailbox.
    number: u64,
    intake: Arc<Intake>,
    deployment: Arc<Deployment>,
    program: Arc<Program>,
    services: Arc<Services>,
    running: Arc<Running>,
    control: Arc<Control>,
    reason: StartupReason,
    entry: Entry,
}

/// When an instance whose startups are done takes calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Unless its mailbox has been handed over since this era.
    AtOnce { era: u64 },
    /// When the mailbox is handed over to it.
    WhenAppointed,
}

impl Instance {
    /// Starts an instance on the runtime of its isolate's thread.
    pub fn spawn(
        intake: &Arc<Intake>,
        deployment: &Arc<Deployment>,
        program: &Arc<Program>,
        services: &Arc<Services>,
        (reason, entry): (StartupReason, Entry),
    ) -> Instance {
        let number = services.next_id();
        let running = Arc::new(Running::new(intake.stats.clone(), deployment.failed.clone()));
        let control = Arc::new(Control::default());
        let drive = Drive {
            number,
            intake: intake.clone(),
            deployment: deployment.clone(),
            program: program.clone(),
            services: services.clone(),
            running: running.clone(),
            control: control.clone(),
            reason,
            entry,
        };
        let task = services.tasks.spawn_on(in_turns(services.engine.ticks().clone(), drive.run()), &intake.runtime);
        Instance { number, running, control, task }
    }

    /// Waits for its end.
    pub async fn end(&mut self) -> End {
        (&mut self.task).await.unwrap_or_else(|panic| Crash::HostPanic(panic.to_string()).into())
    }
}

impl Drive {
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
        self.control.asks.close();
        let why = match &end {
            End::Drained => "the instance was replaced before the call ended".to_owned(),
            End::Crashed(crash) => crash.reason(),
        };
        let handlers = self.running.crash(|handler| {
            let short = generation.short_digest();
            format!("{} ({short}) ended in {} while `{handler}` ran: {why}", generation.module, self.intake.isolate)
        });
        if let End::Crashed(crash) = &end {
            self.report("the instance crashed", &handlers, crash);
        }
        end
    }

    /// The reason and what it cost in the first line, the backtrace below it.
    fn report(&self, what: &str, handlers: &[String], crash: &Crash) {
        let generation = &self.program.generation;
        let why = crash.to_string();
        let (reason, backtrace) =
            why.split_once('\n').map_or((why.as_str(), None), |(reason, rest)| (reason, Some(rest)));
        tracing::error!(
            module = %generation.module, generation = generation.short_digest(), isolate = %self.intake.isolate,
            fault = crash.fault().as_str(), failed = ?handlers, backtrace = backtrace.map(|lines| tracing::field::display(format!("\n{lines}"))),
            "{what}: {reason}"
        );
    }

    /// One store for all calls.
    async fn resident(&self) -> End {
        let mut store = match self.store() {
            Ok(store) => store,
            Err(error) => return Crash::from(error).into(),
        };
        let limits = &self.program.generation.limits;
        let handler = match tokio::time::timeout(limits.startup, self.program.instantiate(&mut store)).await {
            Ok(Ok(handler)) => handler,
            Ok(Err(error)) => return self.crash(&error, store.data()).into(),
            Err(_) => return Crash::SlowInstantiation.into(),
        };
        let watched = {
            let turns = self.turns();
            let run = store.run_concurrent(async |accessor| self.serve(accessor, &handler, &turns).await);
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

    /// Runs the startups, then the mailbox's calls.
    async fn serve(&self, accessor: &Accessor<State>, handler: &Handler, turns: &Turns) -> wasmtime::Result<End> {
        self.startups(accessor, handler).await?;
        self.enter();
        let (mut calls, mut asks) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut driven = pin!(when_woken(|cx| {
            self.control.turns.fetch_add(1, Ordering::Relaxed);
            self.control.waker.register(cx.waker());
            loop {
                while let Poll::Ready(Some(ended)) = calls.poll_next_unpin(cx) {
                    if let Err(error) = ended {
                        return Poll::Ready(Err(error));
                    }
                }
                while let Some(ask) = self.control.asks.pop() {
                    asks.push(self.answer(accessor, handler, ask));
                }
                while let Poll::Ready(Some(answered)) = asks.poll_next_unpin(cx) {
                    if let Err(error) = answered {
                        return Poll::Ready(Err(error));
                    }
                }
                if self.control.draining.load(Ordering::Acquire) {
                    return if calls.is_empty() { Poll::Ready(Ok(End::Drained)) } else { Poll::Pending };
                }
                if !self.intake.mailbox.is_taker(self.number) {
                    return Poll::Pending;
                }
                if !turns.has_room() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                self.intake.mailbox.register(cx.waker());
                let Some(queued) = self.intake.mailbox.take(self.number, self.room()) else {
                    let finished = self.control.is_finished(calls.is_empty());
                    return if finished { Poll::Ready(Ok(End::Drained)) } else { Poll::Pending };
                };
                turns.count();
                calls.push(self.start(accessor, handler, queued));
                while turns.has_room()
                    && let Some(queued) = self.intake.mailbox.take(self.number, self.room())
                {
                    turns.count();
                    calls.push(self.start(accessor, handler, queued));
                }
            }
        }));
        poll_fn(|cx| {
            // wasmtime polls its own futures after this one.
            turns.look();
            driven.as_mut().poll(cx)
        })
        .await
    }

    fn turns(&self) -> Arc<Turns> {
        Turns::new(self.services.restart.turn_calls, self.intake.stats.full_turns.clone())
    }

    /// Takes calls from now on, or when it may.
    fn enter(&self) {
        if let Entry::AtOnce { era } = self.entry {
            self.intake.mailbox.appoint(self.number, era);
        }
        self.control.set_ready();
    }

    fn room(&self) -> Room {
        let generation = &self.program.generation;
        let (plain, nested) = self.running.counts();
        if generation.is_serial() {
            let idle = plain + nested == 0;
            return Room { calls: idle, nested: u32::from(idle) };
        }
        let Generation { limits, .. } = &**generation;
        let nested = u32::try_from(nested).unwrap_or(u32::MAX);
        Room { calls: plain < limits.concurrency as usize, nested: limits.nested.saturating_sub(nested) }
    }

    /// Starts a call; the future ends with it. Its error is the end of the store.
    fn start<'a>(
        &'a self,
        accessor: &'a Accessor<State>,
        handler: &'a Handler,
        queued: Queued,
    ) -> impl Future<Output = wasmtime::Result<()>> + Send + 'a {
        let begun = self.begin(queued);
        async move {
            let Some((id, record)) = begun else { return Ok(()) };
            let started = accessor.with(|access| handler.start(access, record))?;
            let task = started.task();
            // Its number may have been that of a call which computed on after its answer.
            accessor.with(|mut access| access.get().cpu.forget(task));
            let outcome = handler.finish(accessor, started).await?;
            accessor.with(|mut access| access.get().cpu.forget(task));
            self.running.end(id, self.checked(outcome));
            Ok(())
        }
    }

    /// Notes that a call starts. `None` when its caller has already been told that it is too late.
    fn begin(&self, queued: Queued) -> Option<(u64, crate::bindings::fanfare::module::types::Call)> {
        let now = Instant::now();
        if queued.call.context.is_late(now) {
            self.intake.end(queued, &CallError::Timeout);
            return None;
        }
        let route = match self.deployment.route_of(&queued.call) {
            Ok(route) => route,
            Err(error) => {
                self.intake.end(queued, &error);
                return None;
            }
        };
        let Queued { call, reply, nested, .. } = queued;
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

    /// What the guest answered, within `limits.payload`.
    fn checked(&self, outcome: Result<Outcome, Failure>) -> CallResult {
        let limit = self.program.generation.limits.payload;
        let (payload, beside) = crate::call::sizes(&outcome);
        let too_large = |size: usize, what: &str| {
            (size as u64 > limit).then(|| Failure {
                name: "payload-too-large".to_owned(),
                message: format!("the handler answered {size} bytes{what}: more than limits.payload, {limit}"),
                ..Failure::default()
            })
        };
        match too_large(payload, "").or_else(|| too_large(beside, " beside the payload")) {
            Some(failure) => Err(CallError::Failure(failure)),
            None => outcome.map_err(|failure| CallError::Failure(failure.shortened())),
        }
    }

    /// Runs the startups. The error is the end of the store.
    async fn startups(&self, accessor: &Accessor<State>, handler: &Handler) -> wasmtime::Result<()> {
        let generation = &self.program.generation;
        for (name, startup) in &generation.manifest.startups {
            if !startup.everywhere && self.intake.isolate != crate::call::IsolateId::Worker(0) {
                continue;
            }
            let Some(route) = self.deployment.route(startup.route) else { continue };
            let deadline = Deadline::At(Instant::now() + generation.limits.startup);
            let id = self.services.next_id();
            let mut context = Context::root(id, generation.module.clone(), self.intake.isolate, Origin::Host, deadline);
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
            self.start(accessor, handler, Queued::new(call, Some(reply))).await?;
            match ended.await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    let why = text::line(&error.to_string(), text::MESSAGE);
                    return Err(Crash::StartupFailed { name: name.clone(), why }.into());
                }
                Err(_) => return Err(Crash::StartupCutOff(name.clone()).into()),
            }
        }
        Ok(())
    }

    fn store(&self) -> Result<wasmtime::Store<State>, NoSpace> {
        let generation = &self.program.generation;
        let log = self.deployment.log.clone();
        state::store(&self.services, generation, self.intake.isolate, self.running.clone(), log)
    }

    /// Why the store is gone, by the error that ended it.
    fn crash(&self, error: &wasmtime::Error, state: &State) -> Crash {
        match error.downcast_ref::<Crash>() {
            // Too much processor time is the reason of whatever followed.
            Some(crash) if !state.cpu.exceeded() => crash.clone(),
            _ => Crash::Trap(super::trap::describe(error, state, &self.program.generation.limits)),
        }
    }
}
