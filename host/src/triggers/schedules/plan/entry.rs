//! One schedule of the plan.

use std::collections::BTreeMap;

use super::super::counts::Counts;
use super::facts::{Due, GRACE, MOST_BACK, MOST_RUNS, WorkerState, choose};
use super::owed::Owed;
use crate::call::{Making, bounds};
use crate::config::Overlap;
use crate::registry::Schedule;

/// A schedule with what has happened to it.
pub struct Entry {
    /// Tells the entry from an earlier one with the same key, whose runs may still end.
    pub number: u64,
    pub schedule: Schedule,
    /// Every due time up to this one has been handled. It never decreases, unless the clock went
    /// back by more than [`MOST_BACK`].
    pub(super) last: u64,
    /// The first due time after `last`.
    pub(super) next: Option<u64>,
    /// Whether it has been active, so that `immediate` has had its run.
    pub(super) begun: bool,
    /// The worker whose turn is next.
    pub(super) turn: u32,
    /// The runs that have not ended, by worker. Runs by hand do not count.
    pub(super) running: BTreeMap<u32, u32>,
    /// What may be owed, if missed due times are made up for.
    pub(super) owed: Owed,
    pub counts: Counts,
}

/// What happened to a schedule that may have been due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Nothing,
    /// Due times have passed, and it is too late for a run.
    Missed,
    Run(u64),
    /// The module began to serve.
    Begin(u64),
    /// This due time has passed, and may be owed.
    Check(u64),
}

impl Entry {
    pub(super) fn new(number: u64, schedule: Schedule, now: u64) -> Entry {
        let mut entry = Entry {
            number,
            schedule,
            last: now,
            next: None,
            begun: false,
            turn: 0,
            running: BTreeMap::new(),
            owed: Owed::default(),
            counts: Counts::default(),
        };
        entry.schedule_next();
        entry.ask(true, now);
        entry
    }

    pub(super) fn with(mut self, schedule: Schedule, now: u64) -> Entry {
        let same = self.schedule.timing == schedule.timing && self.schedule.off.is_some() == schedule.off.is_some();
        let begins = self.schedule.durable.is_none();
        self.schedule = schedule;
        if !same {
            self.last = self.last.max(now);
            self.schedule_next();
        }
        if !same || begins {
            self.owed.begin_anew(now);
        }
        self
    }

    pub(super) fn schedule_next(&mut self) {
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

    /// See [`super::Plan::may_be_due`].
    pub(super) fn may_be_due(&self) -> bool {
        let waits = self.schedule.immediate && !self.begun;
        self.schedule.off.is_none() && (waits || self.schedule.timing.repeats())
    }

    pub(super) fn take_due(&mut self, now: u64) -> Taken {
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
            return self.check(now).map_or(Taken::Nothing, Taken::Check);
        }
        let passed = self.schedule.timing.passed(self.last, now);
        self.last = passed.map_or(now, |passed| passed.newest);
        self.schedule_next();
        let Some(passed) = passed else { return Taken::Nothing };
        if self.schedule.durable.is_some() {
            // What was missed is counted when a node makes up for it.
            return Taken::Run(passed.newest);
        }
        let late = now - passed.newest > GRACE;
        self.counts.missed += if late { passed.count } else { passed.count - 1 };
        if late { Taken::Missed } else { Taken::Run(passed.newest) }
    }

    /// Whether no further run may start: in a worker, or in any of them.
    pub(super) fn is_full(&self, worker: Option<u32>) -> bool {
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

    pub(super) fn choose(&mut self, workers: &[WorkerState]) -> Option<u32> {
        let worker = choose(workers, self.turn)?;
        self.turn = worker + 1;
        Some(worker)
    }

    /// Asks whether a run is owed, if `is_open`, after a pause that grows.
    pub(super) fn ask(&mut self, is_open: bool, now: u64) {
        match is_open && self.schedule.durable.is_some() {
            true => self.owed.ask(now),
            false => self.owed.clear(),
        }
    }

    /// The last due time, if it is time to ask about it.
    fn check(&mut self, now: u64) -> Option<u64> {
        let asks = self.schedule.durable.is_some() && self.running() == 0 && self.owed.asks(now);
        let last = self.schedule.timing.last_until(now).filter(|_| asks);
        if asks && last.is_none() {
            self.owed.clear();
        }
        last
    }

    /// When the schedule has something to do.
    pub(super) fn wakes(&self) -> Option<u64> {
        let asks = self.schedule.durable.is_some() && self.running() == 0 && self.schedule.off.is_none();
        self.next().into_iter().chain(self.owed.wakes().filter(|_| asks)).min()
    }

    pub(super) fn making(&self, is_check: bool) -> Option<Making> {
        self.schedule.durable?;
        let times = self.schedule.timing.to_string().into();
        Some(Making { times, is_check, is_anew: self.owed.is_anew, done: self.owed.done })
    }

    /// The nodes have answered a claim, so they know that nothing is owed from before.
    pub(super) fn answered(&mut self) {
        self.owed.is_anew = false;
    }

    /// See [`super::Plan::granted`].
    pub(super) fn granted(&self, due: &Due, after: u64, now: u64) -> u64 {
        if self.schedule.durable.is_none() {
            return 0;
        }
        let passed = self.schedule.timing.passed(after, due.due).map_or(0, |passed| passed.count);
        let is_late = due.is_check || now.saturating_sub(due.due) > GRACE;
        // A run because the module began to serve is at no due time.
        if is_late || due.immediate { passed } else { passed.saturating_sub(1) }
    }

    /// See [`super::Plan::settle`].
    pub(super) fn settle(&mut self, due: u64, missed: u64) -> u64 {
        self.counts.missed += missed;
        self.counts.made_up += u64::from(missed > 0);
        // What was due during the run was skipped.
        self.owed.done = self.last.max(due);
        self.owed.clear();
        self.owed.done
    }
}
