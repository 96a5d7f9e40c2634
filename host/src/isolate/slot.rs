//! One module in one isolate: what dispatch sees of it, whichever instance serves just then.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::adoption::Adoption;
use super::deployment::Deployment;
use super::error::SnapshotError;
use super::instance::{Ask, Control, Instance};
use super::intake::Intake;
use super::mailbox::{Lane, Mailbox, Offer, Queued};
use super::program::Program;
use super::running::Running;
use super::stats::Stats;
use crate::call::{CallError, Context, IsolateId, Payload, Trace, TriggerKind};
use crate::config::Limits;
use crate::registry::Generation;

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

/// The instance that serves.
struct Serving {
    running: Arc<Running>,
    control: Arc<Control>,
}

pub struct Slot {
    pub(super) intake: Arc<Intake>,
    deployment: ArcSwap<Deployment>,
    /// The way to its supervisor, and the supervisor's end until that takes it.
    adopt: mpsc::Sender<Adoption>,
    adoptions: Mutex<Option<mpsc::Receiver<Adoption>>>,
    state: watch::Sender<SlotState>,
    /// Whether the state is `Ready`, to be read at every call.
    ready: AtomicBool,
    serving: ArcSwapOption<Serving>,
    /// Why the last instance ended.
    last_crash: Mutex<Option<String>>,
    /// Told when its module is let go, or the host stops.
    pub(super) stop: CancellationToken,
    /// Calls that dispatch has placed here since the start, to spread ties.
    placed: AtomicU64,
}

/// What instances need of a slot is part of it.
impl Deref for Slot {
    type Target = Intake;

    fn deref(&self) -> &Intake {
        &self.intake
    }
}

impl Slot {
    pub fn new(isolate: IsolateId, runtime: Handle, generation: Arc<Generation>, stop: CancellationToken) -> Slot {
        // One swap at a time.
        let (adopt, adoptions) = mpsc::channel(1);
        let stats = Arc::new(Stats::new(generation.module.clone(), isolate));
        Slot {
            intake: Arc::new(Intake {
                module: generation.module.as_ref().into(),
                isolate,
                mailbox: Mailbox::new(&generation.limits),
                stats: stats.clone(),
                runtime,
            }),
            adopt,
            adoptions: Mutex::new(Some(adoptions)),
            deployment: ArcSwap::from_pointee(Deployment::new(generation, isolate, &stats)),
            state: watch::Sender::new(SlotState::Starting),
            ready: AtomicBool::new(false),
            serving: ArcSwapOption::empty(),
            last_crash: Mutex::new(None),
            stop,
            placed: AtomicU64::new(0),
        }
    }

    /// The generation that serves now.
    pub fn deployment(&self) -> arc_swap::Guard<Arc<Deployment>> {
        self.deployment.load()
    }

    /// What its supervisor is to take over. `None` the second time.
    pub(super) fn adoptions(&self) -> Option<mpsc::Receiver<Adoption>> {
        self.adoptions.lock().take()
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
                late.into_iter().for_each(|queued| self.end(queued, &CallError::Timeout));
                self.offer(lane, *queued)
            }
            Offer::Closed(queued) => Err((self.failed().unwrap_or_else(|| self.gone()), queued)),
        }
    }

    /// The error of a call or broadcast that a limit of the mailbox keeps out.
    pub fn full(&self, limit: &str) -> CallError {
        let Limits { broadcasts, mailbox, queued, .. } = &self.deployment().generation.limits;
        let most = match limit {
            "limits.broadcasts" => format!("{broadcasts} broadcasts"),
            "limits.mailbox" => format!("{mailbox} calls"),
            _ => format!("calls of {queued} bytes"),
        };
        CallError::Overloaded(format!(
            "{most} wait for {} in {} already: {limit} allows no more",
            self.module, self.isolate
        ))
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
        let serving = self.serving.load();
        let Some(serving) = serving.as_ref().filter(|_| self.is_ready()) else { return false };
        let (plain, nested) = serving.running.counts();
        let generation = &self.deployment().generation;
        let limit = if generation.is_serial() { 1 } else { generation.limits.concurrency as usize };
        plain + nested < limit && self.mailbox.waiting().0 == 0
    }

    /// How many calls run and wait here.
    pub fn load(&self) -> usize {
        let running = self.serving.load().as_ref().map_or((0, 0), |serving| serving.running.counts());
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

    pub(super) fn set_serving(&self, instance: &Instance) {
        let Instance { running, control, .. } = instance;
        self.serving.store(Some(Arc::new(Serving { running: running.clone(), control: control.clone() })));
    }

    /// Lets another generation serve, whose instance is ready. `old` is told of the one that it follows.
    pub(super) fn switch(
        &self,
        deployment: Arc<Deployment>,
        program: Arc<Program>,
        instance: Instance,
        old: oneshot::Sender<Option<Instance>>,
    ) {
        self.deployment.store(deployment.clone());
        let era = self.mailbox.hand_over(instance.number, &deployment.generation.limits);
        instance.control.wake();
        let adoption = Adoption { instance, deployment, program, era, old };
        // There is one swap at a time, and the supervisor lives as long as the node.
        let _ = self.adopt.try_send(adoption);
    }

    /// Holds what comes from now on, but for what running calls wait for.
    pub fn hold(&self) {
        self.mailbox.hold();
    }

    /// Lets it go on in the instance that serves.
    pub fn release(&self) {
        self.mailbox.release();
    }

    /// Whether what may have started elsewhere has started here too, or cannot: then it waits for whatever serves next.
    pub fn is_past_mark(&self) -> bool {
        !self.is_ready() || self.mailbox.is_past_mark()
    }

    /// Whether a held slot has nothing left that may start, or that runs and that somebody waits for.
    pub fn is_quiet(&self) -> bool {
        self.serving.load().as_ref().is_none_or(|serving| serving.running.is_quiet()) && self.mailbox.is_quiet()
    }

    /// A call that runs in the instance that serves.
    pub fn context(&self, call: u64) -> Option<Arc<Context>> {
        self.serving.load().as_ref().and_then(|serving| serving.running.context(call))
    }

    /// How many calls run in the instance that serves.
    pub fn running(&self) -> usize {
        self.serving.load().as_ref().map_or(0, |serving| {
            let (plain, nested) = serving.running.counts();
            plain + nested
        })
    }

    /// The state of the instance that serves; `None` when none does.
    pub async fn save(&self) -> Option<Result<Payload, SnapshotError>> {
        let serving = self.serving.load_full().filter(|_| self.is_ready())?;
        let (saved, done) = oneshot::channel();
        serving.control.ask(Ask::Save(saved));
        done.await.unwrap_or(Err(SnapshotError::EndedSaving)).transpose()
    }

    /// Lets what runs and waits end, held or not, and nothing else begin.
    pub(super) fn retire(&self) {
        self.stop.cancel();
        self.release();
    }

    /// Waits until a slot that was let go has run out what it had.
    pub async fn retired(&self) {
        // The supervisor has the other end.
        self.adopt.closed().await;
    }

    /// Lets nothing in from now on, and answers what still waits.
    pub(super) fn close(&self, era: u64, error: &CallError) {
        for queued in self.mailbox.close(era) {
            self.end(queued, error);
        }
    }

    /// Waits until the first instance is ready or has failed once.
    pub async fn tried(&self) {
        // The sender lives as long as the slot, so there is no other error.
        let _ = self.state.subscribe().wait_for(|state| *state != SlotState::Starting).await;
    }
}
