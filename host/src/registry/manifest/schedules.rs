//! The schedules of a module: as the manifest declares them, and with the operator's settings.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::durable::Durable;
use super::one_or_many::{environments, one_or_many};
use crate::call::Payload;
use crate::config::formats::{Argument, CronExpression, DateTimeText, RouteRef, TimeZoneName};
use crate::config::{Missed, Overlap, ScheduleConfig, WhenAlone};
use crate::document::units::Time;
use crate::registry::timing::{Timing, TimingError};

/// A schedule: a route, or a command, that the host runs at certain times.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Schedule")]
pub struct RawSchedule {
    /// The route, as `[METHOD ]path`. Without a method it is the `post` route with that path, or
    /// else the only route with that path. Required unless there is a `command`.
    #[serde(default)]
    #[schemars(with = "RouteRef")]
    pub path: Option<String>,
    /// The arguments after the name of the program, at most 64, for a component that exports
    /// `wasi:cli/run`, in place of a route. The payload is its standard input. Default none.
    #[serde(default)]
    #[schemars(with = "Vec<Argument>", length(max = 64))]
    pub command: Option<Vec<String>>,
    /// Where each run takes place: `worker` in one worker, in turns, or `all` in every worker.
    /// Default `worker`.
    #[serde(default, rename = "type")]
    pub kind: ScheduleKind,
    /// Runs are due at every multiple of this duration since 1970-01-01 UTC: 10 ms to 365 days.
    /// Default none.
    #[serde(default, with = "crate::document::units::optional_duration")]
    #[schemars(with = "Time", extend("minimum" = 10))]
    pub interval: Option<Duration>,
    /// A cron expression with five fields, or six with the second first, or a name such as
    /// `@hourly`. Default none.
    #[serde(default)]
    #[schemars(with = "CronExpression")]
    pub cron: Option<String>,
    /// The time zone of `cron` and `endDate`, by its IANA name. Default `UTC`.
    #[serde(default)]
    #[schemars(with = "TimeZoneName")]
    pub tz: Option<String>,
    /// The time after which the schedule no longer runs, such as `2026-12-31T23:59:59Z`. Without an
    /// offset, it is a time in `tz`. Default none.
    #[serde(default)]
    #[schemars(with = "DateTimeText")]
    pub end_date: Option<String>,
    /// Whether the schedule runs once as soon as the module serves. Default false.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub immediate: Option<bool>,
    /// Whether the schedule runs only by hand. Default false.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub disable: Option<bool>,
    /// The environments (`--env`) in which the schedule runs: a name, or a list of names. Default
    /// all.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(schema_with = "environments")]
    pub env: Vec<String>,
    /// What happens when a run is due while an earlier one waits or runs: `skip` skips it, `allow`
    /// runs it too, unless 64 of them wait or run. With the type `all`, this applies to each worker
    /// by itself. Default `skip`.
    #[serde(default)]
    #[schemars(with = "Overlap")]
    pub overlap: Option<Overlap>,
    /// What a schedule of the type `worker` does in a cluster while a node cannot agree with the
    /// others who runs it, because NATS is away: `skip` misses the run, `fire` runs it on this
    /// node, so that it may run on several. Default `skip`.
    #[serde(default)]
    #[schemars(with = "WhenAlone")]
    pub when_alone: Option<WhenAlone>,
    /// What happens to due times that the host misses, because no node was there or a node was lost
    /// in its run: `skip` counts them, `run-once` makes up for them with one run as soon as it can.
    /// Default `skip`.
    #[serde(default)]
    #[schemars(with = "Missed")]
    pub missed: Option<Missed>,
    /// With `"missed": "run-once"`, how often a run that fails takes place, 1 to 100. Default 5.
    #[serde(default)]
    #[schemars(with = "u32", extend("minimum" = 1, "maximum" = 100))]
    pub attempts: Option<u32>,
    /// The pause after the first failure of such a run, 10 ms to 1 m. It doubles with each further
    /// failure, up to 1 m. Default `1s`.
    #[serde(default, with = "crate::document::units::optional_duration")]
    #[schemars(with = "Time", extend("minimum" = 10, "maximum" = 60_000))]
    pub backoff: Option<Duration>,
    /// The payload of each run, any JSON. Default none.
    #[serde(default)]
    #[schemars(extend("x-any" = true))]
    pub data: Option<serde_json::Value>,
}

/// Where each run of a schedule takes place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum ScheduleKind {
    /// In one worker; the workers take turns.
    #[default]
    Worker,
    /// In every worker.
    All,
}

impl ScheduleKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ScheduleKind::Worker => "worker",
            ScheduleKind::All => "all",
        }
    }
}

/// A schedule of a checked manifest, without the operator's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredSchedule {
    pub runs: Runs,
    pub kind: ScheduleKind,
    /// The environments in which it runs. Empty for all.
    pub env: Vec<String>,
    pub settings: ScheduleConfig,
}

/// What a schedule runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Runs {
    /// The route at this index in `routes`.
    Route(usize),
    /// The component's `wasi:cli/run`, with these arguments.
    Command(Arc<[String]>),
}

impl DeclaredSchedule {
    pub(super) fn new(runs: Runs, raw: RawSchedule) -> DeclaredSchedule {
        let RawSchedule {
            kind,
            interval,
            cron,
            tz,
            end_date,
            immediate,
            disable,
            env,
            overlap,
            when_alone,
            missed,
            attempts,
            backoff,
            data,
            ..
        } = raw;
        let settings = ScheduleConfig {
            interval,
            cron,
            tz,
            end_date,
            immediate,
            disable,
            overlap,
            when_alone,
            missed,
            attempts,
            backoff,
            data,
        };
        DeclaredSchedule { runs, kind, env, settings }
    }

    /// The index of the route in `routes`, if it runs one.
    pub fn route(&self) -> Option<usize> {
        match self.runs {
            Runs::Route(index) => Some(index),
            Runs::Command(_) => None,
        }
    }

    /// The arguments of the command, if it runs one.
    pub fn command(&self) -> Option<&Arc<[String]>> {
        match &self.runs {
            Runs::Route(_) => None,
            Runs::Command(arguments) => Some(arguments),
        }
    }
}

/// A schedule as the host runs it: with the operator's settings, for one subdomain or without one.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    pub name: Arc<str>,
    pub subdomain: Option<Arc<str>>,
    pub kind: ScheduleKind,
    pub timing: Timing,
    pub immediate: bool,
    pub overlap: Overlap,
    pub when_alone: WhenAlone,
    /// How it runs again, if it makes up for missed and failed runs.
    pub durable: Option<Durable>,
    /// Why it runs only by hand, if it does.
    pub off: Option<Off>,
    pub data: Payload,
}

/// Why a schedule runs only by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Off {
    #[error("`disable` is true")]
    Disabled,
    #[error("this environment is not in `env`")]
    Environment,
}

/// Why the settings of a schedule are wrong: the key that is wrong, if it is one, and the rule.
pub(super) fn check(
    kind: ScheduleKind,
    settings: &ScheduleConfig,
) -> Result<Timing, (Option<&'static str>, &'static str)> {
    let timing = Timing::of(settings).map_err(|error| match error {
        TimingError::NeverDue => (Some("cron"), "must match a date that exists; no date matches this expression"),
        TimingError::Malformed => (None, "cannot be read, although no check failed: please report this as a bug"),
    })?;
    if !timing.repeats() && settings.immediate != Some(true) {
        let rule = "must have `interval`, `cron` or `\"immediate\": true`: otherwise it would never run";
        return Err((None, rule));
    }
    if settings.missed != Some(Missed::RunOnce) {
        return Ok(timing);
    }
    match (kind, settings.overlap, settings.when_alone) {
        (ScheduleKind::All, ..) => {
            let rule = "must be `skip` for the type `all`: only a run of the type `worker` is made up for";
            Err((Some("missed"), rule))
        }
        (_, Some(Overlap::Allow), _) => {
            let rule = "must be `skip` with `\"missed\": \"run-once\"`: one run makes up for all before it";
            Err((Some("overlap"), rule))
        }
        (.., Some(WhenAlone::Fire)) => {
            let rule = "must be `skip` with `\"missed\": \"run-once\"`: what is missed without NATS runs once when NATS is back";
            Err((Some("whenAlone"), rule))
        }
        _ => Ok(timing),
    }
}

/// How a schedule with these settings runs again.
pub(super) fn durable(settings: &ScheduleConfig) -> Option<Durable> {
    let default = Durable::default();
    (settings.missed == Some(Missed::RunOnce)).then(|| Durable {
        attempts: settings.attempts.unwrap_or(default.attempts),
        backoff: settings.backoff.unwrap_or(default.backoff),
    })
}
