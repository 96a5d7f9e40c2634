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

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counts::Counts;
use crate::call::bounds;
use crate::config::Overlap;
#[cfg(any(test, fuzzing))]
use crate::config::WhenAlone;
use crate::registry::{Schedule, ScheduleKind};

/// How late the host may notice a due time and still run it. Later than that, it is missed.
pub const GRACE: u64 = 10_000;

/// How far the clock may go back before due times that have passed once are due again.
pub const MOST_BACK: u64 = 3_600_000;

/// The most runs of a schedule that may run or wait at once when runs may overlap: in all workers
/// together for the type `worker`, in each for the type `all`.
pub const MOST_RUNS: u32 = 64;

/// A schedule of the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub module: Arc<str>,
    pub name: Arc<str>,
    pub subdomain: Option<Arc<str>>,
}

/// The schedules of an installed module.
#[derive(Debug, Clone)]
pub struct InstalledSchedules {
    pub module: Arc<str>,
    pub schedules: Arc<[Schedule]>,
}

/// A schedule with what has happened to it.
pub struct Entry {
    /// Tells the entry from an earlier one with the same key, whose runs may still end.
    pub number: u64,
    pub schedule: Schedule,
    /// Every due time up to this one has been handled. It never decreases, unless the clock went
    /// back by more than [`MOST_BACK`].
    last: u64,
    /// The first due time after `last`.
    next: Option<u64>,
    /// Whether it has been active, so that `immediate` has had its run.
    begun: bool,
    /// The worker whose turn is next.
    turn: u32,
    /// The runs that have not ended, by worker. Runs by hand do not count.
    running: BTreeMap<u32, u32>,
    pub counts: Counts,
}

/// A due time to act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub key: Key,
    pub due: u64,
    /// Whether it is due because the module began to serve.
    pub immediate: bool,
}

/// What happened to a schedule that may have been due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Nothing,
    /// Due times have passed, and it is too late for a run.
    Missed,
    Run(u64),
    /// The module began to serve.
    Begin(u64),
}

/// A worker that has a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerState {
    pub worker: u32,
    pub ready: bool,
    /// Whether the module has failed there.
    pub failed: bool,
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
            match entry.take_due(now) {
                Taken::Nothing => continue,
                Taken::Missed => {}
                Taken::Run(time) => due.push(Due { key: key.clone(), due: time, immediate: false }),
                Taken::Begin(time) => due.push(Due { key: key.clone(), due: time, immediate: true }),
            }
            handled += 1;
            if handled == most {
                return (due, true);
            }
        }
        (due, false)
    }

    /// The next due time of any schedule.
    pub fn next(&self) -> Option<u64> {
        self.entries.values().filter_map(Entry::next).min()
    }

    /// Whether a schedule may be due again although none has a next due time: the clock may be
    /// wrong, and past an end date.
    pub fn may_be_due(&self) -> bool {
        self.entries.values().any(Entry::may_be_due)
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
            entry.counts.missed += 1;
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

impl Entry {
    fn new(number: u64, schedule: Schedule, now: u64) -> Entry {
        let mut entry = Entry {
            number,
            schedule,
            last: now,
            next: None,
            begun: false,
            turn: 0,
            running: BTreeMap::new(),
            counts: Counts::default(),
        };
        entry.schedule_next();
        entry
    }

    fn with(mut self, schedule: Schedule, now: u64) -> Entry {
        let same = self.schedule.timing == schedule.timing && self.schedule.off.is_some() == schedule.off.is_some();
        self.schedule = schedule;
        if !same {
            self.last = self.last.max(now);
            self.schedule_next();
        }
        self
    }

    fn schedule_next(&mut self) {
        self.next = self.schedule.timing.next_after(self.last);
    }

    /// The next due time.
    pub fn next(&self) -> Option<u64> {
        self.next.filter(|_| self.schedule.off.is_none())
    }

    /// The number of runs that have not ended.
    pub fn running(&self) -> u32 {
        self.running.values().sum()
    }

    /// See [`Plan::may_be_due`].
    fn may_be_due(&self) -> bool {
        let waits = self.schedule.immediate && !self.begun;
        self.schedule.off.is_none() && (waits || self.schedule.timing.repeats())
    }

    fn take_due(&mut self, now: u64) -> Taken {
        if self.schedule.off.is_some() {
            return Taken::Nothing;
        }
        if self.last > now.saturating_add(MOST_BACK) {
            self.last = now;
            self.schedule_next();
        }
        if !self.begun && !self.schedule.timing.is_over(now) {
            self.begun = true;
            if self.schedule.immediate {
                self.last = self.last.max(now);
                self.schedule_next();
                return Taken::Begin(now);
            }
        }
        if self.next.is_none_or(|next| next > now) {
            return Taken::Nothing;
        }
        let passed = self.schedule.timing.passed(self.last, now);
        self.last = passed.map_or(now, |passed| passed.newest);
        self.schedule_next();
        let Some(passed) = passed else { return Taken::Nothing };
        let late = now - passed.newest > GRACE;
        self.counts.missed += if late { passed.count } else { passed.count - 1 };
        if late { Taken::Missed } else { Taken::Run(passed.newest) }
    }

    /// Whether no further run may start: in a worker, or in any of them.
    fn is_full(&self, worker: Option<u32>) -> bool {
        let running = worker.map_or_else(|| self.running(), |worker| self.running.get(&worker).copied().unwrap_or(0));
        match self.schedule.overlap {
            Overlap::Skip => running > 0,
            Overlap::Allow if running >= MOST_RUNS => {
                bounds::SCHEDULE_RUNS.count();
                true
            }
            Overlap::Allow => false,
        }
    }

    fn choose(&mut self, workers: &[WorkerState]) -> Option<u32> {
        let worker = choose(workers, self.turn)?;
        self.turn = worker + 1;
        Some(worker)
    }
}

/// The first worker from `turn` on that is ready. Without one, a run waits in a worker that will be
/// ready, or fails in one that has failed.
fn choose(workers: &[WorkerState], turn: u32) -> Option<u32> {
    let ranks: [fn(&WorkerState) -> bool; 3] = [|state| state.ready, |state| !state.failed, |_| true];
    ranks.into_iter().find_map(|fits| {
        let fitting = || workers.iter().filter(|state| fits(state)).map(|state| state.worker);
        fitting().find(|worker| *worker >= turn).or_else(|| fitting().next())
    })
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
