//! Due times of schedules that run once in the cluster: the port [`Ticks`].
//!
//! The value of a schedule in the bucket has the last due time that a node has claimed. A node
//! claims a due time by compare-and-set, so that at most one node runs it. There is no lease: a due
//! time whose node ends before it runs is lost, and the next one is claimed as usual.
//!
//! With `"missed": "run-once"` the value also has the time up to which all was handled. What is due
//! after that is owed, and a node claims it unless the node of an earlier claim still runs it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Cluster;
use super::bucket::{Edit, key};
use crate::call::{CallError, DueRecord, MOST_AHEAD, Making};
use crate::ports::{BoxFuture, Claim, Peers, Tick, Ticks};

/// How often a node asks again when it does not know whether its claim was written.
const RETRIES: u32 = 2;

/// How often a node tries to write the end of a run, and the pauses: for longer than NATS servers
/// need to choose a leader.
const MOST_ENDS: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// What the nodes know about a schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Claims {
    /// The last due time that was claimed.
    due: u64,
    /// The start of the host that has claimed it.
    boot: String,
    /// The run that has not ended, if runs may not overlap.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Run>,
    /// The start of the host that has run the schedule because its module began to serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    began: Option<String>,
    /// What was handled, if missed due times are made up for.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<DueRecord>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    boot: String,
    due: u64,
}

/// The facts that decide a claim.
struct Claimant<'a> {
    boot: &'a str,
    now: u64,
    gone_after: Duration,
    /// Whether another node serves the module.
    has_holders: bool,
    /// Whether a start of a host takes part in the cluster.
    is_there: &'a dyn Fn(&str) -> bool,
    /// Whether this node runs what was due at a time, or may learn that it does.
    runs: &'a dyn Fn(u64) -> bool,
    /// Whether this node has heard from all others, so that one that it does not know is gone.
    knows_all: bool,
}

impl Claims {
    fn claim(&mut self, tick: &Tick, claimant: &Claimant<'_>) -> (Edit, Claim) {
        match &tick.making {
            Some(making) => self.claim_owed(tick, making, claimant),
            None => self.claim_due(tick, claimant),
        }
    }

    fn claim_due(&mut self, tick: &Tick, claimant: &Claimant<'_>) -> (Edit, Claim) {
        let Claimant { boot, now, .. } = *claimant;
        if self.due == tick.due && self.boot == boot {
            // Written by an attempt whose answer was lost.
            return (Edit::Keep, Claim::Granted { after: 0 });
        }
        let edit = self.forget_own(|run| run.boot == boot && run.due < tick.due && !(claimant.runs)(run.due));
        let is_wrong = self.due > now.saturating_add(MOST_AHEAD);
        if self.due >= tick.due && !is_wrong || self.has_begun(tick, claimant) {
            return (edit, Claim::Taken { runs: false });
        }
        self.record = None;
        (self.due, self.boot) = (tick.due, boot.to_owned());
        let runs = |run: &Run| match run.boot == boot {
            // Claims of this node that were on their way at once.
            true => (claimant.runs)(run.due),
            false => (claimant.is_there)(&run.boot),
        };
        if !tick.overlaps && self.run.as_ref().is_some_and(runs) {
            // So that no other node counts it too.
            self.boot = String::new();
            return (Edit::Write, Claim::Overlaps);
        }
        self.run = (!tick.overlaps).then(|| Run { boot: boot.to_owned(), due: tick.due });
        if tick.immediate {
            self.began = Some(boot.to_owned());
        }
        (Edit::Write, Claim::Granted { after: 0 })
    }

    /// Claims a due time of a schedule that makes up for missed ones.
    fn claim_owed(&mut self, tick: &Tick, making: &Making, claimant: &Claimant<'_>) -> (Edit, Claim) {
        let Claimant { boot, now, .. } = *claimant;
        let begun = self.has_begun(tick, claimant);
        let changed = DueRecord::learn(&mut self.record, making, tick.due, now);
        let after = self.record.as_ref().map_or(0, |record| record.done);
        let edit = if changed { Edit::Write } else { Edit::Keep };
        let edit = edit.or(self.forget_own(|run| run.boot == boot && run.due <= after));
        if after >= tick.due || begun {
            return (edit, Claim::Taken { runs: self.run.is_some() });
        }
        let runs = |run: &Run| run.boot != boot && (!claimant.knows_all || (claimant.is_there)(&run.boot));
        if let Some(run) = self.run.as_ref().filter(|run| runs(run)) {
            // One node counts what is skipped.
            if making.is_check || run.due >= tick.due || self.due >= tick.due && self.due <= now {
                return (edit, Claim::Taken { runs: true });
            }
            self.due = tick.due;
            return (Edit::Write, Claim::Overlaps);
        }
        if tick.immediate {
            self.began = Some(boot.to_owned());
        }
        (self.due, self.boot) = (tick.due, boot.to_owned());
        self.run = Some(Run { boot: boot.to_owned(), due: tick.due });
        (Edit::Write, Claim::Granted { after })
    }

    /// Forgets a run that has ended, whose end was not written.
    fn forget_own(&mut self, has_ended: impl Fn(&Run) -> bool) -> Edit {
        match self.run.take_if(|run| has_ended(run)) {
            Some(_) => Edit::Write,
            None => Edit::Keep,
        }
    }

    /// Whether another node has run the schedule because its module began to serve.
    fn has_begun(&self, tick: &Tick, claimant: &Claimant<'_>) -> bool {
        let Some(began) = self.began.as_ref().filter(|_| tick.immediate) else { return false };
        let recent = u128::from(tick.due.saturating_sub(self.due)) < claimant.gone_after.as_millis();
        recent || claimant.has_holders || (claimant.is_there)(began)
    }

    fn ended(&mut self, boot: &str, tick: &Tick, done: Option<u64>) -> Edit {
        let run = self.run.take_if(|run| run.boot == boot && run.due == tick.due);
        let mut edit = if run.is_some() { Edit::Write } else { Edit::Keep };
        if let (Some(_), Some(done), Some(record)) = (&tick.making, done, &mut self.record)
            && record.done < done
        {
            (record.done, edit) = (done, Edit::Write);
        }
        edit
    }
}

fn key_of(tick: &Tick) -> String {
    match &tick.subdomain {
        Some(subdomain) => key(&["schedule", &tick.module, &tick.name, subdomain]),
        None => key(&["schedule", &tick.module, &tick.name]),
    }
}

impl Cluster {
    async fn claim_tick(&self, tick: &Tick, now: u64) -> Result<Claim, CallError> {
        let (key, boot) = (key_of(tick), self.boot());
        let mut tries = 0;
        loop {
            let claimed = self.change(&key, |claims: &mut Claims| {
                let claimant = Claimant {
                    boot: &boot,
                    now,
                    gone_after: self.config.gone_after,
                    has_holders: self.view.load().holders.contains_key(&*tick.module),
                    is_there: &|boot| self.is_there(boot),
                    runs: &|due| self.runs.lock().contains(&(key.clone(), due)),
                    knows_all: self.knows_all(),
                };
                claims.claim(tick, &claimant)
            });
            match claimed.await {
                Err(_) if tries < RETRIES && self.link.is_up() => tries += 1,
                claimed => return claimed,
            }
        }
    }
}

impl Ticks for Cluster {
    fn claim(&self, tick: Tick, now: u64) -> BoxFuture<Result<Claim, CallError>> {
        let cluster = self.me.upgrade();
        Box::pin(async move {
            let cluster = cluster.ok_or_else(CallError::stopping)?;
            let run = (key_of(&tick), tick.due);
            if !tick.overlaps {
                cluster.runs.lock().insert(run.clone());
            }
            let claimed = cluster.claim_tick(&tick, now).await;
            if !matches!(claimed, Ok(Claim::Granted { .. })) {
                cluster.runs.lock().remove(&run);
            }
            claimed
        })
    }

    fn ended(&self, tick: Tick, done: Option<u64>) -> BoxFuture<Result<(), CallError>> {
        let cluster = self.me.upgrade().filter(|_| !tick.overlaps);
        Box::pin(async move {
            let Some(cluster) = cluster else { return Ok(()) };
            let (key, boot) = (key_of(&tick), cluster.boot());
            cluster.runs.lock().remove(&(key.clone(), tick.due));
            let mut tries = 0;
            loop {
                let ended = cluster.change(&key, |claims: &mut Claims| (claims.ended(&boot, &tick, done), ())).await;
                tries += 1;
                if ended.is_ok() || tries == MOST_ENDS || cluster.is_leaving() {
                    // Otherwise others skip what is due until this node claims again, or is gone.
                    return ended.inspect_err(|error| tracing::debug!(%error, key, "the end of a run was not written"));
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRANTED: Claim = Claim::Granted { after: 0 };
    const TAKEN: Claim = Claim::Taken { runs: false };

    fn tick(due: u64) -> Tick {
        Tick {
            module: "m".into(),
            name: "s".into(),
            subdomain: None,
            due,
            immediate: false,
            overlaps: false,
            making: None,
        }
    }

    fn claimant<'a>(boot: &'a str, now: u64, is_there: &'a dyn Fn(&str) -> bool) -> Claimant<'a> {
        let gone_after = Duration::from_secs(3);
        Claimant { boot, now, gone_after, has_holders: false, is_there, runs: &|_| false, knows_all: true }
    }

    fn claim(claims: &mut Claims, boot: &str, tick: &Tick, alive: &[&str]) -> Claim {
        claims.claim(tick, &claimant(boot, tick.due, &|boot| alive.contains(&boot))).1
    }

    #[test]
    fn one_node_is_granted_a_due_time_also_when_it_asks_twice() {
        let mut claims = Claims::default();
        assert_eq!(claim(&mut claims, "a", &tick(1_000), &["b"]), GRANTED);
        assert_eq!(claim(&mut claims, "a", &tick(1_000), &["b"]), GRANTED);
        assert_eq!(claim(&mut claims, "b", &tick(1_000), &["a"]), TAKEN);
        assert_eq!(claim(&mut claims, "b", &tick(900), &["a"]), TAKEN, "an earlier one");
    }

    #[test]
    fn a_run_that_has_not_ended_skips_the_next_one_while_its_node_is_there() {
        let mut claims = Claims::default();
        assert_eq!(claim(&mut claims, "a", &tick(1_000), &[]), GRANTED);
        assert_eq!(claim(&mut claims, "b", &tick(2_000), &["a"]), Claim::Overlaps);
        assert_eq!(claim(&mut claims, "c", &tick(2_000), &["a"]), TAKEN, "it is counted once");
        assert_eq!(claim(&mut claims, "b", &tick(2_000), &["a"]), TAKEN);
        assert_eq!(claims.ended("a", &tick(1_000), None), Edit::Write);
        assert_eq!(claims.ended("a", &tick(1_000), None), Edit::Keep);
        assert_eq!(claim(&mut claims, "b", &tick(3_000), &["a"]), GRANTED);
        assert_eq!(claim(&mut claims, "a", &tick(4_000), &[]), GRANTED, "b is gone");
        let overlapping = Tick { overlaps: true, ..tick(5_000) };
        assert_eq!(claim(&mut claims, "b", &overlapping, &["a"]), GRANTED);
    }

    #[test]
    fn a_node_whose_end_of_a_run_was_not_written_stops_no_other_node_for_long() {
        let mut claims = Claims::default();
        assert_eq!(claim(&mut claims, "a", &tick(1_000), &["b"]), GRANTED);
        // b always comes first.
        assert_eq!(claim(&mut claims, "b", &tick(2_000), &["a"]), Claim::Overlaps);
        let runs = Claimant { runs: &|due| due == 1_000, ..claimant("a", 2_000, &|_| true) };
        assert_eq!(claims.claim(&tick(2_000), &runs), (Edit::Keep, TAKEN), "a runs it, or may learn that it does");
        assert_eq!(claim(&mut claims, "a", &tick(2_000), &["b"]), TAKEN);
        assert_eq!(claim(&mut claims, "b", &tick(3_000), &["a"]), GRANTED);
        assert_eq!(claim(&mut claims, "a", &tick(3_000), &["b"]), TAKEN);
        assert_eq!(claim(&mut claims, "a", &tick(4_000), &["b"]), Claim::Overlaps, "b runs");
    }

    #[test]
    fn a_node_that_has_claimed_twice_at_once_runs_only_the_first() {
        let mut claims = Claims::default();
        assert_eq!(claim(&mut claims, "a", &tick(1_000), &[]), GRANTED);
        let runs = Claimant { runs: &|due| due <= 2_000, ..claimant("a", 2_000, &|_| true) };
        assert_eq!(claims.claim(&tick(2_000), &runs), (Edit::Write, Claim::Overlaps));
        // The end of the second one, which did not begin, is not that of the first one.
        assert_eq!(claims.ended("a", &tick(2_000), None), Edit::Keep);
        assert_eq!(claim(&mut claims, "b", &tick(3_000), &["a"]), Claim::Overlaps, "a runs the first one");
    }

    #[test]
    fn a_module_that_begins_to_serve_runs_its_schedule_once() {
        let immediate = |due| Tick { immediate: true, ..tick(due) };
        let mut claims = Claims::default();
        assert_eq!(claim(&mut claims, "a", &immediate(1_000), &["b"]), GRANTED);
        assert_eq!(claim(&mut claims, "b", &immediate(1_200), &[]), TAKEN, "it does not know a yet");
        assert_eq!(claim(&mut claims, "b", &immediate(60_000), &["a"]), TAKEN);
        assert_eq!(claim(&mut claims, "b", &immediate(60_000), &[]), GRANTED, "a is gone");
    }

    #[test]
    fn a_due_time_of_a_wrong_clock_does_not_stop_a_schedule() {
        let mut claims = Claims { due: 10_000_000, boot: "a".into(), ..Claims::default() };
        assert_eq!(claim(&mut claims, "b", &tick(7_000_000), &[]), TAKEN);
        assert_eq!(claim(&mut claims, "b", &tick(6_000_000), &[]), GRANTED);
    }

    fn owed(due: u64, is_check: bool) -> Tick {
        let making = Some(Making { times: "t".into(), is_check, is_anew: false, done: 0 });
        Tick { making, ..tick(due) }
    }

    #[test]
    fn a_run_of_a_lost_node_is_owed_and_one_of_a_node_that_is_there_is_not() {
        const RUNS: Claim = Claim::Taken { runs: true };
        let mut claims = Claims::default();
        assert_eq!(claim(&mut claims, "a", &owed(1_000, true), &[]), TAKEN, "it is new");
        assert_eq!(claim(&mut claims, "a", &owed(2_000, false), &["b"]), Claim::Granted { after: 1_000 });
        assert_eq!(claim(&mut claims, "b", &owed(2_000, false), &["a"]), RUNS);
        assert_eq!(claim(&mut claims, "b", &owed(2_000, true), &["a"]), RUNS);
        assert_eq!(claim(&mut claims, "b", &owed(3_000, false), &["a"]), Claim::Overlaps);
        assert_eq!(claim(&mut claims, "c", &owed(3_000, false), &["a"]), RUNS, "it is counted once");
        // a is lost. A node that does not know all others does not take its run over.
        let new = Claimant { knows_all: false, ..claimant("d", 3_100, &|_| false) };
        assert_eq!(claims.claim(&owed(3_000, true), &new).1, RUNS);
        assert_eq!(claim(&mut claims, "b", &owed(3_000, true), &[]), Claim::Granted { after: 1_000 });
        assert_eq!(claim(&mut claims, "c", &owed(3_000, true), &["b"]), RUNS);
        // a was only frozen, and its run has ended.
        assert_eq!(claims.ended("a", &owed(2_000, false), Some(2_000)), Edit::Write);
        assert_eq!(claim(&mut claims, "c", &owed(3_000, true), &["b"]), RUNS);
        assert_eq!(claims.ended("b", &owed(3_000, true), Some(3_000)), Edit::Write);
        assert_eq!(claim(&mut claims, "c", &owed(3_000, true), &["b"]), TAKEN);
    }

    #[test]
    fn a_run_that_did_not_take_place_is_owed_and_one_whose_end_was_not_written_is_not() {
        let mut claims = Claims::default();
        assert_eq!(claim(&mut claims, "a", &owed(1_000, false), &[]), Claim::Granted { after: 999 });
        assert_eq!(claims.ended("a", &owed(1_000, false), None), Edit::Write);
        assert_eq!(claim(&mut claims, "b", &owed(1_000, true), &["a"]), Claim::Granted { after: 999 });
        let mut done = owed(2_000, false);
        done.making.iter_mut().for_each(|making| making.done = 1_000);
        assert_eq!(claim(&mut claims, "b", &done, &["a"]), Claim::Granted { after: 1_000 });
        done.making.iter_mut().for_each(|making| making.done = 2_000);
        assert_eq!(claim(&mut claims, "b", &done, &["a"]), TAKEN);
        assert_eq!(claims.run, None);
        // Without making up, nothing is remembered.
        assert_eq!(claim(&mut claims, "b", &tick(9_000), &["a"]), GRANTED);
        assert_eq!(claim(&mut claims, "b", &owed(20_000, true), &["a"]), TAKEN);
    }
}
