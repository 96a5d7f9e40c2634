//! The JSON documents about schedules.

use serde::{Deserialize, Serialize};

/// A schedule of an installed module, for one subdomain or without one. Times are milliseconds
/// since 1970-01-01 UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScheduleStatus {
    /// The name of the module.
    pub module: String,
    /// The name of the schedule.
    pub name: String,
    /// The subdomain that it runs for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<String>,
    /// `worker` or `all`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The interval in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    /// The cron expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The time zone of the cron expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
    /// The time after which it no longer runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_date: Option<u64>,
    /// Whether it runs once as soon as the module serves.
    pub immediate: bool,
    /// `skip` or `allow`.
    pub overlap: String,
    /// Whether it will run again.
    pub state: ScheduleState,
    /// Why it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it is due next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// The number of runs that have not ended.
    pub running: u32,
    /// The number of runs that have succeeded.
    pub succeeded: u64,
    /// The number of runs that have failed.
    pub failed: u64,
    /// The number of runs that were skipped because earlier ones had not ended.
    pub skipped: u64,
    /// The number of due times that the host missed.
    pub missed: u64,
    /// Whether one run makes up for missed due times.
    pub makes_up: bool,
    /// The number of runs that made up for missed due times.
    pub made_up: u64,
    /// The number of runs that failed as often as `attempts` allows.
    pub given_up: u64,
    /// The run that ended last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastRun>,
}

/// Whether a schedule will run again by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ScheduleState {
    /// `active`: it has a next due time.
    #[default]
    Active,
    /// `done`: its end date has passed, or it had to run only once.
    Done,
    /// `disabled`: it runs only by hand.
    Disabled,
}

/// A run that has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LastRun {
    /// The id of the run, which the guest got too.
    pub id: String,
    /// The worker that it was assigned to.
    pub worker: u32,
    /// When it was due, in milliseconds since 1970-01-01 UTC.
    pub due: u64,
    /// Whether the handler returned a reply with a status below 400.
    pub success: bool,
    /// The time from the start of the run until its end in milliseconds, including the time that it
    /// waited for the instance.
    pub run_time: u64,
    /// Why it failed, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
