//! `"isolation": "fresh"`: a store for each call.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::{FutureExt, poll_fn};
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;

use super::overdue::WATCH;
use super::{Crash, Drive, End};
use crate::call::{CallError, panic_text};
use crate::isolate::mailbox::Queued;
use crate::isolate::running::Running;

/// The turn that is under way. Each instance computes until the next tick, and in one turn all of
/// them together do not take many.
struct Turn {
    began: Mutex<Instant>,
    lasts: Duration,
}

impl Turn {
    /// Whether what has not run in it waits for the next one.
    fn is_over(&self) -> bool {
        self.began.lock().elapsed() >= self.lasts
    }
}

impl Drive {
    /// Runs the mailbox's calls, each in an instance of its own.
    pub(super) async fn fresh(&self) -> End {
        self.enter();
        let turns = self.turns();
        let turn = Turn { began: Mutex::new(Instant::now()), lasts: self.services.engine.tick() / 2 };
        let mut calls = FuturesUnordered::new();
        let work = poll_fn(|cx| {
            *turn.began.lock() = Instant::now();
            self.control.waker.register(cx.waker());
            loop {
                while let Poll::Ready(Some(())) = calls.poll_next_unpin(cx) {}
                if self.control.draining.load(Ordering::Acquire) {
                    return if calls.is_empty() { Poll::Ready(()) } else { Poll::Pending };
                }
                if !self.intake.mailbox.is_taker(self.number) {
                    return Poll::Pending;
                }
                if turn.is_over() || !turns.has_room() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                self.intake.mailbox.register(cx.waker());
                let Some(queued) = self.intake.mailbox.take(self.number, self.room()) else {
                    return if self.control.is_finished(calls.is_empty()) { Poll::Ready(()) } else { Poll::Pending };
                };
                turns.count();
                calls.push(self.fresh_call(queued, &turn));
            }
        });
        turns.run(work).await;
        End::Drained
    }

    fn fresh_call<'a>(&'a self, queued: Queued, turn: &'a Turn) -> impl Future<Output = ()> + Send + 'a {
        // Each call has a place of its own, so that a crash ends just that one.
        let alone = Drive {
            number: self.number,
            intake: self.intake.clone(),
            deployment: self.deployment.clone(),
            program: self.program.clone(),
            services: self.services.clone(),
            running: Arc::new(Running::new(self.intake.stats.clone(), self.deployment.failed.clone())),
            control: Arc::default(),
            reason: self.reason,
            entry: self.entry,
        };
        let nested = queued.nested;
        self.running.occupy(nested);
        async move {
            let mut single = pin!(alone.single(queued));
            poll_fn(|cx| {
                if turn.is_over() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                single.as_mut().poll(cx)
            })
            .await;
            self.running.vacate(nested);
        }
    }

    async fn single(&self, queued: Queued) {
        let mut store = match self.store() {
            Ok(store) => store,
            Err(error) => return self.intake.end(queued, &CallError::Overloaded(error.to_string())),
        };
        let grace = self.program.generation.limits.abandon_after;
        let run = async {
            // In here, where a panic is caught.
            let Some((id, record)) = self.begin(queued) else { return Ok(None) };
            let handler = self.program.instantiate(&mut store).await?;
            let outcome = store
                .run_concurrent(async |accessor| {
                    self.startups(accessor, &handler).await?;
                    let started = accessor.with(|access| handler.start(access, record))?;
                    handler.finish(accessor, started).await
                })
                .await??;
            Ok(Some((id, outcome)))
        };
        let late = async {
            while self.running.leaked(grace).total() == 0 {
                tokio::time::sleep(WATCH).await;
                self.running.expire();
            }
        };
        let ended = tokio::select! {
            ended = AssertUnwindSafe(run).catch_unwind() => ended,
            () = late => Ok(Err(Crash::Silent.into())),
        };
        let crash = match ended {
            Ok(Ok(None)) => return,
            Ok(Ok(Some((id, outcome)))) => return self.running.end(id, self.checked(outcome)),
            Ok(Err(error)) => self.crash(&error, store.data()),
            Err(panic) => Crash::HostPanic(panic_text(&*panic).to_owned()),
        };
        let generation = &self.program.generation;
        let short = generation.short_digest();
        let first = crash.reason();
        let handlers = self.running.crash(|handler| {
            format!("{} ({short}) ended in {} while `{handler}` ran: {first}", generation.module, self.intake.isolate)
        });
        // Any client can make one crash, call by call: the module's rate of lines holds for it.
        if self.deployment.log.admits() {
            self.report("a fresh instance crashed", &handlers, &crash);
        }
    }
}
