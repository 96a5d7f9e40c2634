//! The calls that run in one instance. The table lives outside the store, so that every caller gets
//! an answer when the store fails.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, oneshot};

use super::stats::Stats;
use crate::call::{CallError, CallResult, Context, Outcome, Route, Trace, TriggerKind};

/// One call that has started and not ended.
struct RunningCall {
    context: Arc<Context>,
    trigger: TriggerKind,
    reply: Option<oneshot::Sender<CallResult>>,
    route: Arc<Route>,
    deadline: Instant,
    nested: bool,
    /// Whether the call has already counted as a failure, because its deadline passed.
    late: bool,
    /// Whether the call waits for its middlewares. How these end counts for their own generation.
    in_chain: bool,
}

impl RunningCall {
    /// Counts the call as a failure of its generation, unless that is not so.
    fn fail(&self, failures: &AtomicU64) {
        if !self.late && !self.in_chain {
            failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A fast hasher of call ids. It needs no protection against chosen keys, because the host assigns
/// the ids.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // Multiplies by the golden ratio (Knuth, The Art of Computer Programming, 6.4).
        self.0 = (self.0 ^ id).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// Whether a call counts as a failure of its generation: a crash, a timeout, or a status of 500 or
/// above.
fn is_failure(ended: &CallResult) -> bool {
    match ended {
        Ok(Outcome::Reply(reply)) => reply.effective_status() >= 500,
        Ok(Outcome::Pass(_)) => false,
        Err(CallError::Failure(failure)) => failure.effective_status() >= 500,
        Err(error) => matches!(error, CallError::Crashed(_) | CallError::Timeout(_)),
    }
}

/// The work that still runs in an instance although no caller waits for it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Leaked {
    /// Calls that occupy a place of `limits.concurrency`.
    pub plain: usize,
    /// Calls that occupy a place of `limits.nested`.
    pub nested: usize,
    /// Work that is not a call: see [`RunningCalls::abandon`].
    pub abandoned: usize,
}

impl Leaked {
    pub fn total(self) -> usize {
        self.plain + self.nested + self.abandoned
    }
}

/// Counts one piece of abandoned work until it is dropped.
pub struct AbandonedWork<'a>(&'a RunningCalls);

impl Drop for AbandonedWork<'_> {
    fn drop(&mut self) {
        self.0.abandoned.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The place of a call that has ended while the body of its response streams. Occupied until it is
/// dropped.
pub struct Streaming(Arc<RunningCalls>);

impl Streaming {
    /// Whether the store ended before the body.
    pub fn was_cut(&self) -> bool {
        self.0.cut.load(Ordering::Acquire)
    }

    /// Counts the body as a failure of the generation.
    pub fn fail(&self) {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.streaming.fetch_sub(1, Ordering::Relaxed);
        self.0.stats.streaming.dec();
    }
}

/// The calls of one instance that have started and not ended.
pub struct RunningCalls {
    calls: Mutex<HashMap<u64, RunningCall, BuildHasherDefault<IdHasher>>>,
    stats: Arc<Stats>,
    /// The failures of the deployment, which decide whether a canary is promoted.
    failures: Arc<AtomicU64>,
    nested: AtomicUsize,
    count: AtomicUsize,
    /// The part of the gauge of leaked calls that this instance contributes.
    leaked: AtomicI64,
    /// The pieces of work that run, are not calls, and that no caller waits for.
    abandoned: AtomicUsize,
    /// The responses whose bodies stream.
    streaming: AtomicUsize,
    /// Whether the store has ended, so that no body streams to its end.
    cut: AtomicBool,
    /// Notified when the first call starts.
    pub busy: Notify,
    /// Notified when the memory of the instance grows beyond its mark.
    pub crowded: Arc<Notify>,
}

impl RunningCalls {
    pub fn new(stats: Arc<Stats>, failures: Arc<AtomicU64>) -> RunningCalls {
        RunningCalls {
            calls: Mutex::default(),
            stats,
            failures,
            nested: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            leaked: AtomicI64::new(0),
            abandoned: AtomicUsize::new(0),
            streaming: AtomicUsize::new(0),
            cut: AtomicBool::new(false),
            busy: Notify::new(),
            crowded: Arc::default(),
        }
    }

    /// The gauge of the memory that all instances of the slot use.
    pub fn memory(&self) -> Gauge {
        self.stats.memory.clone()
    }

    /// Adds a call that starts at `now` and returns its deadline.
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
        let call = RunningCall { context, trigger, reply, route, deadline, nested, late: false, in_chain: false };
        self.calls.lock().insert(id, call);
        self.occupy(nested);
        self.stats.in_flight.inc();
        deadline
    }

    /// Counts one more running call. A call that runs in a fresh instance of its own counts here
    /// without an entry in the table.
    pub fn occupy(&self, nested: bool) {
        self.nested.fetch_add(usize::from(nested), Ordering::Relaxed);
        if self.count.fetch_add(1, Ordering::Relaxed) == 0 {
            self.busy.notify_one();
        }
    }

    /// The opposite of [`RunningCalls::occupy`].
    pub fn vacate(&self, nested: bool) {
        self.nested.fetch_sub(usize::from(nested), Ordering::Relaxed);
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Ends a call and sends the outcome to its caller.
    pub fn end(&self, id: u64, ended: CallResult) {
        if let Some(started) = self.calls.lock().remove(&id) {
            self.vacate(started.nested);
            self.settle(started, ended);
        }
    }

    /// Records whether a call waits for its middlewares.
    pub fn set_in_chain(&self, id: u64, in_chain: bool) {
        if let Some(started) = self.calls.lock().get_mut(&id) {
            started.in_chain = in_chain;
        }
    }

    /// Ends every call with the error `crashed`. Returns the names of the handlers that were
    /// running.
    pub fn end_all_as_crashed(&self, message: &dyn Fn(&str) -> String) -> Vec<String> {
        self.end_all(message, true)
    }

    /// Like [`RunningCalls::end_all_as_crashed`], for calls that the operator ends. They do not
    /// count as failures of the deployment.
    pub fn end_all_as_killed(&self, message: &dyn Fn(&str) -> String) -> Vec<String> {
        self.end_all(message, false)
    }

    fn end_all(&self, message: &dyn Fn(&str) -> String, counts: bool) -> Vec<String> {
        let calls = std::mem::take(&mut *self.calls.lock());
        self.nested.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
        self.show_leaked(0);
        let mut handlers = Vec::with_capacity(calls.len());
        for mut started in calls.into_values() {
            // A call counts as a failure at most once, so this keeps it from counting.
            started.late |= !counts;
            handlers.push(started.route.handler.as_ref().to_owned());
            let error = CallError::Crashed(message(&started.route.handler));
            self.settle(started, Err(error));
        }
        handlers.sort();
        handlers.dedup();
        handlers
    }

    fn settle(&self, started: RunningCall, ended: CallResult) {
        self.stats.in_flight.dec();
        let in_time = started.context.end();
        if in_time {
            self.stats.ended(started.trigger, &started.route.handler, &started.context, ended.as_ref().err());
        }
        if !in_time || is_failure(&ended) {
            started.fail(&self.failures);
        }
        if let Some(reply) = started.reply {
            // The caller may no longer wait, which is not an error.
            let _ = reply.send(ended);
        }
    }

    /// The context of a running call, for an import that acts for it.
    pub fn context(&self, id: u64) -> Option<Arc<Context>> {
        self.calls.lock().get(&id).map(|started| started.context.clone())
    }

    /// The trace of the running call, when exactly one runs.
    pub fn only_trace(&self) -> Option<Trace> {
        let calls = self.calls.lock();
        let mut all = calls.values();
        let first = all.next()?;
        all.next().is_none().then_some(first.context.trace)
    }

    /// Whether a call runs that is, or descends from, a hook whose failure raises no event.
    pub fn runs_quiet_hook(&self) -> bool {
        self.calls.lock().values().any(|started| started.context.in_quiet_hook)
    }

    /// The number of running calls without the nested ones, and the number of nested ones. A call
    /// whose response streams counts among the former.
    pub fn counts(&self) -> (usize, usize) {
        let nested = self.nested.load(Ordering::Relaxed);
        let plain = self.count.load(Ordering::Relaxed).saturating_sub(nested);
        (plain + self.streaming.load(Ordering::Relaxed), nested)
    }

    /// Counts a response whose body streams, until the guard is dropped.
    pub fn stream(this: &Arc<RunningCalls>) -> Streaming {
        this.streaming.fetch_add(1, Ordering::Relaxed);
        this.stats.streaming.inc();
        // The watch may have to cut it.
        this.busy.notify_one();
        Streaming(this.clone())
    }

    pub fn is_streaming(&self) -> bool {
        self.streaming.load(Ordering::Relaxed) > 0
    }

    /// Counts each body that a crash has aborted as a failure of the generation.
    pub fn fail_streams(&self) {
        self.failures.fetch_add(self.streaming.load(Ordering::Relaxed) as u64, Ordering::Relaxed);
    }

    /// Aborts the bodies that stream. Called before the store is dropped.
    pub fn cut_streams(&self) {
        self.cut.store(true, Ordering::Release);
    }

    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Whether no call runs except leaked ones, which no caller waits for.
    pub fn has_quiesced(&self) -> bool {
        let leaked = self.leaked.load(Ordering::Relaxed) - self.abandoned.load(Ordering::Relaxed) as i64;
        self.count.load(Ordering::Relaxed) as i64 <= leaked
    }

    /// Counts work that is not a call, and that no caller waits for any more, as leaked.
    pub fn abandon(&self) -> AbandonedWork<'_> {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
        self.busy.notify_one();
        AbandonedWork(self)
    }

    /// Whether nothing runs that the watch has to look at.
    pub fn is_idle(&self) -> bool {
        self.is_empty() && self.abandoned.load(Ordering::Relaxed) == 0 && !self.is_streaming()
    }

    /// Counts abandoned work and the calls that still run `grace` after their deadline, and sets
    /// the gauge of leaked calls.
    pub fn leaked(&self, grace: Duration) -> Leaked {
        let now = Instant::now();
        let mut leaked = Leaked { abandoned: self.abandoned.load(Ordering::Relaxed), ..Leaked::default() };
        for started in self.calls.lock().values().filter(|started| started.deadline + grace <= now) {
            match started.nested {
                true => leaked.nested += 1,
                false => leaked.plain += 1,
            }
        }
        self.show_leaked(leaked.total());
        leaked
    }

    /// Updates this instance's part of the gauge. The gauge is the sum over the instances of a
    /// slot, because a replaced one may still be draining.
    fn show_leaked(&self, leaked: usize) {
        let leaked = i64::try_from(leaked).unwrap_or(i64::MAX);
        let shown = self.leaked.swap(leaked, Ordering::AcqRel);
        self.stats.leaked.inc_by(leaked - shown);
    }

    /// Ends calls past their deadline with a timeout. Dispatch does this for most calls; this
    /// covers broadcasts and calls without a waiting caller.
    pub fn expire(&self) {
        let now = Instant::now();
        for started in self.calls.lock().values_mut().filter(|started| started.deadline <= now) {
            started.fail(&self.failures);
            started.late = true;
            if started.context.end() {
                self.stats.ended(
                    started.trigger,
                    &started.route.handler,
                    &started.context,
                    Some(&CallError::Timeout(None)),
                );
            }
            if let Some(reply) = started.reply.take() {
                let _ = reply.send(Err(CallError::Timeout(None)));
            }
        }
    }

    /// Whether a call runs whose deadline has not passed.
    pub fn awaited(&self) -> bool {
        let now = Instant::now();
        self.calls.lock().values().any(|started| started.deadline > now)
    }
}
