//! Decides which schedules are due. It knows the time only as a number.
//!
//! Due times are numbers on the wall clock: the multiples of an interval, and the times of a cron
//! expression. They do not depend on when the host or the module started. For each schedule the
//! plan keeps the last due time that it has handled. This number never decreases, so that no run is
//! repeated when the clock is set back; except by more than an hour, because a clock that was wrong
//! by years must not stop a schedule for years. If several due times have passed, the plan runs the
//! newest one if it is recent, and counts the others as missed.
//!
//! The plan counts the runs of each schedule that wait or run: in all workers together for the type
//! `worker`, in each worker for `all`. A run by hand does not count, because it must not make the
//! plan skip a run that is due.

mod entry;
mod facts;
mod owed;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::call::Making;
#[cfg(any(test, fuzzing))]
use crate::config::{Overlap, WhenAlone};
use crate::registry::{Durable, Schedule, ScheduleKind};
pub use entry::Entry;
use entry::Taken;
use facts::choose;
pub use facts::{Due, Key, MOST_RUNS, WorkerState};
#[cfg(any(test, fuzzing))]
pub use facts::{GRACE, MOST_BACK};

/// The schedules of an installed module.
#[derive(Debug, Clone)]
pub struct InstalledSchedules {
    pub module: Arc<str>,
    pub schedules: Arc<[Schedule]>,
}

/// A run that was assigned to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    pub entry: u64,
    pub worker: u32,
}

/// All schedules of the node.
#[derive(Default)]
pub struct Plan {
    entries: BTreeMap<Key, Entry>,
    created: u64,
}

impl Plan {
    /// Takes over the schedules of the installed modules. A schedule whose times have not changed
    /// keeps its next due time.
    pub fn sync(&mut self, installed: &[InstalledSchedules], now: u64) {
        let mut kept = BTreeMap::new();
        for InstalledSchedules { module, schedules } in installed {
            for schedule in schedules.iter() {
                let (name, subdomain) = (schedule.name.clone(), schedule.subdomain.clone());
                let key = Key { module: module.clone(), name, subdomain };
                let entry = match self.entries.remove(&key) {
                    Some(entry) => entry.with(schedule.clone(), now),
                    None => {
                        self.created += 1;
                        Entry::new(self.created, schedule.clone(), now)
                    }
                };
                kept.insert(key, entry);
            }
        }
        self.entries = kept;
    }

    /// Returns what is due, and counts the due times that were missed. Handles at most `most`
    /// schedules, and says whether there may be more.
    pub fn take_due(&mut self, now: u64, most: usize) -> (Vec<Due>, bool) {
        let mut due = Vec::new();
        let mut handled = 0;
        for (key, entry) in &mut self.entries {
            let (time, immediate, is_check) = match entry.take_due(now) {
                Taken::Nothing => continue,
                Taken::Missed => (None, false, false),
                Taken::Run(time) => (Some(time), false, false),
                Taken::Begin(time) => (Some(time), true, false),
                Taken::Check(time) => (Some(time), false, true),
            };
            due.extend(time.map(|due| Due { key: key.clone(), due, immediate, is_check }));
            handled += 1;
            if handled == most {
                return (due, true);
            }
        }
        (due, false)
    }

    /// The next time at which a schedule is due, or has to ask whether a run is owed.
    pub fn next(&self) -> Option<u64> {
        self.entries.values().filter_map(Entry::wakes).min()
    }

    /// Whether a schedule may be due again although none has a next due time: the clock may be
    /// wrong, and past an end date.
    pub fn may_be_due(&self) -> bool {
        self.entries.values().any(Entry::may_be_due)
    }

    /// How the runs of a schedule run again after a failure, if missed ones are made up for.
    pub fn durable(&self, key: &Key) -> Option<Durable> {
        self.entries.get(key)?.schedule.durable
    }

    /// What this node knows about a schedule that makes up for missed due times.
    pub fn making(&self, key: &Key, is_check: bool) -> Option<Making> {
        self.entries.get(key)?.making(is_check)
    }

    /// Asks later whether a run of a schedule is owed, if `is_open`.
    pub fn ask(&mut self, key: &Key, is_open: bool, now: u64) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.ask(is_open, now);
        }
    }

    /// The nodes have answered a claim, so they know that nothing is owed from before.
    pub fn answered(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.answered();
        }
    }

    /// This node runs a due time, and what was due after `after` has had no run. Returns how many
    /// due times the run makes up for.
    pub fn granted(&self, due: &Due, after: u64, now: u64) -> u64 {
        self.entries.get(&due.key).map_or(0, |entry| entry.granted(due, after, now))
    }

    /// A run has ended that makes up for all due times until now, `missed` of them.
    /// Returns the last one.
    pub fn settle(&mut self, key: &Key, due: u64, missed: u64) -> Option<u64> {
        Some(self.entries.get_mut(key)?.settle(due, missed))
    }

    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The entry of this number.
    pub fn numbered(&mut self, key: &Key, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(key).filter(|entry| entry.number == number)
    }

    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// Whether a due run is skipped whatever the workers are. Counts it then.
    pub fn skips(&mut self, key: &Key) -> bool {
        let Some(entry) = self.entries.get_mut(key) else { return false };
        let skips = entry.schedule.kind == ScheduleKind::Worker && entry.is_full(None);
        entry.counts.skipped += u64::from(skips);
        skips
    }

    /// Counts a run that is skipped because an earlier one has not ended on another node.
    pub fn skip(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.counts.skipped += 1;
        }
    }

    /// Counts a run that is missed.
    pub fn miss(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.counts.missed += 1;
        }
    }

    /// Assigns a due run to workers, and counts it as running there. Skips workers where too many
    /// earlier runs have not ended. `None` if no worker has the schedule: the run is missed.
    pub fn assign(&mut self, key: &Key, workers: &[WorkerState]) -> Option<Vec<Assigned>> {
        let entry = self.entries.get_mut(key)?;
        if workers.is_empty() {
            entry.counts.missed += u64::from(entry.schedule.durable.is_none());
            return None;
        }
        let workers = match entry.schedule.kind {
            ScheduleKind::All => workers.iter().map(|state| state.worker).collect(),
            ScheduleKind::Worker => entry.choose(workers).into_iter().collect::<Vec<_>>(),
        };
        let mut assigned = Vec::new();
        for worker in workers {
            if entry.schedule.kind == ScheduleKind::All && entry.is_full(Some(worker)) {
                entry.counts.skipped += 1;
                continue;
            }
            *entry.running.entry(worker).or_default() += 1;
            assigned.push(Assigned { entry: entry.number, worker });
        }
        Some(assigned)
    }

    /// Chooses another worker for a run that a worker has returned. `counts` says whether it counts
    /// as running. `None` if no worker has the schedule any more.
    pub fn reassign(&mut self, key: &Key, run: &mut Assigned, workers: &[WorkerState], counts: bool) -> Option<u32> {
        let worker = choose(workers, run.worker.saturating_add(1))?;
        if counts {
            self.ended(key, run);
            if let Some(entry) = self.numbered(key, run.entry) {
                *entry.running.entry(worker).or_default() += 1;
            }
        }
        run.worker = worker;
        Some(worker)
    }

    /// Chooses the workers of a run by hand. It neither counts as running nor changes the turn.
    pub fn choose_by_hand(&self, key: &Key, workers: &[WorkerState]) -> Vec<Assigned> {
        let Some(entry) = self.entries.get(key) else { return Vec::new() };
        let chosen: Vec<u32> = match entry.schedule.kind {
            ScheduleKind::All => workers.iter().map(|state| state.worker).collect(),
            ScheduleKind::Worker => choose(workers, entry.turn).into_iter().collect(),
        };
        chosen.into_iter().map(|worker| Assigned { entry: entry.number, worker }).collect()
    }

    /// Records that a run no longer runs.
    pub fn ended(&mut self, key: &Key, run: &Assigned) {
        let Some(entry) = self.numbered(key, run.entry) else { return };
        if let Some(count) = entry.running.get_mut(&run.worker) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                entry.running.remove(&run.worker);
            }
        }
    }
}

/// Lets a schedule run by a clock that may go anywhere. No due time has two runs, unless the clock
/// went back by more than [`MOST_BACK`].
#[cfg(any(test, fuzzing))]
pub fn run_plan(timing: &crate::registry::Timing, clock: &[u64]) {
    let schedule = Schedule {
        name: "s".into(),
        subdomain: None,
        kind: ScheduleKind::Worker,
        timing: timing.clone(),
        immediate: false,
        overlap: Overlap::Allow,
        when_alone: WhenAlone::Skip,
        durable: None,
        off: None,
        data: crate::call::Payload::None,
    };
    let installed = [InstalledSchedules { module: "m".into(), schedules: [schedule].into() }];
    let (mut plan, mut last, mut highest) = (Plan::default(), None, 0);
    for now in clock {
        if highest > now.saturating_add(MOST_BACK) {
            (last, highest) = (None, *now);
        }
        highest = highest.max(*now);
        plan.sync(&installed, *now);
        let (due, more) = plan.take_due(*now, 2);
        assert!(due.len() <= 1 && !more, "{timing:?}");
        for Due { due, .. } in due {
            assert!(due <= *now && *now - due <= GRACE, "{timing:?}: {due} at {now}");
            assert!(last.is_none_or(|last| due > last), "{timing:?}: {due} after {last:?}");
            last = Some(due);
        }
        assert!(plan.next().is_none_or(|next| next > *now), "{timing:?}: {:?} at {now}", plan.next());
    }
}
