//! The calls that run in one instance. Kept outside its store, so that they can be answered when the store is gone.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::stats::Stats;
use crate::call::{CallError, CallResult, Context, Outcome, Route, Trace, TriggerKind};

/// One call that has started.
struct Started {
    context: Arc<Context>,
    trigger: TriggerKind,
    reply: Option<oneshot::Sender<CallResult>>,
    route: Arc<Route>,
    deadline: Instant,
    nested: bool,
    /// Whether it has been counted as a failure, for being late.
    late: bool,
}

/// Spreads ids, which nobody outside chooses, over a map.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // By the golden ratio (Knuth, 6.4).
        self.0 = (self.0 ^ id).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// Whether a call's end speaks against the generation it ran in: a crash, a timeout, a status of 500 and above.
fn is_failure(ended: &CallResult) -> bool {
    match ended {
        Ok(Outcome::Reply(reply)) => reply.effective_status() >= 500,
        Ok(Outcome::Pass(_)) => false,
        Err(CallError::Failure(failure)) => failure.effective_status() >= 500,
        Err(error) => matches!(error, CallError::Crashed(_) | CallError::Timeout),
    }
}

/// What runs in an instance although nobody waits for it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Leaked {
    /// Calls that hold a place of `limits.concurrency`.
    pub plain: usize,
    /// Calls that hold a place of `limits.nested`.
    pub nested: usize,
    /// Work that holds no place of a call: see [`Running::give_up`].
    pub given_up: usize,
}

impl Leaked {
    pub fn total(self) -> usize {
        self.plain + self.nested + self.given_up
    }
}

/// Counts something that runs and nobody waits for, until it is dropped.
pub struct GivenUp<'a>(&'a Running);

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        self.0.given_up.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All calls that have started and not ended.
pub struct Running {
    calls: Mutex<HashMap<u64, Started, BuildHasherDefault<Spread>>>,
    stats: Arc<Stats>,
    /// Of the deployment, to judge it by.
    failures: Arc<AtomicU64>,
    nested: AtomicUsize,
    count: AtomicUsize,
    /// How many of these the gauge of leaked calls counts.
    leaked: AtomicI64,
    /// What else runs and nobody waits for.
    given_up: AtomicUsize,
    /// Told when the first call starts.
    pub busy: Notify,
}

impl Running {
    pub fn new(stats: Arc<Stats>, failures: Arc<AtomicU64>) -> Running {
        Running {
            calls: Mutex::default(),
            stats,
            failures,
            nested: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            leaked: AtomicI64::new(0),
            given_up: AtomicUsize::new(0),
            busy: Notify::new(),
        }
    }

    pub fn start(
        &self,
        context: Arc<Context>,
        now: Instant,
        trigger: TriggerKind,
        route: Arc<Route>,
        nested: bool,
        reply: Option<oneshot::Sender<CallResult>>,
    ) -> Instant {
        let deadline = context.start(now);
        let id = context.id;
        self.calls.lock().insert(id, Started { context, trigger, reply, route, deadline, nested, late: false });
        self.occupy(nested);
        self.stats.in_flight.inc();
        deadline
    }

    /// Counts a call that runs elsewhere, in an instance of its own.
    pub fn occupy(&self, nested: bool) {
        self.nested.fetch_add(usize::from(nested), Ordering::Relaxed);
        if self.count.fetch_add(1, Ordering::Relaxed) == 0 {
            self.busy.notify_one();
        }
    }

    /// The opposite of [`Running::occupy`].
    pub fn vacate(&self, nested: bool) {
        self.nested.fetch_sub(usize::from(nested), Ordering::Relaxed);
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends a call and tells its caller, if that still waits.
    pub fn end(&self, id: u64, ended: CallResult) {
        if let Some(started) = self.calls.lock().remove(&id) {
            self.vacate(started.nested);
            self.settle(started, ended);
        }
    }

    /// Ends every call as crashed: their store is gone. Answers the handlers that ran.
    pub fn crash(&self, message: impl Fn(&str) -> String) -> Vec<String> {
        let calls = std::mem::take(&mut *self.calls.lock());
        self.nested.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
        self.show_leaked(0);
        let mut handlers = Vec::with_capacity(calls.len());
        for started in calls.into_values() {
            handlers.push(started.route.handler.as_ref().to_owned());
            let error = CallError::Crashed(message(&started.route.handler));
            self.settle(started, Err(error));
        }
        handlers.sort();
        handlers.dedup();
        handlers
    }

    fn settle(&self, started: Started, ended: CallResult) {
        self.stats.in_flight.dec();
        let in_time = started.context.end();
        if in_time {
            self.stats.ended(started.trigger, &started.context, ended.as_ref().err());
        }
        if !started.late && (!in_time || is_failure(&ended)) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(reply) = started.reply {
            // The caller may have left, which ends nothing.
            let _ = reply.send(ended);
        }
    }

    /// The calls in whose name an import may act.
    pub fn context(&self, id: u64) -> Option<Arc<Context>> {
        self.calls.lock().get(&id).map(|started| started.context.clone())
    }

    /// The trace of the running call, when there is just one.
    pub fn only_trace(&self) -> Option<Trace> {
        let calls = self.calls.lock();
        let mut all = calls.values();
        let first = all.next()?;
        all.next().is_none().then_some(first.context.trace)
    }

    /// How many run, without the nested ones, and how many nested ones.
    pub fn counts(&self) -> (usize, usize) {
        let nested = self.nested.load(Ordering::Relaxed);
        (self.count.load(Ordering::Relaxed).saturating_sub(nested), nested)
    }

    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Whether whatever runs has leaked: nobody waits for it.
    pub fn is_quiet(&self) -> bool {
        let leaked = self.leaked.load(Ordering::Relaxed) - self.given_up.load(Ordering::Relaxed) as i64;
        self.count.load(Ordering::Relaxed) as i64 <= leaked
    }

    /// Counts something that is no call, and that nobody waits for any more, as leaked.
    pub fn give_up(&self) -> GivenUp<'_> {
        self.given_up.fetch_add(1, Ordering::Relaxed);
        self.busy.notify_one();
        GivenUp(self)
    }

    /// Whether nothing runs that has to be watched.
    pub fn is_idle(&self) -> bool {
        self.is_empty() && self.given_up.load(Ordering::Relaxed) == 0
    }

    /// Counts the calls that still run when `grace` has passed since their deadline, and what was
    /// given up. The gauge then shows the sum.
    pub fn leaked(&self, grace: Duration) -> Leaked {
        let now = Instant::now();
        let mut leaked = Leaked { given_up: self.given_up.load(Ordering::Relaxed), ..Leaked::default() };
        for started in self.calls.lock().values().filter(|started| started.deadline + grace <= now) {
            match started.nested {
                true => leaked.nested += 1,
                false => leaked.plain += 1,
            }
        }
        self.show_leaked(leaked.total());
        leaked
    }

    /// The gauge is the sum over the instances of a slot: a replaced one may still be ending.
    fn show_leaked(&self, leaked: usize) {
        let leaked = i64::try_from(leaked).unwrap_or(i64::MAX);
        let shown = self.leaked.swap(leaked, Ordering::AcqRel);
        self.stats.leaked.inc_by(leaked - shown);
    }

    /// Ends, for whoever waits, the calls whose deadline nobody else watches: broadcasts and calls without a waiting caller.
    pub fn expire(&self) {
        let now = Instant::now();
        for started in self.calls.lock().values_mut().filter(|started| started.deadline <= now) {
            if !std::mem::replace(&mut started.late, true) {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
            if started.context.end() {
                self.stats.ended(started.trigger, &started.context, Some(&CallError::Timeout));
            }
            if let Some(reply) = started.reply.take() {
                let _ = reply.send(Err(CallError::Timeout));
            }
        }
    }

    /// Whether some call is not past its deadline.
    pub fn awaited(&self) -> bool {
        let now = Instant::now();
        self.calls.lock().values().any(|started| started.deadline > now)
    }
}
