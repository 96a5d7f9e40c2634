//! The counters of one module in one isolate. Each slot has its own, so that workers share no cache
//! line that they write per call.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::call::text::{NAME, escaped};
use crate::call::{Blame, CallError, Context, IsolateId, Trace, TriggerKind};

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The most bytes of an error's text in the log. A bound is needed because a guest may have
/// written the text.
const MESSAGE: usize = 1_024;

/// The number of outcome labels: `ok` and the code of every error.
pub const OUTCOMES: usize = 1 + CallError::CODES.len();

pub struct Stats {
    module: Arc<str>,
    isolate: IsolateId,
    triggers: [TriggerStats; TriggerKind::ALL.len()],
    faults: [Counter; Blame::ALL.len()],
    pub in_flight: Gauge,
    /// The responses of `wasi:http` components whose bodies stream.
    pub streaming: Gauge,
    /// The bytes of the linear memories of all instances, those that drain too.
    pub memory: Gauge,
    pub leaked: Gauge,
    pub restarts: Counter,
    /// Instances that were replaced because of leaked calls.
    pub replaced_leaked: Counter,
    /// Instances that were replaced because of their memory.
    pub replaced_memory: Counter,
    /// See [`Stats::note_high_memory`].
    high_memory: AtomicBool,
    /// Crashes of instances that serve one call, which no restart follows.
    pub crashes: Counter,
    /// Instances that a kill replaced.
    pub kills: Counter,
    pub dropped_lines: Counter,
    /// Turns that ended because `isolate.turnCalls` calls had started in them.
    pub full_turns: Counter,
    /// Host events that waited for a hook and were dropped.
    pub dropped_events: Counter,
    /// For each fault, the second since `begun` in which the host last logged such an error.
    logged: [AtomicU64; Blame::ALL.len()],
    /// The same for errors of a client's kind that no client was told.
    untold: AtomicU64,
    begun: Instant,
}

#[derive(Default)]
pub struct TriggerStats {
    outcomes: [Counter; OUTCOMES],
    duration: OnceLock<Histogram>,
}

impl Stats {
    pub fn new(module: Arc<str>, isolate: IsolateId) -> Stats {
        Stats {
            module,
            isolate,
            triggers: Default::default(),
            faults: Default::default(),
            in_flight: Gauge::default(),
            streaming: Gauge::default(),
            memory: Gauge::default(),
            leaked: Gauge::default(),
            restarts: Counter::default(),
            replaced_leaked: Counter::default(),
            replaced_memory: Counter::default(),
            high_memory: AtomicBool::new(false),
            crashes: Counter::default(),
            kills: Counter::default(),
            dropped_lines: Counter::default(),
            full_turns: Counter::default(),
            dropped_events: Counter::default(),
            logged: Default::default(),
            untold: AtomicU64::default(),
            begun: Instant::now(),
        }
    }

    /// Counts a call of a handler that has ended, with its outcome and its duration.
    pub fn ended(&self, trigger: TriggerKind, handler: &str, context: &Context, error: Option<&CallError>) {
        let stats = self.trigger(trigger);
        if let Some(counter) = stats.outcomes.get(error.map_or(0, |error| 1 + error.index())) {
            counter.inc();
        }
        stats.duration.get_or_init(|| Histogram::new(BUCKETS)).observe(context.made.elapsed().as_secs_f64());
        if let Some(error) = error {
            self.count_fault(trigger, Some(handler), error, Some(context.trace));
        }
    }

    /// Counts a call that the host refused to start.
    pub fn refused(&self, trigger: TriggerKind, error: &CallError, trace: Option<Trace>) {
        if let Some(counter) = self.trigger(trigger).outcomes.get(1 + error.index()) {
            counter.inc();
        }
        self.count_fault(trigger, None, error, trace);
    }

    /// Counts an error by its fault and logs it at the level of that fault, at most once a second.
    /// The call of an own trigger has no client that could be told.
    fn count_fault(&self, trigger: TriggerKind, handler: Option<&str>, error: &CallError, trace: Option<Trace>) {
        let fault = error.fault();
        let (Some(counter), Some(logged)) = (self.faults.get(fault as usize), self.logged.get(fault as usize)) else {
            return;
        };
        counter.inc();
        let of_client = matches!(
            trigger,
            TriggerKind::Client
                | TriggerKind::Filter
                | TriggerKind::Channel
                | TriggerKind::Middleware
                | TriggerKind::Route
        );
        if of_client && matches!(error, CallError::Failure(failure) if failure.is_silent()) {
            return;
        }
        // A client would have been told.
        let is_untold = trigger.is_own() && fault.level() == tracing::Level::DEBUG;
        let logged = if is_untold { &self.untold } else { logged };
        let second = self.begun.elapsed().as_secs() + 1;
        if logged.swap(second, Ordering::Relaxed) == second {
            return;
        }
        let (module, isolate, trigger, code, fault_name) =
            (&self.module, self.isolate, trigger.as_str(), error.code(), fault.as_str());
        let error = escaped([error.to_string().as_str()], MESSAGE);
        let place = handler.map(|handler| format!(" in `{}`", escaped([handler], NAME))).unwrap_or_default();
        let trace = trace.map(|trace| trace.to_string()).unwrap_or_default();
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(%module, %isolate, trigger, code, fault = fault_name, trace, "a call failed{place}: {error}")
            };
        }
        match fault.level() {
            tracing::Level::ERROR => event!(error),
            tracing::Level::WARN => event!(warn),
            _ if is_untold => event!(warn),
            _ => event!(debug),
        }
    }

    /// Records whether an instance needs almost all memory that it may have. Returns whether the
    /// previous one did not, so that the log says it once.
    pub fn note_high_memory(&self, is_high: bool) -> bool {
        !self.high_memory.swap(is_high, Ordering::Relaxed) && is_high
    }

    /// The counter of each fault that has occurred, with its label.
    pub fn faults(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        Blame::ALL.iter().map(|fault| fault.as_str()).zip(&self.faults).filter(|(_, counter)| counter.get() > 0)
    }

    /// The number of calls with this trigger that have ended or were refused.
    pub fn count(&self, trigger: TriggerKind) -> u64 {
        self.trigger(trigger).outcomes.iter().map(Counter::get).sum()
    }

    pub fn trigger(&self, trigger: TriggerKind) -> &TriggerStats {
        let [
            http,
            broadcast,
            rpc,
            startup,
            hook,
            stream,
            schedule,
            subscription,
            client,
            filter,
            channel,
            middleware,
            route,
        ] = &self.triggers;
        match trigger {
            TriggerKind::Http => http,
            TriggerKind::Broadcast => broadcast,
            TriggerKind::Rpc => rpc,
            TriggerKind::Startup => startup,
            TriggerKind::Hook => hook,
            TriggerKind::Stream => stream,
            TriggerKind::Schedule => schedule,
            TriggerKind::Subscription => subscription,
            TriggerKind::Client => client,
            TriggerKind::Filter => filter,
            TriggerKind::Channel => channel,
            TriggerKind::Middleware => middleware,
            TriggerKind::Route => route,
        }
    }
}

impl TriggerStats {
    /// The counter of each outcome that has occurred, with its label.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        let labels = std::iter::once("ok").chain(CallError::CODES);
        labels.zip(&self.outcomes).filter(|(_, counter)| counter.get() > 0)
    }

    pub fn duration(&self) -> Option<&Histogram> {
        self.duration.get()
    }
}
