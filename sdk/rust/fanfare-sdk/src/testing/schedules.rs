//! Runs schedules by hand.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::dispatch::{CallSpec, into_reply, worker};
use super::node::{CallState, Node};
use super::routes::RouteRequest;
use super::{TIMEOUT, TestHost};
use crate::failure::CallError;
use crate::payload::IntoPayload;
use crate::types::{Entry, Origin, Payload, Schedule, Trigger};

/// The part of a schedule in a manifest that the in-memory host reads.
#[derive(Default, Deserialize)]
pub(super) struct ScheduleEntry {
    pub path: String,
    #[serde(default, rename = "type")]
    pub kind: Kind,
    #[serde(default)]
    pub data: Option<serde_json::Value>,
    /// The number of runs so far.
    #[serde(skip)]
    pub runs: AtomicU32,
}

/// The workers that run a schedule.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    #[default]
    Worker,
    All,
}

impl TestHost {
    /// Runs a schedule of the manifest once, as `fanfare schedules run` does: in every worker for
    /// the type `all`, else in one worker, in turns. Without a payload (`()`), the handler gets the
    /// `data` of the schedule. The host runs no schedule by itself.
    ///
    /// ```
    /// use fanfare_sdk::prelude::*;
    ///
    /// #[handler]
    /// fn tick(schedule: Schedule) -> String {
    ///     format!("{} was due at {}", schedule.name, schedule.due_ms)
    /// }
    /// fanfare_sdk::module!(tick);
    /// # fn main() {
    /// let host = TestHost::builder(Module).schedule("second", "tick").start();
    /// let entries = host.run_schedule("second", ()).unwrap();
    /// assert!(entries[0].outcome.as_ref().unwrap().text().starts_with("second was due at "));
    /// # }
    /// ```
    pub fn run_schedule(&self, name: &str, payload: impl IntoPayload) -> Result<Vec<Entry>, CallError> {
        self.node.run_schedule(name, payload.into_payload()?)
    }
}

impl Node {
    fn run_schedule(&self, name: &str, payload: Payload) -> Result<Vec<Entry>, CallError> {
        let Some(schedule) = self.manifest.schedules.get(name) else {
            return Err(CallError::NotFound(format!("the module `{}` has no schedule `{name}`", self.name)));
        };
        let (method, path) = match schedule.path.split_once(' ') {
            Some((method, path)) => (Some(method), path),
            None => (None, &*schedule.path),
        };
        let route = RouteRequest { method, path, query: "" };
        let payload = match (payload, &schedule.data) {
            (Payload::None, Some(data)) => Payload::Text(data.to_string()),
            (payload, _) => payload,
        };
        let due = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let due_ms = u64::try_from(due.as_millis()).unwrap_or(u64::MAX);
        let runs = schedule.runs.fetch_add(1, Ordering::Relaxed);
        let workers = match schedule.kind {
            Kind::All => 0..self.workers(),
            Kind::Worker => {
                let turn = runs % self.workers();
                turn..turn + 1
            }
        };
        let mut pending = Vec::new();
        for index in workers {
            let run = format!("test-{name}-{runs}");
            pending.push((
                index,
                self.start(CallSpec {
                    route: self.manifest.find(&route)?,
                    query: "",
                    trigger: Trigger::Schedule(Schedule { name: name.to_owned(), due_ms, run }),
                    payload: payload.clone(),
                    timeout: None,
                    state: CallState { worker: index, ..CallState::default() },
                    origin: Origin::Host,
                    extra: Vec::new(),
                }),
            ));
        }
        let entry = |(index, pending): (u32, super::dispatch::Pending)| {
            let outcome = pending.wait(TIMEOUT).unwrap_or(Err(CallError::Timeout)).map(into_reply);
            Entry { isolate: worker(index as usize), node: None, outcome }
        };
        Ok(pending.into_iter().map(entry).collect())
    }
}
