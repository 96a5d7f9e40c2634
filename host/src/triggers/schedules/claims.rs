//! Due times that one node of the cluster runs.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::Schedules;
use super::claimed::Claimed;
use super::plan::{Due, Key, MOST_RUNS};
use crate::call::bounds;
use crate::call::text::{MESSAGE, line};
use crate::config::{Overlap, WhenAlone};
use crate::ports::{Claim, Tick};
use crate::registry::ScheduleKind;

impl Schedules {
    /// Starts what is due, unless another node runs it.
    pub(super) fn claim_and_start(self: &Arc<Self>, Due { key, due, immediate }: Due) {
        let Some(ticks) = self.ticks.clone() else { return self.start(key, due, None) };
        let schedule = self.state.lock().plan.entry(&key).map(|entry| {
            let schedule = &entry.schedule;
            (schedule.kind, schedule.overlap, schedule.when_alone)
        });
        let Some((ScheduleKind::Worker, overlap, when_alone)) = schedule else { return self.start(key, due, None) };
        if self.state.lock().plan.skips(&key) {
            return;
        }
        if !self.begin_claim(&key) {
            bounds::SCHEDULE_RUNS.count();
            return self.miss(&key, due, "NATS has not answered whether this node runs the earlier ones");
        }
        let (module, name, subdomain) = (key.module.clone(), key.name.clone(), key.subdomain.clone());
        let tick = Tick { module, name, subdomain, due, immediate, overlaps: overlap == Overlap::Allow };
        let claim = ticks.claim(tick.clone(), self.clock.wall());
        let schedules = self.clone();
        let claiming = async move {
            let claim = claim.await;
            schedules.end_claim(&key);
            match claim {
                Ok(Claim::Granted) => schedules.start(key, due, Some(tick)),
                Ok(Claim::Taken) => {}
                Ok(Claim::Overlaps) => schedules.state.lock().plan.skip(&key),
                Err(_) if when_alone == WhenAlone::Fire => schedules.start(key, due, None),
                Err(error) => schedules.miss(&key, due, &line(&error.to_string(), MESSAGE)),
            }
        };
        self.tasks.spawn_on(claiming, &self.runtime);
    }

    pub(super) fn claimed(&self, tick: Tick) -> Option<Claimed> {
        let ticks = self.ticks.clone()?;
        Some(Claimed::new(ticks, tick, self.tasks.clone(), self.runtime.clone()))
    }

    /// Returns whether few enough due times of the schedule are being claimed.
    fn begin_claim(&self, key: &Key) -> bool {
        let mut state = self.state.lock();
        let claiming = state.claiming.entry(key.clone()).or_default();
        let begins = *claiming < MOST_RUNS;
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
