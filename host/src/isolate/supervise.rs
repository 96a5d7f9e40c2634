//! Keeps a module running in an isolate: makes the first instance and, when one ends, the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::adoption::Adoption;
use super::deployment::Deployment;
use super::error::End;
use super::instance::{Entry, Instance};
use super::program::Program;
use super::services::Services;
use super::slot::{Slot, SlotState};
use crate::call::{CallError, StartupReason};
use crate::config::IsolateConfig;
use crate::ports::BoxFuture;

/// Keeps an instance behind a slot.
pub struct Supervisor {
    slot: Arc<Slot>,
    /// Of the generation whose instances it makes, which may not serve any more when another one waits in `adoptions`.
    deployment: Arc<Deployment>,
    program: Arc<Program>,
    era: u64,
    services: Arc<Services>,
    adoptions: mpsc::Receiver<Adoption>,
    restarts: Restarts,
}

/// Where the first instance comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// The supervisor makes it.
    Made,
    /// A swap has prepared it.
    Adopted,
}

/// What happens to an instance that runs.
enum Event {
    Ended(End),
    /// It drains on its own; its successor takes over at once.
    Worn,
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

    /// Runs until the host stops or the module is let go, then lets what runs and waits end.
    pub async fn run(mut self, first: First) {
        self.supervise(first).await;
        if !self.services.stop.is_cancelled() {
            self.slot.close(self.era, &self.slot.gone());
        }
    }

    async fn supervise(&mut self, first: First) {
        let mut instance = (first == First::Made).then(|| self.spawn(StartupReason::Start));
        loop {
            let end = match &mut instance {
                None => None,
                Some(running) => match self.watch(running).await {
                    Event::Stop => return,
                    Event::Worn => {
                        self.slot.stats.restarts.inc();
                        instance = Some(self.spawn(StartupReason::Restart));
                        continue;
                    }
                    Event::Ended(end) => Some(end),
                },
            };
            let delay = end.and_then(|end| self.ended(&end));
            let Some(next) = self.rest(delay).await else { return };
            instance = Some(next);
        }
    }

    fn spawn(&self, reason: StartupReason) -> Instance {
        let how = (reason, Entry::AtOnce { era: self.era });
        Instance::spawn(&self.slot.intake, &self.deployment, &self.program, &self.services, how)
    }

    /// Waits for what happens to an instance; another one may take its place meanwhile.
    async fn watch(&mut self, instance: &mut Instance) -> Event {
        let stop = self.slot.stop.clone();
        let mut renewal: Option<BoxFuture<Result<(), CallError>>> = None;
        let mut stopping = false;
        loop {
            let control = instance.control.clone();
            tokio::select! {
                biased;
                Some(adoption) = self.adoptions.recv() => {
                    let (next, told) = self.adopt(adoption);
                    let old = std::mem::replace(instance, next);
                    old.control.drain();
                    if stopping {
                        instance.control.finish();
                    }
                    // Whoever swaps may have left: it drains nevertheless.
                    let _ = told.send(Some(old));
                }
                end = instance.end() => return if stopping { Event::Stop } else { Event::Ended(end) },
                () = control.ready.notified() => {
                    self.slot.set_serving(instance);
                    self.slot.set(SlotState::Ready);
                }
                () = control.worn.notified(), if renewal.is_none() && !stopping => {
                    let (module, isolate) = (&self.slot.module, self.slot.isolate);
                    let why = instance.control.why_worn();
                    tracing::warn!(%module, %isolate, "replacing an instance: {why}");
                    self.slot.note(&format!("replaced: {why}"));
                    renewal = Some(self.renew(instance.number));
                }
                renewed = async { match &mut renewal {
                    Some(renewal) => renewal.await,
                    None => std::future::pending().await,
                } } => {
                    renewal = None;
                    if let Err(error) = renewed {
                        tracing::warn!(module = %self.slot.module, isolate = %self.slot.isolate, "its state is lost: {error}");
                        instance.control.drain();
                        if !stopping {
                            return Event::Worn;
                        }
                    }
                    self.slot.stats.restarts.inc();
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    instance.control.finish();
                }
            }
        }
    }

    /// A swap in this isolate only.
    fn renew(&self, instance: u64) -> BoxFuture<Result<(), CallError>> {
        self.services.ports.reloads.renew(&self.slot.module, self.slot.isolate, instance)
    }

    /// Takes over an instance that is ready and appointed.
    fn adopt(&mut self, adoption: Adoption) -> (Instance, oneshot::Sender<Option<Instance>>) {
        let Adoption { instance, deployment, program, era, old } = adoption;
        (self.deployment, self.program, self.era) = (deployment, program, era);
        self.restarts = Restarts::new(self.services.restart.clone());
        self.slot.set_serving(&instance);
        self.slot.set(SlotState::Ready);
        (instance, old)
    }

    /// Notes an end, and answers how long to wait; `None` when there were too many.
    fn ended(&mut self, end: &End) -> Option<Duration> {
        let why = end.to_string();
        let delay = self.restarts.next(Instant::now());
        match delay {
            Some(_) => {
                self.slot.stats.restarts.inc();
                self.slot.set(SlotState::Restarting { why });
            }
            None => fail(&self.slot, why, self.era, &self.services.restart),
        }
        delay
    }

    /// Waits for the next instance: after a delay, or for ever until one is brought. `None`: there is none before the stop.
    async fn rest(&mut self, delay: Option<Duration>) -> Option<Instance> {
        let stop = self.slot.stop.clone();
        let over = async {
            match delay {
                Some(delay) => tokio::time::sleep(delay).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The mailbox is that instance's already.
            biased;
            Some(adoption) = self.adoptions.recv() => {
                let (next, told) = self.adopt(adoption);
                // Whoever swaps may have left.
                let _ = told.send(None);
                Some(next)
            }
            () = over => Some(self.spawn(StartupReason::Restart)),
            () = stop.cancelled() => None,
        }
    }
}

/// Gives up: whatever waits is answered, and nothing more is let in.
fn fail(slot: &Slot, why: String, era: u64, policy: &IsolateConfig) {
    tracing::error!(
        module = %slot.module, isolate = %slot.isolate,
        "failed: more than {} restarts within {:?}; last: {}",
        policy.max_restarts, policy.restart_window, why.lines().next().unwrap_or_default()
    );
    // In this order: who finds the mailbox closed finds the reason.
    slot.set(SlotState::Failed { why });
    if let Some(error) = slot.failed() {
        slot.close(era, &error);
    }
}

/// When the next instance may start: at once, then later and later, and after too many not at all.
struct Restarts {
    policy: IsolateConfig,
    recent: VecDeque<Instant>,
}

impl Restarts {
    fn new(policy: IsolateConfig) -> Restarts {
        Restarts { policy, recent: VecDeque::new() }
    }

    /// How long to wait after an end at `now`; `None` when there were too many.
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
    fn more_restarts_than_allowed_within_the_window_are_a_failure() {
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
