//! One module in one isolate: what dispatch sees of it, whichever instance serves just then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::logs::Log;
use super::mailbox::{Lane, Mailbox, Offer, Queued};
use super::running::Running;
use super::stats::Stats;
use crate::call::{CallError, IsolateId, Route, Trace, TriggerKind};
use crate::config::Limits;
use crate::registry::{Generation, Router};

/// Whether a module can take calls in an isolate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotState {
    /// Its first instance is being made. Calls wait.
    Starting,
    Ready,
    /// An instance has ended and the next one is on its way. Calls wait.
    Restarting {
        why: String,
    },
    /// It crashed too often: nothing runs here until a reload.
    Failed {
        why: String,
    },
}

impl SlotState {
    pub fn as_str(&self) -> &'static str {
        match self {
            SlotState::Starting => "starting",
            SlotState::Ready => "ready",
            SlotState::Restarting { .. } => "restarting",
            SlotState::Failed { .. } => "failed",
        }
    }

    /// Why it is not ready, where there is more to say.
    pub fn why(&self) -> Option<&str> {
        match self {
            SlotState::Restarting { why } | SlotState::Failed { why } => Some(why),
            SlotState::Starting | SlotState::Ready => None,
        }
    }
}

pub struct Slot {
    pub module: Arc<str>,
    pub isolate: IsolateId,
    pub mailbox: Mailbox,
    pub stats: Arc<Stats>,
    pub generation: Arc<Generation>,
    /// A copy of its own, so that workers share no line that is written per call.
    pub router: Router,
    routes: Vec<Arc<Route>>,
    /// One for all its instances, so that they share the rate.
    pub log: Log,
    state: watch::Sender<SlotState>,
    /// Whether the state is `Ready`, to be read at every call.
    ready: AtomicBool,
    running: ArcSwapOption<Running>,
    /// Why the last instance ended.
    last_crash: Mutex<Option<String>>,
    /// Calls that dispatch has placed here since the start, to spread ties.
    placed: AtomicU64,
}

impl Slot {
    pub fn new(isolate: IsolateId, generation: Arc<Generation>) -> Slot {
        let routes = generation.routes();
        let stats = Arc::new(Stats::new(generation.module.clone(), isolate));
        Slot {
            module: generation.module.as_ref().into(),
            isolate,
            mailbox: Mailbox::new(&generation.limits),
            log: log(&generation, isolate, &stats),
            stats,
            router: generation.router(&routes),
            routes,
            generation,
            state: watch::Sender::new(SlotState::Starting),
            ready: AtomicBool::new(false),
            running: ArcSwapOption::empty(),
            last_crash: Mutex::new(None),
            placed: AtomicU64::new(0),
        }
    }

    /// Puts a call into the mailbox, or says why not.
    pub fn offer(&self, lane: Lane, queued: Queued) -> Result<(), (CallError, Box<Queued>)> {
        match self.mailbox.offer(lane, queued) {
            Offer::Taken => {
                self.placed.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Offer::Full(limit, queued) => {
                let late = self.mailbox.take_late(lane);
                if late.is_empty() {
                    return Err((self.full(limit), queued));
                }
                late.into_iter().for_each(|queued| self.too_late(queued));
                self.offer(lane, *queued)
            }
            Offer::Closed(queued) => Err((self.failed().unwrap_or_else(|| self.gone()), queued)),
        }
    }

    /// The error of a call or broadcast that a limit of the mailbox keeps out.
    pub fn full(&self, limit: &str) -> CallError {
        let Limits { broadcasts, mailbox, queued, .. } = &self.generation.limits;
        let most = match limit {
            "limits.broadcasts" => format!("{broadcasts} broadcasts"),
            "limits.mailbox" => format!("{mailbox} calls"),
            _ => format!("payloads of {queued} bytes"),
        };
        CallError::Overloaded(format!(
            "{most} wait for {} in {} already: {limit} allows no more",
            self.module, self.isolate
        ))
    }

    /// Ends a call whose deadline has passed before it could start.
    pub(super) fn too_late(&self, queued: Queued) {
        let Queued { call, reply, .. } = queued;
        if call.context.end() {
            self.stats.ended(call.trigger.kind(), &call.context, Some(&CallError::Timeout));
        }
        if let Some(reply) = reply {
            // The caller may have left, which ends nothing.
            let _ = reply.send(Err(CallError::Timeout));
        }
    }

    fn gone(&self) -> CallError {
        CallError::Unavailable(format!("{} takes no calls in {} any more", self.module, self.isolate))
    }

    /// Counts a call that was refused before it was placed.
    pub fn refused(&self, trigger: TriggerKind, error: &CallError, trace: Option<Trace>) {
        self.stats.refused(trigger, error, trace);
    }

    /// Why nothing can be placed here, if so.
    pub fn failed(&self) -> Option<CallError> {
        match &*self.state.borrow() {
            SlotState::Failed { why } => Some(CallError::Unavailable(format!(
                "{} has failed in {}: {why}; it stays down until it is reloaded",
                self.module,
                self.isolate,
                why = why.lines().next().unwrap_or_default()
            ))),
            _ => None,
        }
    }

    pub fn state(&self) -> SlotState {
        self.state.borrow().clone()
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether a call placed here now would start at once.
    pub fn is_free(&self) -> bool {
        let running = self.running.load();
        let Some(running) = running.as_ref().filter(|_| self.is_ready()) else { return false };
        let (plain, nested) = running.counts();
        let limit = if self.generation.is_serial() { 1 } else { self.generation.limits.concurrency as usize };
        plain + nested < limit && self.mailbox.waiting().0 == 0
    }

    /// The route at an index of the manifest.
    pub fn route(&self, index: usize) -> Option<Arc<Route>> {
        self.routes.get(index).cloned()
    }

    /// How many calls run and wait here.
    pub fn load(&self) -> usize {
        let running = self.running.load().as_ref().map_or((0, 0), |running| running.counts());
        running.0 + running.1 + self.mailbox.waiting().0
    }

    pub fn placed(&self) -> u64 {
        self.placed.load(Ordering::Relaxed)
    }

    /// Why the last instance that crashed did, in one line.
    pub fn last_crash(&self) -> Option<String> {
        self.last_crash.lock().clone()
    }

    pub(super) fn set(&self, state: SlotState) {
        if let Some(why) = state.why() {
            self.note(why);
        }
        self.ready.store(state == SlotState::Ready, Ordering::Release);
        self.state.send_replace(state);
    }

    /// Why the last instance ended, or was replaced.
    pub(super) fn note(&self, why: &str) {
        *self.last_crash.lock() = why.lines().next().map(str::to_owned);
    }

    pub(super) fn set_running(&self, running: Arc<Running>) {
        self.running.store(Some(running));
    }

    /// Waits until the first instance is ready or has failed once.
    pub async fn tried(&self) {
        // The sender lives as long as the slot, so there is no other error.
        let _ = self.state.subscribe().wait_for(|state| *state != SlotState::Starting).await;
    }
}

/// The log of a generation's instances, with its limits.
pub(super) fn log(generation: &Generation, isolate: IsolateId, stats: &Stats) -> Log {
    let Limits { log_line, log_rate, .. } = generation.limits;
    let dropped = stats.dropped_lines.clone();
    Log::new(generation.module.clone(), generation.short_digest(), isolate, log_line, log_rate, dropped)
}
