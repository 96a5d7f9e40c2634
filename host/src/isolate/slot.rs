//! A module's place in one isolate. Dispatch sees the slot and not the instance that serves in it,
//! which restarts and swaps replace.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::adoption::Adoption;
use super::deployment::{Deployment, InstanceEnd};
use super::error::SnapshotError;
use super::instance::{Control, Instance, Killer, SnapshotRequest};
use super::kill::{KillRequest, KilledSlot, StartGate};
use super::mailbox::{Lane, Mailbox, Offer, QueuedCall};
use super::program::Program;
use super::running_calls::RunningCalls;
use super::slot_core::SlotCore;
use super::slot_state::SlotState;
use super::stats::Stats;
use crate::call::text::{already_waiting, first_line};
use crate::call::{CallError, Context, IsolateId, Payload, Trace, TriggerKind};
use crate::config::Limits;
use crate::registry::Generation;

/// The requests to the supervisor of a slot.
pub struct SupervisorRequests {
    pub adoptions: mpsc::Receiver<Adoption>,
    pub kills: mpsc::Receiver<KillRequest>,
}

/// The instance that serves.
struct Serving {
    running_calls: Arc<RunningCalls>,
    control: Arc<Control>,
}

pub struct Slot {
    pub(super) core: Arc<SlotCore>,
    deployment: ArcSwap<Deployment>,
    /// Hands prepared instances to the supervisor.
    adopt: mpsc::Sender<Adoption>,
    kill: mpsc::Sender<KillRequest>,
    /// The receivers, until the supervisor takes them.
    requests: Mutex<Option<SupervisorRequests>>,
    state: watch::Sender<SlotState>,
    /// Whether the state is `Ready`. An atomic, because every call reads it.
    ready: AtomicBool,
    serving: ArcSwapOption<Serving>,
    /// The instances that others have replaced, until they have ended.
    draining: Mutex<Vec<Killer>>,
    /// Cancelled when the module is removed or the host stops.
    pub(super) stop: CancellationToken,
    /// The number of calls that dispatch has placed here. It breaks ties between equal loads.
    placed: AtomicU64,
}

impl Deref for Slot {
    type Target = SlotCore;

    fn deref(&self) -> &SlotCore {
        &self.core
    }
}

impl Slot {
    pub fn new(isolate: IsolateId, runtime: Handle, program: Arc<Program>, stop: CancellationToken) -> Slot {
        let generation: &Generation = &program.generation;
        // One swap at a time, and one kill.
        let ((adopt, adoptions), (kill, kills)) = (mpsc::channel(1), mpsc::channel(1));
        let stats = Arc::new(Stats::new(generation.module.clone(), isolate));
        Slot {
            core: Arc::new(SlotCore {
                module: generation.module.as_ref().into(),
                isolate,
                mailbox: Mailbox::new(&generation.limits),
                stats: stats.clone(),
                runtime,
            }),
            adopt,
            kill,
            requests: Mutex::new(Some(SupervisorRequests { adoptions, kills })),
            deployment: ArcSwap::from_pointee(Deployment::new(program, isolate, &stats)),
            state: watch::Sender::new(SlotState::Starting),
            ready: AtomicBool::new(false),
            serving: ArcSwapOption::empty(),
            draining: Mutex::default(),
            stop,
            placed: AtomicU64::new(0),
        }
    }

    /// The deployment that serves now.
    pub fn deployment(&self) -> arc_swap::Guard<Arc<Deployment>> {
        self.deployment.load()
    }

    /// Takes the receivers of requests, for the supervisor. `None` the second time.
    pub(super) fn requests(&self) -> Option<SupervisorRequests> {
        self.requests.lock().take()
    }

    /// Puts a call into the mailbox. A full lane first drops the calls whose deadline has passed.
    /// The error returns the call.
    pub fn offer(&self, lane: Lane, queued: QueuedCall) -> Result<(), (CallError, Box<QueuedCall>)> {
        match self.mailbox.offer(lane, queued) {
            Offer::Accepted => {
                self.placed.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Offer::Full(limit, queued) => {
                let late = self.mailbox.take_late(lane);
                if late.is_empty() {
                    return Err((self.overloaded(limit), queued));
                }
                late.into_iter().for_each(|queued| self.end(queued, &self.timeout()));
                self.offer(lane, *queued)
            }
            Offer::Closed(queued) => Err((self.failed().unwrap_or_else(|| self.unavailable()), queued)),
        }
    }

    /// The error of a call or broadcast that a limit of the mailbox rejects.
    pub fn overloaded(&self, limit: &str) -> CallError {
        let Limits { broadcasts, mailbox, queued, .. } = &self.deployment().generation.limits;
        let most = match limit {
            "limits.broadcasts" => already_waiting(u64::from(*broadcasts), "broadcast"),
            "limits.mailbox" => already_waiting(u64::from(*mailbox), "call"),
            _ => format!("calls of {queued} bytes already wait"),
        };
        CallError::Overloaded(format!("{most} for {} in {}: {limit} allows no more", self.module, self.isolate))
    }

    /// Counts a call that dispatch rejected before it placed it.
    pub fn refused(&self, trigger: TriggerKind, error: &CallError, trace: Option<Trace>) {
        self.stats.refused(trigger, error, trace);
    }

    /// The error of every call to this slot, if the module has failed here.
    pub fn failed(&self) -> Option<CallError> {
        match &*self.state.borrow() {
            SlotState::Failed { why, .. } => Some(CallError::Unavailable(format!(
                "{} has failed in {}: {why}; reload the module to start it again",
                self.module,
                self.isolate,
                why = first_line(why)
            ))),
            _ => None,
        }
    }

    /// The error of a call whose deadline has passed.
    pub fn timeout(&self) -> CallError {
        let place = || format!("{} in {}", self.module, self.isolate);
        CallError::Timeout(self.state.borrow().restart(place).map(|(detail, _)| detail))
    }

    pub fn state(&self) -> SlotState {
        self.state.borrow().clone()
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether a call placed here now starts at once.
    pub fn is_free(&self) -> bool {
        let serving = self.serving.load();
        let Some(serving) = serving.as_ref().filter(|_| self.is_ready()) else { return false };
        let (plain, nested) = serving.running_calls.counts();
        let generation = &self.deployment().generation;
        let limit = if generation.is_serial() { 1 } else { generation.limits.concurrency as usize };
        plain + nested < limit && self.mailbox.waiting().0 == 0
    }

    /// The number of calls that run or wait here.
    pub fn load(&self) -> usize {
        let running = self.serving.load().as_ref().map_or((0, 0), |serving| serving.running_calls.counts());
        running.0 + running.1 + self.mailbox.waiting().0
    }

    pub fn placed(&self) -> u64 {
        self.placed.load(Ordering::Relaxed)
    }

    /// Why and when the last instance of the generation that serves ended or was replaced.
    pub fn last_end(&self) -> Option<InstanceEnd> {
        self.deployment().last_end()
    }

    pub(super) fn set(&self, state: SlotState) {
        if let Some(why) = state.why() {
            self.note(why);
        }
        self.ready.store(state == SlotState::Ready, Ordering::Release);
        self.state.send_replace(state);
    }

    /// Records why an instance ended or was replaced.
    pub(super) fn note(&self, why: &str) {
        self.deployment().note_end(why);
    }

    pub(super) fn set_serving(&self, instance: &Instance) {
        let Instance { running_calls, control, .. } = instance;
        let serving = Serving { running_calls: running_calls.clone(), control: control.clone() };
        self.serving.store(Some(Arc::new(serving)));
    }

    /// Switches to another deployment, whose instance is ready. `old` receives the instance that it
    /// replaces.
    pub(super) fn switch(
        &self,
        deployment: Arc<Deployment>,
        instance: Instance,
        old: oneshot::Sender<Option<Instance>>,
    ) {
        deployment.follow(&self.deployment());
        self.deployment.store(deployment.clone());
        if let Some(serving) = &*self.serving.load() {
            instance.control.follow(serving.control.clone());
        }
        let era = self.mailbox.hand_over(instance.id, &deployment.generation.limits);
        instance.control.wake();
        let adoption = Adoption { instance, deployment, era, old };
        // The channel has room, because only one swap of a module runs at a time, and the
        // supervisor lives as long as the node.
        let _ = self.adopt.try_send(adoption);
    }

    /// Holds calls that arrive from now on, except those that running calls wait for.
    pub fn hold(&self) {
        self.mailbox.hold();
    }

    /// Ends the hold. Held calls run in the instance that serves.
    pub fn release(&self) {
        self.mailbox.release();
    }

    /// Whether every broadcast before the mark, which other workers may have started, has started
    /// here too. Also true when no instance is ready: such broadcasts then wait for the next one.
    pub fn is_past_mark(&self) -> bool {
        !self.is_ready() || self.mailbox.is_past_mark()
    }

    /// Whether a held slot has quiesced: no call may start before the release, and no call runs
    /// that a caller waits for.
    pub fn has_quiesced(&self) -> bool {
        let serving = self.serving.load();
        serving.as_ref().is_none_or(|serving| serving.running_calls.has_quiesced()) && self.mailbox.has_quiesced()
    }

    /// The context of a call that runs in the instance that serves.
    pub fn context(&self, call: u64) -> Option<Arc<Context>> {
        self.serving.load().as_ref().and_then(|serving| serving.running_calls.context(call))
    }

    /// The number of calls that run in the instance that serves.
    pub fn running(&self) -> usize {
        self.serving.load().as_ref().map_or(0, |serving| {
            let (plain, nested) = serving.running_calls.counts();
            plain + nested
        })
    }

    /// Saves the state of the instance that serves. `None` when no instance is ready.
    pub async fn save(&self) -> Option<Result<Payload, SnapshotError>> {
        let serving = self.serving.load_full().filter(|_| self.is_ready())?;
        let (saved, done) = oneshot::channel();
        serving.control.request_snapshot(SnapshotRequest::Save(saved));
        done.await.unwrap_or(Err(SnapshotError::EndedSaving)).transpose()
    }

    /// Whether the module was removed from this isolate, or the host stops.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Retires the slot: calls that run or wait still finish, held or not, and then the supervisor
    /// stops.
    pub(super) fn retire(&self) {
        self.stop.cancel();
        self.release();
    }

    /// Changes when the state does.
    pub fn changes(&self) -> watch::Receiver<SlotState> {
        self.state.subscribe()
    }

    /// Waits until the slot is not ready.
    pub async fn until_not_ready(&self) {
        // `wait_for` fails only without a sender, and the slot owns it.
        let _ = self.changes().wait_for(|state| *state != SlotState::Ready).await;
    }

    /// Removes a call that waits in the lane `Calls`. False if it does not wait there.
    pub fn withdraw(&self, call: &Context) -> bool {
        self.mailbox.withdraw(Lane::Calls, call.id).is_some()
    }

    /// Waits until a slot whose module was removed has finished its calls.
    pub async fn retired(&self) {
        // The supervisor owns the receiver and drops it when it stops.
        self.adopt.closed().await;
    }

    /// Ends every instance at once, those that drain too, and starts the next one when the gate
    /// opens. Calls that run end with the error `crashed`, those that wait keep waiting. Resolves
    /// when the old instances have ended. `None` when the module was removed here, or the host
    /// stops.
    pub async fn kill(&self, gate: StartGate) -> Option<KilledSlot> {
        let (done, killed) = oneshot::channel();
        self.kill.send(KillRequest { done, gate }).await.ok()?;
        killed.await.ok()
    }

    /// The instances that others have replaced and that have not ended.
    pub fn draining(&self) -> Vec<Killer> {
        let mut draining = self.draining.lock();
        draining.retain(|instance| !instance.has_ended());
        draining.clone()
    }

    /// Lets an instance drain that another one replaces.
    pub(super) fn drain(&self, instance: &Instance) {
        instance.control.drain();
        let mut draining = self.draining.lock();
        draining.retain(|instance| !instance.has_ended());
        draining.push(instance.killer.clone());
    }

    /// Accepts calls again after the module has failed here.
    pub(super) fn reopen(&self, era: u64) {
        self.mailbox.reopen(era);
    }

    /// Closes the mailbox and ends the calls that wait with `error`.
    pub(super) fn close(&self, era: u64, error: &CallError) {
        for queued in self.mailbox.close(era) {
            self.end(queued, error);
        }
    }

    /// Waits until the first instance is ready or has failed once.
    pub async fn first_attempt(&self) {
        // `wait_for` fails only without a sender, and the slot owns it.
        let _ = self.changes().wait_for(|state| *state != SlotState::Starting).await;
    }
}
