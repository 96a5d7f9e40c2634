//! The supervisor of a slot: it starts the first instance and, whenever one ends, the next one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::adoption::Adoption;
use super::deployment::Deployment;
use super::error::End;
use super::instance::{Activation, Instance};
use super::program::Program;
use super::services::Services;
use super::slot::{Slot, SlotState};
use super::stop_hook::{StopReason, run_stop_hook};
use crate::call::{CallError, StartupReason};
use crate::config::IsolateConfig;
use crate::events::HostEvent;
use crate::ports::BoxFuture;

/// Keeps one instance running for a slot.
pub struct Supervisor {
    slot: Arc<Slot>,
    /// The deployment that new instances belong to. It no longer serves once a prepared instance of
    /// another deployment waits in `adoptions`.
    deployment: Arc<Deployment>,
    program: Arc<Program>,
    era: u64,
    services: Arc<Services>,
    adoptions: mpsc::Receiver<Adoption>,
    restarts: Restarts,
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
    /// Leaked calls made it unfit. It drains on its own, and its successor starts at once.
    Unfit,
    Stop,
}

impl Supervisor {
    pub fn new(
        slot: Arc<Slot>,
        program: Arc<Program>,
        services: Arc<Services>,
        adoptions: mpsc::Receiver<Adoption>,
    ) -> Supervisor {
        let restarts = Restarts::new(services.restart.clone());
        let deployment = Arc::clone(&slot.deployment());
        Supervisor { slot, deployment, program, era: 0, services, adoptions, restarts }
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
                    Event::Unfit => {
                        self.count_restart(running.control.why_unfit(), running.control.is_quiet());
                        instance = Some(self.spawn(StartupReason::Restart));
                        continue;
                    }
                    Event::Ended(end) => Some((end, running.control.is_quiet())),
                },
            };
            let delay = end.and_then(|(end, quiet)| self.ended(&end, quiet));
            let Some(next) = self.next_instance(delay).await else { return };
            instance = Some(next);
        }
    }

    fn spawn(&self, reason: StartupReason) -> Instance {
        let activation = Activation::Immediate { era: self.era };
        Instance::spawn(&self.slot.core, &self.deployment, &self.program, &self.services, reason, activation)
    }

    /// Watches an instance until the supervisor has to act. A swap may replace the instance
    /// meanwhile; the supervisor then watches the new one.
    async fn watch(&mut self, instance: &mut Instance) -> Event {
        let stop = self.slot.stop.clone();
        let mut renewal: Option<BoxFuture<Result<(), CallError>>> = None;
        // Why the instance is being replaced, and whether that raises no event.
        let mut unfit = ("", false);
        let mut stop_hook: Option<BoxFuture<()>> = None;
        let mut stopping = false;
        loop {
            let control = instance.control.clone();
            tokio::select! {
                biased;
                Some(adoption) = self.adoptions.recv() => {
                    let (next, told) = self.adopt(adoption);
                    let old = std::mem::replace(instance, next);
                    old.control.drain();
                    if stopping && stop_hook.is_none() {
                        instance.control.finish();
                    }
                    // The old instance drains even if the swap no longer waits for it.
                    let _ = told.send(Some(old));
                }
                end = instance.wait() => return if stopping { Event::Stop } else { Event::Ended(end) },
                () = control.ready.notified() => {
                    self.slot.set_serving(instance);
                    self.slot.set(SlotState::Ready);
                }
                () = control.unfit.notified(), if renewal.is_none() && !stopping => {
                    let (module, isolate) = (&self.slot.module, self.slot.isolate);
                    let why = instance.control.why_unfit();
                    tracing::warn!(%module, %isolate, "replacing an instance: {why}");
                    self.slot.note(&format!("replaced: {why}"));
                    unfit = (why, control.is_quiet());
                    renewal = Some(self.renew(instance.id));
                }
                renewed = async { match &mut renewal {
                    Some(renewal) => renewal.await,
                    None => std::future::pending().await,
                } } => {
                    renewal = None;
                    if let Err(error) = renewed {
                        tracing::warn!(
                            module = %self.slot.module, isolate = %self.slot.isolate,
                            "could not hand over the state of the replaced instance, so it is lost: {error}"
                        );
                        instance.control.drain();
                        if !stopping {
                            return Event::Unfit;
                        }
                    }
                    self.count_restart(unfit.0, unfit.1);
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    stop_hook = Some(Box::pin(run_stop_hook(self.slot.clone(), self.services.clone(), self.reason())));
                }
                () = async { match &mut stop_hook {
                    Some(hook) => hook.await,
                    None => std::future::pending().await,
                } } => {
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
        let Adoption { instance, deployment, program, era, old } = adoption;
        (self.deployment, self.program, self.era) = (deployment, program, era);
        self.restarts = Restarts::new(self.services.restart.clone());
        self.slot.set_serving(&instance);
        self.slot.set(SlotState::Ready);
        (instance, old)
    }

    /// Records an end and returns the delay before the next start, or `None` after too many ends.
    fn ended(&mut self, end: &End, quiet: bool) -> Option<Duration> {
        let why = end.to_string();
        let delay = self.restarts.next(Instant::now());
        match delay {
            Some(_) => {
                self.count_restart(&why, quiet);
                self.slot.set(SlotState::Restarting { why });
            }
            None => fail(&self.slot, why, self.era, &self.services),
        }
        delay
    }

    /// Counts a restart, and raises the event unless a hook was the cause.
    fn count_restart(&self, why: &str, quiet: bool) {
        self.slot.stats.restarts.inc();
        if quiet {
            return;
        }
        self.services.events.raise(HostEvent::InstanceRestarted {
            module: self.slot.module.as_ref().into(),
            isolate: self.slot.isolate.to_string(),
            reason: first_line(why),
        });
    }

    /// Waits until there is a next instance: the supervisor starts one after `delay`, or a swap
    /// hands one over. Without a delay only a swap can. `None` when the slot stops first.
    async fn next_instance(&mut self, delay: Option<Duration>) -> Option<Instance> {
        let stop = self.slot.stop.clone();
        let over = async {
            match delay {
                Some(delay) => tokio::time::sleep(delay).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // First, because the mailbox already belongs to an instance that waits here.
            biased;
            Some(adoption) = self.adoptions.recv() => {
                let (next, told) = self.adopt(adoption);
                // The swap may no longer wait.
                let _ = told.send(None);
                Some(next)
            }
            () = over => Some(self.spawn(StartupReason::Restart)),
            () = stop.cancelled() => None,
        }
    }
}

/// Marks the module as failed in this isolate: calls that wait end with an error, and the mailbox
/// accepts no more.
fn fail(slot: &Slot, why: String, era: u64, services: &Services) {
    let policy = &services.restart;
    tracing::error!(
        module = %slot.module, isolate = %slot.isolate,
        "failed: more than {} restarts (isolate.maxRestarts) within {:?} (isolate.restartWindow); last reason: {}",
        policy.max_restarts, policy.restart_window, first_line(&why)
    );
    let reason = first_line(&why);
    // In this order, so that a caller who finds the mailbox closed also finds the reason.
    slot.set(SlotState::Failed { why });
    if let Some(error) = slot.failed() {
        slot.close(era, &error);
    }
    let (module, isolate) = (slot.module.as_ref().into(), slot.isolate.to_string());
    services.events.raise(HostEvent::ModuleFailed { module, isolate, reason });
}

fn first_line(why: &str) -> String {
    why.lines().next().unwrap_or_default().to_owned()
}

/// The restart policy: the first restart is immediate, later ones back off, and after
/// `isolate.maxRestarts` within `isolate.restartWindow` there are no more.
struct Restarts {
    policy: IsolateConfig,
    recent: VecDeque<Instant>,
}

impl Restarts {
    fn new(policy: IsolateConfig) -> Restarts {
        Restarts { policy, recent: VecDeque::new() }
    }

    /// Returns the delay after an end at `now`, or `None` after too many.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        while self.recent.front().is_some_and(|at| now.duration_since(*at) > self.policy.restart_window) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let count = self.recent.len();
        if count > self.policy.max_restarts as usize {
            return None;
        }
        let doubled = u32::try_from(count.saturating_sub(2)).unwrap_or(u32::MAX).min(16);
        let delay = self.policy.restart_backoff.saturating_mul(1 << doubled);
        Some(if count == 1 { Duration::ZERO } else { delay.min(self.policy.restart_backoff_max) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restarts(max_restarts: u32) -> Restarts {
        Restarts::new(IsolateConfig {
            restart_backoff: Duration::from_millis(100),
            restart_backoff_max: Duration::from_millis(250),
            max_restarts,
            restart_window: Duration::from_secs(60),
            ..IsolateConfig::default()
        })
    }

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_back_off_to_the_maximum() {
        let mut restarts = restarts(10);
        let now = Instant::now();
        let delays: Vec<u128> = (0..5).map(|_| restarts.next(now).unwrap().as_millis()).collect();
        assert_eq!(delays, [0, 100, 200, 250, 250]);
    }

    #[test]
    fn more_restarts_than_the_window_allows_are_a_failure() {
        let mut restarts = restarts(2);
        let now = Instant::now();
        assert!(restarts.next(now).is_some() && restarts.next(now).is_some());
        assert_eq!(restarts.next(now), None);
    }

    #[test]
    fn restarts_outside_the_window_are_forgotten() {
        let mut restarts = restarts(1);
        let now = Instant::now();
        assert_eq!(restarts.next(now), Some(Duration::ZERO));
        assert_eq!(restarts.next(now + Duration::from_secs(61)), Some(Duration::ZERO));
    }
}
