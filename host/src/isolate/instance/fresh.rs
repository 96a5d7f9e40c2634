//! `"isolation": "fresh"`: each call runs in a store of its own.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use futures_util::future::{FutureExt, poll_fn};
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::calls::Admitted;
use super::killer::KILLED;
use super::overdue::WATCH;
use super::{Crash, CutStreams, End, IdleGuard, InstanceTask, end_calls};
use crate::bindings::fanfare::module::types::Call as GuestCall;
use crate::call::{CallError, Exchange, panic_text};
use crate::isolate::command::Command;
use crate::isolate::guest_command;
use crate::isolate::mailbox::QueuedCall;
use crate::isolate::running_calls::RunningCalls;
use crate::isolate::state::OneCall;

/// The time limit of a turn. Each fresh instance may compute until the next tick, so a limit for
/// all of them keeps a turn from lasting one tick per instance.
struct TurnTime {
    began: Mutex<Instant>,
    limit: Duration,
}

impl TurnTime {
    /// Whether instances that have not run in this turn must wait for the next one.
    fn is_over(&self) -> bool {
        self.began.lock().elapsed() >= self.limit
    }

    /// Runs a future in the turns that are not over.
    async fn run<F: Future<Output = ()> + Unpin>(&self, mut future: F) {
        poll_fn(|cx| {
            if self.is_over() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            future.poll_unpin(cx)
        })
        .await;
    }
}

/// What the guest of a fresh instance gets.
enum Work {
    Route(Box<GuestCall>),
    Exchange(Box<Exchange>),
    Command,
}

/// A call with an instance of its own. If it is dropped before its end, because the task was
/// aborted, the call ends with the error `crashed`.
struct FreshCall {
    alone: InstanceTask,
    /// The call until it starts.
    queued: Option<QueuedCall>,
}

impl Drop for FreshCall {
    fn drop(&mut self) {
        let InstanceTask { running_calls, deployment, slot, .. } = &self.alone;
        if let Some(queued) = self.queued.take() {
            slot.end(queued, &CallError::Crashed(format!("{KILLED} before the call started")));
        }
        let generation = deployment.generation.short_digest();
        end_calls(running_calls, slot, generation, KILLED, RunningCalls::end_all_as_killed);
    }
}

impl InstanceTask {
    /// Runs the calls of the mailbox, each in an instance of its own.
    pub(super) async fn run_fresh(&self) -> End {
        self.activate();
        let limiter = self.turn_limiter();
        let turn = TurnTime { began: Mutex::new(Instant::now()), limit: self.services.engine.tick() / 2 };
        let mut calls = FuturesUnordered::new();
        let mut is_first = true;
        let work = poll_fn(|cx| {
            *turn.began.lock() = Instant::now();
            self.control.waker.register(cx.waker());
            loop {
                while let Poll::Ready(Some(())) = calls.poll_next_unpin(cx) {}
                let has_room = || !turn.is_over() && limiter.has_room();
                let next = self.poll_next_call(cx, has_room, calls.is_empty(), &mut is_first);
                let Some(queued) = ready!(next) else { return Poll::Ready(()) };
                limiter.count_call();
                calls.push(self.fresh_call(queued, &turn));
            }
        });
        limiter.run(work, |is_idle| self.control.turn_ended(is_idle)).await;
        End::Drained
    }

    fn fresh_call<'a>(&'a self, queued: QueuedCall, turn: &'a TurnTime) -> impl Future<Output = ()> + Send + 'a {
        // Each call has running calls and a control of its own, so that a crash ends only that
        // call.
        let alone = InstanceTask {
            id: self.id,
            slot: self.slot.clone(),
            deployment: self.deployment.clone(),
            services: self.services.clone(),
            running_calls: Arc::new(RunningCalls::new(self.slot.stats.clone(), self.deployment.failed.clone())),
            control: Arc::default(),
            startup_reason: self.startup_reason,
            activation: self.activation,
            _idle: IdleGuard(Arc::default()),
            _ended: CancellationToken::new().drop_guard(),
        };
        let nested = queued.nested;
        let mut call = FreshCall { alone, queued: Some(queued) };
        self.running_calls.occupy(nested);
        async move {
            turn.run(std::future::ready(())).await;
            if let Some(queued) = call.queued.take() {
                let lingers = || self.control.draining_for().is_some_and(|time| time >= self.services.linger);
                turn.run(pin!(call.alone.single(queued, lingers))).await;
            }
            self.running_calls.vacate(nested);
        }
    }

    /// Runs a call in a store of its own. `lingers` tells whether responses have streamed for too
    /// long after the module was replaced.
    async fn single(&self, queued: QueuedCall, lingers: impl Fn() -> bool) {
        let command = Command::of(&queued.call, &self.deployment.generation);
        let is_command = command.is_some();
        // Dropped after the store.
        let place = self.deployment.program.place(&self.services.engine);
        let mut store = match self.new_store(OneCall { command, place: place.as_ref() }) {
            Ok(store) => store,
            Err(error) => return self.slot.end(queued, &CallError::Overloaded(error.to_string())),
        };
        // Dropped before the store.
        let _cut = CutStreams(&self.running_calls);
        let grace = self.deployment.generation.limits.abandon_after;
        let run = async {
            // Inside this future, because a panic is caught here.
            let Some(Admitted { mut call, deadline, .. }) = self.admit(queued) else { return Ok(None) };
            let (id, exchange) = (call.context.id, call.exchange.take());
            let work = match exchange {
                Some(exchange) => Work::Exchange(exchange),
                None if is_command => Work::Command,
                None => match self.pass_middlewares(call, deadline).await {
                    Some(call) => Work::Route(Box::new(call)),
                    None => return Ok(None),
                },
            };
            let exports = self.deployment.program.instantiate(&mut store).await?;
            let outcome = store
                .run_concurrent(async |accessor| {
                    self.run_startup_handlers(accessor, &exports).await?;
                    let guest_call = match work {
                        Work::Route(call) => call,
                        Work::Exchange(exchange) => {
                            self.run_exchange(accessor, &exports, id, *exchange).await?;
                            self.streamed().await;
                            return Ok(None);
                        }
                        Work::Command => return guest_command::run(accessor, exports.command()?).await.map(Some),
                    };
                    let started = accessor.with(|access| exports.start(access, *guest_call))?;
                    exports.finish(accessor, started).await.map(Some)
                })
                .await
                .flatten();
            let outcome = outcome.or_else(|error| match guest_command::exited(&error) {
                Some(exited) if is_command => Ok(Some(exited)),
                _ => Err(error),
            });
            Ok(outcome?.map(|outcome| (id, outcome)))
        };
        let late = async {
            let mut idle_since = Instant::now();
            loop {
                tokio::time::sleep(WATCH).await;
                self.running_calls.expire();
                if self.running_calls.leaked(grace).total() > 0 {
                    return Ok(Err(Crash::Unresponsive.into()));
                }
                if self.running_calls.is_empty() && lingers() {
                    return Ok(Ok(None));
                }
                // A guest whose response has ended may do a little more.
                match self.running_calls.counts() {
                    (0, 0) if idle_since.elapsed() >= grace => return Ok(Ok(None)),
                    (0, 0) => {}
                    _ => idle_since = Instant::now(),
                }
            }
        };
        let ended = tokio::select! {
            ended = AssertUnwindSafe(run).catch_unwind() => ended,
            ended = late => ended,
        };
        let crash = match ended {
            Ok(Ok(None)) => return,
            Ok(Ok(Some((id, outcome)))) => return self.running_calls.end(id, self.limit_size(outcome)),
            Ok(Err(error)) => self.crash_from(&error, store.data()),
            Err(panic) => Crash::HostPanic(panic_text(&*panic).to_owned()),
        };
        self.running_calls.fail_streams();
        let handlers = self.end_running_calls(&crash.reason());
        let left = handlers.is_empty() && self.control.abandoned.load(Ordering::Acquire);
        if !left {
            self.deployment.note_end(&crash.reason());
            self.slot.stats.crashes.inc();
        }
        // A client may cause one crash per call, so limits.logRate bounds these lines.
        if !self.deployment.log.admits() {
            return;
        }
        if left {
            // Some languages know no other way to end than to panic when nobody reads.
            let (module, isolate, reason) = (&self.slot.module, self.slot.isolate, crash.reason());
            tracing::info!(%module, %isolate, "an instance ended with its client: {reason}");
        } else {
            self.log_crash("a fresh instance crashed", &handlers, &crash);
        }
    }

    /// Waits until the body of the response has ended.
    async fn streamed(&self) {
        self.control.finish();
        poll_fn(|cx| {
            self.control.waker.register(cx.waker());
            if self.running_calls.is_streaming() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
}
