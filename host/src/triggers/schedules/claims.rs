//! Due times that one node of the cluster runs, or that a later start of this one knows of.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::Schedules;
use super::claimed::Claimed;
use super::plan::{Due, Key, MOST_RUNS, WorkerState};
use crate::call::bounds;
use crate::call::text::{MESSAGE, line};
use crate::config::{Overlap, WhenAlone};
use crate::ports::{Claim, Tick, Ticks};
use crate::registry::ScheduleKind;

impl Schedules {
    /// Starts what is due, unless another node runs it.
    pub(super) fn claim_and_start(self: &Arc<Self>, due: Due) {
        let schedule = self.state.lock().plan.entry(&due.key).map(|entry| {
            let schedule = &entry.schedule;
            (schedule.kind, schedule.overlap, schedule.when_alone)
        });
        let making = self.state.lock().plan.making(&due.key, due.is_check);
        let ticks = match (&self.ticks.nodes, &making) {
            (Some(nodes), _) => nodes.clone(),
            (None, Some(_)) => self.ticks.memory.clone(),
            (None, None) => return self.start(due.key, due.due, None),
        };
        let Some((ScheduleKind::Worker, overlap, when_alone)) = schedule else {
            return self.start(due.key, due.due, None);
        };
        if self.state.lock().plan.skips(&due.key) {
            return;
        }
        if making.is_some() && !self.can_run(&due.key) {
            // Another node may.
            return self.ask(&due.key);
        }
        if !self.begin_claim(&due.key, if making.is_some() { 1 } else { MOST_RUNS }) {
            if making.is_some() {
                return self.ask(&due.key);
            }
            bounds::SCHEDULE_RUNS.count();
            return self.miss(&due.key, due.due, "NATS has not answered whether this node runs the earlier ones");
        }
        let Key { module, name, subdomain } = due.key.clone();
        let (overlaps, immediate) = (overlap == Overlap::Allow, due.immediate);
        let tick = Tick { module, name, subdomain, due: due.due, immediate, overlaps, making };
        let claim = ticks.claim(tick.clone(), self.clock.wall());
        let schedules = self.clone();
        let claiming = async move {
            let claim = claim.await;
            schedules.end_claim(&due.key);
            schedules.claimed(ticks, due, tick, claim, when_alone);
        };
        self.tasks.spawn_on(claiming, &self.runtime);
    }

    /// Acts on the answer to a claim.
    fn claimed(
        self: &Arc<Self>,
        ticks: Arc<dyn Ticks>,
        due: Due,
        tick: Tick,
        claim: Result<Claim, crate::call::CallError>,
        when_alone: WhenAlone,
    ) {
        let now = self.clock.wall();
        let Due { key, due: time, .. } = &due;
        if claim.is_ok() {
            self.state.lock().plan.answered(key);
        }
        match claim {
            Ok(Claim::Granted { after }) => {
                let missed = self.state.lock().plan.granted(&due, after, now);
                let claimed = Claimed::new(self.clone(), ticks, key.clone(), tick, missed);
                self.start(due.key, due.due, Some(claimed));
            }
            Ok(Claim::Taken { runs }) => self.state.lock().plan.ask(key, runs, now),
            Ok(Claim::Overlaps) => {
                let mut state = self.state.lock();
                state.plan.skip(key);
                state.plan.ask(key, true, now);
            }
            Err(_) if when_alone == WhenAlone::Fire => self.start(due.key, due.due, None),
            Err(error) if tick.making.is_some() => {
                self.ask(key);
                if !due.is_check {
                    let why = line(&error.to_string(), MESSAGE);
                    self.log_missed(key, *time, &format!("{why}; the schedule makes up for it later"));
                }
            }
            Err(error) => self.miss(key, *time, &line(&error.to_string(), MESSAGE)),
        }
    }

    /// Asks later whether a run is owed, if the schedule makes up for missed due times.
    pub(super) fn ask(&self, key: &Key) {
        self.state.lock().plan.ask(key, true, self.clock.wall());
    }

    /// Whether a worker of this node will be able to run a schedule.
    fn can_run(&self, key: &Key) -> bool {
        let can_run = |state: &WorkerState| state.ready || !state.failed;
        self.backend.workers(&key.module, &key.name).iter().any(can_run)
    }

    /// Returns whether few enough due times of the schedule are being claimed.
    fn begin_claim(&self, key: &Key, most: u32) -> bool {
        let mut state = self.state.lock();
        let claiming = state.claiming.entry(key.clone()).or_default();
        let begins = *claiming < most;
        *claiming += u32::from(begins);
        begins
    }

    fn end_claim(&self, key: &Key) {
        if let Entry::Occupied(mut claiming) = self.state.lock().claiming.entry(key.clone()) {
            *claiming.get_mut() -= 1;
            if *claiming.get() == 0 {
                claiming.remove();
            }
        }
    }

    fn miss(&self, key: &Key, due: u64, why: &str) {
        self.state.lock().plan.miss(key);
        self.log_missed(key, due, why);
    }

    pub(super) fn log_missed(&self, key: &Key, due: u64, why: &str) {
        if self.quota.allows_one() {
            tracing::warn!(
                module = %key.module, schedule = %key.name, subdomain = key.subdomain.as_deref(), due,
                "a run was missed: {why}"
            );
        }
    }
}
