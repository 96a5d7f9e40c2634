//! The supervisor of a slot: it starts the first instance and, whenever one ends, the next one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::adoption::Adoption;
use super::deployment::Deployment;
use super::error::End;
use super::instance::{Activation, Instance};
use super::kill::{KillRequest, StartReport, kill_all};
use super::restarts::{Next, Restarts};
use super::services::Services;
use super::slot::{Slot, SupervisorRequests};
use super::slot_state::{SlotState, remedy};
use super::stop_hook::{StopReason, run_stop_hook};
use super::unfit::Unfit;
use crate::call::text::first_line;
use crate::call::{Blame, CallError, StartupReason};
use crate::config::IsolateConfig;
use crate::events::HostEvent;
use crate::ports::BoxFuture;

/// Keeps one instance running for a slot.
pub struct Supervisor {
    slot: Arc<Slot>,
    /// The deployment that new instances belong to. It no longer serves once a prepared instance of
    /// another deployment waits in `adoptions`.
    deployment: Arc<Deployment>,
    era: u64,
    services: Arc<Services>,
    requests: SupervisorRequests,
    restarts: Restarts,
    /// For the kill that waits for the next instance.
    start_report: Option<StartReport>,
}

/// Where the first instance comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstInstance {
    /// The supervisor starts it.
    Spawned,
    /// A swap has prepared it; the supervisor adopts it.
    Adopted,
}

/// Why the supervisor stops watching an instance.
enum Event {
    Ended(End),
    /// The operator kills the isolate.
    Killed(KillRequest),
    /// It is unfit, and its state is lost. It drains on its own, and its successor starts at once.
    Unfit(Unfit),
    Stop,
}

impl Supervisor {
    pub fn new(slot: Arc<Slot>, services: Arc<Services>, requests: SupervisorRequests) -> Supervisor {
        let restarts = Restarts::new(services.restart.clone());
        let deployment = Arc::clone(&slot.deployment());
        Supervisor { slot, deployment, era: 0, services, requests, restarts, start_report: None }
    }

    /// Runs until the host stops or the module is removed. Calls that run or wait then still
    /// finish.
    pub async fn run(mut self, first: FirstInstance) {
        self.supervise(first).await;
        if !self.services.stop.is_cancelled() {
            self.slot.close(self.era, &self.slot.unavailable());
        }
    }

    async fn supervise(&mut self, first: FirstInstance) {
        let mut instance = (first == FirstInstance::Spawned).then(|| self.spawn(StartupReason::Start));
        loop {
            let end = match &mut instance {
                None => None,
                Some(running) => match self.watch(running).await {
                    Event::Stop => return,
                    Event::Unfit(why) => {
                        self.count_replacement(why, running.control.is_quiet());
                        self.slot.drain(running);
                        instance = Some(self.spawn(StartupReason::Restart));
                        continue;
                    }
                    Event::Killed(request) => {
                        instance = Some(self.kill(Some(running), request).await);
                        continue;
                    }
                    Event::Ended(end) => {
                        self.report_start(Err(end.clone()));
                        Some((end, running.control.is_quiet()))
                    }
                },
            };
            let delay = end.and_then(|(end, quiet)| self.ended(&end, quiet));
            let Some(next) = self.next_instance(delay).await else { return };
            instance = Some(next);
        }
    }

    fn spawn(&self, reason: StartupReason) -> Instance {
        let activation = Activation::Immediate { era: self.era };
        Instance::spawn(&self.slot.core, &self.deployment, &self.services, reason, activation)
    }

    /// Watches an instance until the supervisor has to act. A swap may replace the instance
    /// meanwhile; the supervisor then watches the new one.
    async fn watch(&mut self, instance: &mut Instance) -> Event {
        let stop = self.slot.stop.clone();
        let mut renewal: Option<BoxFuture<Result<(), CallError>>> = None;
        // Why the instance is being replaced, and whether that raises no event.
        let mut unfit = None;
        let mut stop_hook: Option<BoxFuture<()>> = None;
        let mut stopping = false;
        loop {
            let control = instance.control.clone();
            tokio::select! {
                biased;
                Some(adoption) = self.requests.adoptions.recv() => {
                    let (next, told) = self.adopt(adoption);
                    let old = std::mem::replace(instance, next);
                    self.slot.drain(&old);
                    if stopping && stop_hook.is_none() {
                        instance.control.finish();
                    }
                    // The old instance drains even if the swap no longer waits for it.
                    let _ = told.send(Some(old));
                }
                Some(request) = self.requests.kills.recv(), if !stopping => return Event::Killed(request),
                end = instance.wait() => return if stopping { Event::Stop } else { Event::Ended(end) },
                () = control.ready.notified() => {
                    self.slot.set_serving(instance);
                    self.slot.set(SlotState::Ready);
                    self.report_start(Ok(()));
                }
                () = control.unfit.notified(), if renewal.is_none() && !stopping => {
                    let Some(why) = control.why_unfit() else { continue };
                    self.log_replacement(why);
                    unfit = Some((why, control.is_quiet()));
                    renewal = Some(self.renew(instance.id));
                }
                renewed = end_of(&mut renewal) => {
                    renewal = None;
                    let Some((why, quiet)) = unfit.take() else { continue };
                    let (module, isolate) = (&self.slot.module, self.slot.isolate);
                    match (renewed, why) {
                        (Ok(()), _) => self.count_replacement(why, quiet),
                        // Its memory has room for more calls. The next attempt follows when it
                        // has grown again.
                        (Err(error), Unfit::Memory) => tracing::warn!(
                            %module, %isolate, "could not replace the instance, so it keeps serving: {error}"
                        ),
                        (Err(error), Unfit::Leaked(_)) => {
                            tracing::warn!(
                                %module, %isolate,
                                "could not hand over the state of the replaced instance, so it is lost: {error}"
                            );
                            instance.control.drain();
                            if !stopping {
                                return Event::Unfit(why);
                            }
                        }
                    }
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    stop_hook = Some(Box::pin(run_stop_hook(self.slot.clone(), self.services.clone(), self.reason())));
                }
                () = end_of(&mut stop_hook) => {
                    stop_hook = None;
                    instance.control.finish();
                }
            }
        }
    }

    /// Why the slot stops.
    fn reason(&self) -> StopReason {
        if self.services.stop.is_cancelled() { StopReason::Shutdown } else { StopReason::Removed }
    }

    /// Replaces the instance by a swap in this isolate only, which hands the state over.
    fn renew(&self, instance: u64) -> BoxFuture<Result<(), CallError>> {
        self.services.ports.reloads.renew(&self.slot.module, self.slot.isolate, instance)
    }

    /// Adopts an instance that is ready and that the mailbox has appointed.
    fn adopt(&mut self, adoption: Adoption) -> (Instance, oneshot::Sender<Option<Instance>>) {
        let Adoption { instance, deployment, era, old } = adoption;
        (self.deployment, self.era) = (deployment, era);
        self.restarts = Restarts::new(self.services.restart.clone());
        self.slot.set_serving(&instance);
        self.slot.set(SlotState::Ready);
        self.report_start(Ok(()));
        (instance, old)
    }

    /// Ends all instances of the slot at once, and starts the next one whatever the restart policy
    /// says.
    async fn kill(&mut self, instance: Option<&Instance>, request: KillRequest) -> Instance {
        let mut instances = self.slot.draining();
        instances.extend(instance.map(|instance| instance.killer.clone()));
        let crashed = kill_all(&instances).await;
        self.restarts = Restarts::new(self.services.restart.clone());
        self.slot.stats.kills.inc();
        self.slot.set(SlotState::Restarting { why: "the isolate was killed".to_owned(), next: Instant::now() });
        self.slot.reopen(self.era);
        let (report, mut gate) = request.ended(crashed);
        self.start_report = Some(report);
        gate.opened().await;
        self.spawn(StartupReason::Restart)
    }

    /// Reports to the kill that waits for the next instance, if one does.
    fn report_start(&mut self, started: Result<(), End>) {
        if let Some(report) = self.start_report.take() {
            // The killer may no longer wait.
            let _ = report.send(started);
        }
    }

    /// Records an end and returns the delay before the next start, or `None` after too many ends.
    fn ended(&mut self, end: &End, quiet: bool) -> Option<Duration> {
        let why = end.to_string();
        let Services { master, restart, .. } = &*self.services;
        let now = Instant::now();
        let Next { delay, too_many } = self.restarts.next(now);
        let given_up = match master.crash_worker_on_error || end.fault() != Blame::Guest {
            true if !master.reboot_worker_on_crash => Some("because master.rebootWorkerOnCrash is false".to_owned()),
            true if too_many => Some(format!(
                "after {} restarts (isolate.maxRestarts) within {:?} (isolate.restartWindow)",
                restart.max_restarts, restart.restart_window
            )),
            _ => None,
        };
        if let Some(rule) = given_up {
            fail(&self.slot, rule, why, self.era, &self.services);
            return None;
        }
        self.log_restart(&why, delay);
        self.count_restart(&why, quiet);
        self.slot.set(SlotState::Restarting { why, next: now + delay });
        Some(delay)
    }

    /// Logs that the slot starts the next instance after `delay`, and how many ends the policy
    /// still allows.
    fn log_restart(&self, why: &str, delay: Duration) {
        let generation = self.deployment.generation.short_digest();
        let when = if delay.is_zero() { "at once".to_owned() } else { format!("in {delay:.1?}") };
        let IsolateConfig { max_restarts, restart_window, .. } = &self.services.restart;
        tracing::warn!(
            module = %self.slot.module, isolate = %self.slot.isolate, %generation,
            "restarts generation {generation} {when}, {} of at most {max_restarts} restarts within {restart_window:?}: {}",
            self.restarts.count(), first_line(why)
        );
    }

    /// Logs that an instance is being replaced. The replacement of one that hands its state over
    /// because of its memory is routine.
    fn log_replacement(&self, why: Unfit) {
        let (module, isolate) = (&self.slot.module, self.slot.isolate);
        let generation = &self.deployment.generation;
        match why {
            Unfit::Memory if generation.exports.snapshot => {
                tracing::info!(%module, %isolate, "replacing an instance: {why}, {} bytes", generation.limits.memory);
            }
            Unfit::Memory => tracing::warn!(
                %module, %isolate,
                "replacing an instance: {why}, {} bytes; its state is lost, because the module has no `snapshot`",
                generation.limits.memory
            ),
            Unfit::Leaked(_) => tracing::warn!(%module, %isolate, "replacing an instance: {why}"),
        }
    }

    /// Counts the replacement of an instance that served. After leaked calls it is also a restart.
    fn count_replacement(&self, why: Unfit, quiet: bool) {
        self.slot.note(&format!("replaced: {why}"));
        match why {
            Unfit::Leaked(why) => {
                self.slot.stats.replaced_leaked.inc();
                self.count_restart(why, quiet);
            }
            Unfit::Memory => {
                self.slot.stats.replaced_memory.inc();
                self.raise_restarted(&why.to_string(), quiet);
            }
        }
    }

    /// Counts a restart, and raises the event unless a hook was the cause.
    fn count_restart(&self, why: &str, quiet: bool) {
        self.slot.stats.restarts.inc();
        self.raise_restarted(why, quiet);
    }

    fn raise_restarted(&self, why: &str, quiet: bool) {
        if quiet {
            return;
        }
        self.services.events.raise(HostEvent::InstanceRestarted {
            module: self.slot.module.as_ref().into(),
            isolate: self.slot.isolate.to_string(),
            reason: first_line(why).to_owned(),
        });
    }

    /// Waits until there is a next instance: the supervisor starts one after `delay`, or a swap
    /// hands one over, or a kill demands it. Without a delay only the last two can. `None` when the
    /// slot stops first.
    async fn next_instance(&mut self, delay: Option<Duration>) -> Option<Instance> {
        let stop = self.slot.stop.clone();
        let mut over = delay.map(tokio::time::sleep).map(Box::pin);
        tokio::select! {
            // First, because the mailbox already belongs to an instance that waits here.
            biased;
            Some(adoption) = self.requests.adoptions.recv() => {
                let (next, told) = self.adopt(adoption);
                // The swap may no longer wait.
                let _ = told.send(None);
                Some(next)
            }
            Some(request) = self.requests.kills.recv() => Some(self.kill(None, request).await),
            () = end_of(&mut over) => Some(self.spawn(StartupReason::Restart)),
            () = stop.cancelled() => None,
        }
    }
}

/// Waits until the work ends, if there is some. Otherwise never returns.
async fn end_of<T>(work: &mut Option<impl Future<Output = T> + Unpin>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// Marks the module as failed in this isolate: calls that wait end with an error, and the mailbox
/// accepts no more.
fn fail(slot: &Slot, rule: String, why: String, era: u64, services: &Services) {
    tracing::error!(
        module = %slot.module, isolate = %slot.isolate,
        "{}; last reason: {}",
        remedy(&rule, &slot.module),
        first_line(&why)
    );
    let reason = first_line(&why).to_owned();
    // In this order, so that a caller who finds the mailbox closed also finds the reason.
    slot.set(SlotState::Failed { why, rule });
    if let Some(error) = slot.failed() {
        slot.close(era, &error);
    }
    let (module, isolate) = (slot.module.as_ref().into(), slot.isolate.to_string());
    services.events.raise(HostEvent::ModuleFailed { module, isolate, reason });
}
