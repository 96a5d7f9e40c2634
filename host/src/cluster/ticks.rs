//! Due times of schedules that run once in the cluster: the port [`Ticks`].
//!
//! The value of a schedule in the bucket has the last due time that a node has claimed. A node
//! claims a due time by compare-and-set, so that at most one node runs it. There is no lease: a due
//! time whose node ends before it runs is lost, and the next one is claimed as usual.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Cluster;
use super::bucket::{Edit, key};
use crate::call::CallError;
use crate::ports::{BoxFuture, Claim, Tick, Ticks};

/// How far a claimed due time may be in the future before it counts as one of a wrong clock.
const MOST_AHEAD: u64 = 3_600_000;

/// How often a node asks again when it does not know whether its claim was written.
const RETRIES: u32 = 2;

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
}

impl Claims {
    fn claim(&mut self, tick: &Tick, claimant: &Claimant<'_>) -> (Edit, Claim) {
        let Claimant { boot, now, .. } = *claimant;
        if self.due == tick.due && self.boot == boot {
            // Written by an attempt whose answer was lost.
            return (Edit::Keep, Claim::Granted);
        }
        let is_wrong = self.due > now.saturating_add(MOST_AHEAD);
        if self.due >= tick.due && !is_wrong {
            return (Edit::Keep, Claim::Taken);
        }
        if tick.immediate
            && let Some(began) = &self.began
        {
            let recent = u128::from(tick.due.saturating_sub(self.due)) < claimant.gone_after.as_millis();
            if recent || claimant.has_holders || (claimant.is_there)(began) {
                return (Edit::Keep, Claim::Taken);
            }
        }
        (self.due, self.boot) = (tick.due, boot.to_owned());
        let runs = |run: &Run| run.boot != boot && (claimant.is_there)(&run.boot);
        if !tick.overlaps && self.run.as_ref().is_some_and(runs) {
            // So that no other node counts it too.
            self.boot = String::new();
            return (Edit::Write, Claim::Overlaps);
        }
        self.run = (!tick.overlaps).then(|| Run { boot: boot.to_owned(), due: tick.due });
        if tick.immediate {
            self.began = Some(boot.to_owned());
        }
        (Edit::Write, Claim::Granted)
    }

    fn ended(&mut self, boot: &str, due: u64) -> Edit {
        match self.run.take_if(|run| run.boot == boot && run.due == due) {
            Some(_) => Edit::Write,
            None => Edit::Keep,
        }
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
            cluster.claim_tick(&tick, now).await
        })
    }

    fn ended(&self, tick: Tick) -> BoxFuture<()> {
        let cluster = self.me.upgrade().filter(|_| !tick.overlaps);
        Box::pin(async move {
            let Some(cluster) = cluster else { return };
            let (key, boot) = (key_of(&tick), cluster.boot());
            let ended = cluster.change(&key, |claims: &mut Claims| (claims.ended(&boot, tick.due), ())).await;
            if let Err(error) = ended {
                // Other nodes skip what is due until this node claims again, or is gone.
                tracing::debug!(%error, key, "the end of a run was not written");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(due: u64) -> Tick {
        Tick { module: "m".into(), name: "s".into(), subdomain: None, due, immediate: false, overlaps: false }
    }

    fn claim(claims: &mut Claims, boot: &str, tick: &Tick, alive: &[&str]) -> Claim {
        let is_there = |boot: &str| alive.contains(&boot);
        let gone_after = Duration::from_secs(3);
        let claimant = Claimant { boot, now: tick.due, gone_after, has_holders: false, is_there: &is_there };
        claims.claim(tick, &claimant).1
    }

    #[test]
    fn one_node_is_granted_a_due_time_also_when_it_asks_twice() {
        let mut claims = Claims::default();
        assert_eq!(claim(&mut claims, "a", &tick(1_000), &["b"]), Claim::Granted);
        assert_eq!(claim(&mut claims, "a", &tick(1_000), &["b"]), Claim::Granted);
        assert_eq!(claim(&mut claims, "b", &tick(1_000), &["a"]), Claim::Taken);
        assert_eq!(claim(&mut claims, "b", &tick(900), &["a"]), Claim::Taken, "an earlier one");
    }

    #[test]
    fn a_run_that_has_not_ended_skips_the_next_one_while_its_node_is_there() {
        let mut claims = Claims::default();
        assert_eq!(claim(&mut claims, "a", &tick(1_000), &[]), Claim::Granted);
        assert_eq!(claim(&mut claims, "b", &tick(2_000), &["a"]), Claim::Overlaps);
        assert_eq!(claim(&mut claims, "c", &tick(2_000), &["a"]), Claim::Taken, "it is counted once");
        assert_eq!(claim(&mut claims, "b", &tick(2_000), &["a"]), Claim::Taken);
        assert_eq!(claims.ended("a", 1_000), Edit::Write);
        assert_eq!(claims.ended("a", 1_000), Edit::Keep);
        assert_eq!(claim(&mut claims, "b", &tick(3_000), &["a"]), Claim::Granted);
        assert_eq!(claim(&mut claims, "a", &tick(4_000), &[]), Claim::Granted, "b is gone");
        let overlapping = Tick { overlaps: true, ..tick(5_000) };
        assert_eq!(claim(&mut claims, "b", &overlapping, &["a"]), Claim::Granted);
    }

    #[test]
    fn a_module_that_begins_to_serve_runs_its_schedule_once() {
        let immediate = |due| Tick { immediate: true, ..tick(due) };
        let mut claims = Claims::default();
        assert_eq!(claim(&mut claims, "a", &immediate(1_000), &["b"]), Claim::Granted);
        assert_eq!(claim(&mut claims, "b", &immediate(1_200), &[]), Claim::Taken, "it does not know a yet");
        assert_eq!(claim(&mut claims, "b", &immediate(60_000), &["a"]), Claim::Taken);
        assert_eq!(claim(&mut claims, "b", &immediate(60_000), &[]), Claim::Granted, "a is gone");
    }

    #[test]
    fn a_due_time_of_a_wrong_clock_does_not_stop_a_schedule() {
        let mut claims = Claims { due: 10_000_000, boot: "a".into(), ..Claims::default() };
        assert_eq!(claim(&mut claims, "b", &tick(7_000_000), &[]), Claim::Taken);
        assert_eq!(claim(&mut claims, "b", &tick(6_000_000), &[]), Claim::Granted);
    }
}
