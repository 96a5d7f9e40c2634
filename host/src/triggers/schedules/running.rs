//! Runs of schedules: how they begin, run again after a failure, and end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;

use super::claimed::Claimed;
use super::plan::{Assigned, Entry, Key};
use super::{Counts, Schedules};
use crate::api::LastRun;
use crate::call::text::{MESSAGE, line};
use crate::call::{CallEnd, CallError, Payload, Reply, RunCall, ScheduleRun, bounds};
use crate::events::HostEvent;
use crate::registry::ScheduleKind;

/// Why a due time is missed that no worker has the schedule for.
const NO_WORKER: &str = "no worker has the schedule, because the module is being removed or swapped";

/// A run that has not ended. Its place is freed when it is dropped.
struct InFlight {
    schedules: Arc<Schedules>,
    key: Key,
    run: Assigned,
    /// Whether it counts as running. A run by hand does not.
    counts: bool,
    /// The due time that other nodes leave to this one. It ends when this is dropped.
    claimed: Option<Claimed>,
}

impl InFlight {
    /// Moves to another worker. `None` if no worker has the schedule any more.
    fn next_worker(&mut self) -> Option<u32> {
        let InFlight { schedules, key, run, counts, .. } = self;
        let workers = schedules.backend.workers(&key.module, &key.name);
        schedules.state.lock().plan.reassign(key, run, &workers, *counts)
    }
}

impl InFlight {
    /// Waits for the end of a run, which other workers may run in place of this one. `limit` is
    /// when it has begun, and how long a caller waits.
    async fn outcome(
        &mut self,
        mut end: BoxFuture<'static, CallEnd>,
        call: &mut RunCall,
        (started, timeout): (Instant, Option<Duration>),
    ) -> Result<Reply, CallError> {
        loop {
            match end.await {
                CallEnd::Ended(outcome) => return outcome,
                CallEnd::Returned(_) => {}
            }
            let Some(worker) = self.next_worker() else {
                return Err(self.schedules.backend.missing(&self.key.module));
            };
            call.worker = worker;
            call.timeout = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
            end = self.schedules.backend.run(&self.key.module, call.clone());
        }
    }

    /// What follows the outcome of an attempt.
    fn next(&self, outcome: &Result<Reply, CallError>, tries: u32) -> Next {
        let durable = self.schedules.state.lock().plan.durable(&self.key);
        let Some(durable) = durable.filter(|_| self.claimed.is_some()) else { return Next::Done };
        match outcome {
            Ok(reply) if reply.effective_status() < 400 => Next::Done,
            // The run has not started.
            Err(CallError::Unavailable(_) | CallError::Overloaded(_) | CallError::NotFound(_)) => Next::Owed,
            _ => durable.pause(tries).map_or(Next::GivenUp, Next::Again),
        }
    }

    /// The run counts for all due times until now.
    fn settle(&mut self, due: u64) {
        let Some(claimed) = &mut self.claimed else { return };
        claimed.done = self.schedules.state.lock().plan.settle(&self.key, due, claimed.missed);
    }
}

/// What follows an attempt.
enum Next {
    Done,
    /// It takes place again, after a pause.
    Again(Duration),
    /// It failed as often as it may.
    GivenUp,
    /// It could not take place here, and another node or a later attempt makes up for it.
    Owed,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.counts {
            self.schedules.state.lock().plan.ended(&self.key, &self.run);
        }
    }
}

impl Schedules {
    /// Starts a run that is due. `claimed` is the due time that this node has claimed for it.
    pub(super) fn start(self: &Arc<Self>, key: Key, due: u64, mut claimed: Option<Claimed>) {
        // First, because the workers need not be looked at then.
        if self.state.lock().plan.skips(&key) {
            return;
        }
        let workers = self.backend.workers(&key.module, &key.name);
        let assigned = self.state.lock().plan.assign(&key, &workers);
        let assigned = assigned.unwrap_or_else(|| {
            self.log_missed(&key, due, NO_WORKER);
            Vec::new()
        });
        let scheduled = ScheduleRun { name: key.name.clone(), due, id: self.next_id() };
        for run in assigned {
            let in_flight =
                InFlight { schedules: self.clone(), key: key.clone(), run, counts: true, claimed: claimed.take() };
            self.observe_lateness(&in_flight, due);
            self.begin(in_flight, scheduled.clone(), None, None);
        }
    }

    /// The id of the next run, which all calls of the run share.
    pub(super) fn next_id(&self) -> Arc<str> {
        let number = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{}-{number}", self.ids).into()
    }

    /// Queues a run that a caller waits for.
    pub(super) fn begin_by_hand(
        self: &Arc<Self>,
        key: Key,
        run: Assigned,
        scheduled: ScheduleRun,
        payload: Option<Payload>,
        timeout: Duration,
    ) -> JoinHandle<(u32, Result<Reply, CallError>)> {
        let in_flight = InFlight { schedules: self.clone(), key, run, counts: false, claimed: None };
        self.begin(in_flight, scheduled, payload, Some(timeout))
    }

    /// Queues a run, and reports its end. If a worker returns it, another one runs it. The task
    /// resolves with the worker that has run it, and the outcome.
    fn begin(
        self: &Arc<Self>,
        mut in_flight: InFlight,
        run: ScheduleRun,
        payload: Option<Payload>,
        timeout: Option<Duration>,
    ) -> JoinHandle<(u32, Result<Reply, CallError>)> {
        let (mut started, due, id) = (Instant::now(), run.due, run.id.clone());
        let InFlight { key, run: Assigned { worker, .. }, .. } = &in_flight;
        let movable = self.state.lock().plan.entry(key).is_some_and(|one| one.schedule.kind == ScheduleKind::Worker);
        let mut call = RunCall { worker: *worker, movable, run, subdomain: key.subdomain.clone(), payload, timeout };
        let mut end = self.backend.run(&key.module, call.clone());
        let task = async move {
            let mut tries = 1;
            loop {
                let outcome = in_flight.outcome(end, &mut call, (started, timeout)).await;
                let next = in_flight.next(&outcome, tries);
                let ended = Ended { id: id.clone(), due, run_time: started.elapsed(), outcome };
                let (schedules, key, run) = (in_flight.schedules.clone(), in_flight.key.clone(), in_flight.run.clone());
                if let Next::Again(pause) = next {
                    schedules.report(&key, &run, &ended);
                    schedules.count(&key, &run, |counts| counts.retried += 1);
                    if !schedules.pauses(pause).await {
                        // It is still owed.
                        return (run.worker, ended.outcome);
                    }
                    if let Some(worker) = in_flight.next_worker() {
                        (tries, started, call.worker) = (tries + 1, Instant::now(), worker);
                        end = schedules.backend.run(&key.module, call.clone());
                        continue;
                    }
                    return (run.worker, ended.outcome);
                }
                if matches!(next, Next::GivenUp | Next::Done) {
                    in_flight.settle(due);
                }
                // Its place is free before its end is reported.
                drop(in_flight);
                schedules.report(&key, &run, &ended);
                if matches!(next, Next::GivenUp) {
                    schedules.give_up(&key, &run, &ended, tries);
                }
                return (run.worker, ended.outcome);
            }
        };
        self.tasks.spawn_on(task, &self.runtime)
    }

    /// Waits before an attempt. Returns false if the host stops meanwhile.
    async fn pauses(&self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.stopping.cancelled() => false,
        }
    }

    fn observe_lateness(&self, run: &InFlight, due: u64) {
        let lateness = Duration::from_millis(self.clock.wall().saturating_sub(due));
        self.count(&run.key, &run.run, |counts| counts.lateness.observe(lateness.as_secs_f64()));
    }

    fn count(&self, key: &Key, run: &Assigned, count: impl FnOnce(&mut Counts)) {
        if let Some(Entry { counts, .. }) = self.state.lock().plan.numbered(key, run.entry) {
            count(counts);
        }
    }

    /// Reports a run that failed as often as it may.
    fn give_up(&self, key: &Key, run: &Assigned, ended: &Ended, tries: u32) {
        self.count(key, run, |counts| counts.given_up += 1);
        let (id, due, reason) = (ended.id.to_string(), ended.due, ended.failure().unwrap_or_default());
        tracing::warn!(
            module = %key.module, schedule = %key.name, subdomain = key.subdomain.as_deref(), due, tries, %reason,
            "a run of a schedule failed too often and is given up: run it with `fanfare schedules run`"
        );
        let (key, subdomain) = (format!("{}:{}", key.module, key.name), key.subdomain.as_deref().map(str::to_owned));
        self.events.raise(HostEvent::ScheduleGivenUp { id, key, subdomain, due, tries, reason });
    }

    /// Counts a run that has ended, and raises its event.
    fn report(&self, key: &Key, run: &Assigned, ended: &Ended) {
        let code = match &ended.outcome {
            Ok(reply) if reply.effective_status() < 400 => Counts::OK,
            Ok(_) => "status",
            Err(error) => error.code(),
        };
        let last = LastRun {
            id: ended.id.to_string(),
            worker: run.worker,
            due: ended.due,
            success: code == Counts::OK,
            run_time: u64::try_from(ended.run_time.as_millis()).unwrap_or(u64::MAX),
            message: ended.failure(),
        };
        self.count(key, run, |counts| {
            *counts.outcomes.entry(code).or_default() += 1;
            counts.run_time.observe(ended.run_time.as_secs_f64());
            counts.last = Some(last.clone());
        });
        if !self.quota.allows_one() {
            return bounds::SCHEDULE_EVENTS.count();
        }
        let LastRun { id, worker, due, success, run_time, message } = last;
        self.events.raise(HostEvent::ScheduleRun {
            id,
            key: format!("{}:{}", key.module, key.name),
            subdomain: key.subdomain.as_deref().map(str::to_owned),
            worker,
            due,
            success,
            run_time,
            message,
        });
    }
}

/// A run that has ended.
struct Ended {
    id: Arc<str>,
    due: u64,
    run_time: Duration,
    outcome: Result<Reply, CallError>,
}

impl Ended {
    /// Why the run has failed, in one line.
    fn failure(&self) -> Option<String> {
        match &self.outcome {
            Ok(reply) if reply.effective_status() < 400 => None,
            Ok(reply) => Some(format!("the handler replied with status {}", reply.effective_status())),
            Err(error) => Some(line(&error.to_string(), MESSAGE)),
        }
    }
}
