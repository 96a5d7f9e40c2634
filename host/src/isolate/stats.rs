//! What is counted of one module in one isolate. Each has its own, so that workers share no line that is written per call.

use std::sync::OnceLock;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::call::{CallError, Context, TriggerKind};

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// How a call may end, as a label: `ok` and every error's code.
pub const OUTCOMES: usize = 1 + CallError::CODES.len();

pub struct Stats {
    triggers: [TriggerStats; TriggerKind::ALL.len()],
    pub in_flight: Gauge,
    pub leaked: Gauge,
    pub restarts: Counter,
    pub dropped_lines: Counter,
}

#[derive(Default)]
pub struct TriggerStats {
    outcomes: [Counter; OUTCOMES],
    duration: OnceLock<Histogram>,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            triggers: Default::default(),
            in_flight: Gauge::default(),
            leaked: Gauge::default(),
            restarts: Counter::default(),
            dropped_lines: Counter::default(),
        }
    }
}

impl Stats {
    /// Counts a call that has ended for its caller.
    pub fn ended(&self, trigger: TriggerKind, context: &Context, error: Option<&CallError>) {
        let stats = self.trigger(trigger);
        if let Some(counter) = stats.outcomes.get(error.map_or(0, |error| 1 + error.index())) {
            counter.inc();
        }
        stats.duration.get_or_init(|| Histogram::new(BUCKETS)).observe(context.made.elapsed().as_secs_f64());
    }

    /// Counts a call that was not started.
    pub fn refused(&self, trigger: TriggerKind, error: &CallError) {
        if let Some(counter) = self.trigger(trigger).outcomes.get(1 + error.index()) {
            counter.inc();
        }
    }

    pub fn trigger(&self, trigger: TriggerKind) -> &TriggerStats {
        let [http, broadcast, rpc, startup] = &self.triggers;
        match trigger {
            TriggerKind::Http => http,
            TriggerKind::Broadcast => broadcast,
            TriggerKind::Rpc => rpc,
            TriggerKind::Startup => startup,
        }
    }
}

impl TriggerStats {
    /// The counters that have counted, by the outcome's label.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        let labels = std::iter::once("ok").chain(CallError::CODES);
        labels.zip(&self.outcomes).filter(|(_, counter)| counter.get() > 0)
    }

    pub fn duration(&self) -> Option<&Histogram> {
        self.duration.get()
    }
}
