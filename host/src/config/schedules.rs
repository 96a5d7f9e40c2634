//! The operator's settings for the schedules of a module.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formats::{CronExpression, DateTimeText, TimeZoneName};
use crate::document::units::Time;

/// Settings of a schedule that replace those in `module.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Runs are due at every multiple of this duration since 1970-01-01 UTC: 10 ms to 365 days.
    /// Either of `interval` and `cron` here replaces both of the module's. Default that of the
    /// module.
    #[serde(with = "crate::document::units::optional_duration", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Time", extend("minimum" = 10))]
    pub interval: Option<Duration>,
    /// A cron expression with five fields, or six with the second first, or a name such as
    /// `@hourly`. Default that of the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "CronExpression")]
    pub cron: Option<String>,
    /// The time zone of `cron` and `endDate`, by its IANA name. Default that of the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TimeZoneName")]
    pub tz: Option<String>,
    /// The time after which the schedule no longer runs, such as `2026-12-31T23:59:59Z`. Without an
    /// offset, it is a time in `tz`. Default that of the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "DateTimeText")]
    pub end_date: Option<String>,
    /// Whether the schedule runs once as soon as the module serves. Default that of the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub immediate: Option<bool>,
    /// Whether the schedule runs only by hand. Default that of the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    pub disable: Option<bool>,
    /// What happens when a run is due while an earlier one waits or runs: `skip` skips it, `allow`
    /// runs it too, unless 64 of them wait or run. Default that of the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Overlap")]
    pub overlap: Option<Overlap>,
    /// What a schedule of the type `worker` does in a cluster while this node cannot agree with the
    /// others who runs it: `skip` misses the run, `fire` runs it on this node, so that it may run
    /// on several. Default that of the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "WhenAlone")]
    pub when_alone: Option<WhenAlone>,
    /// What happens to due times that the host misses: `skip` counts them, `run-once` makes up for
    /// them with one run as soon as it can. Default that of the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Missed")]
    pub missed: Option<Missed>,
    /// With `"missed": "run-once"`, how often a run that fails takes place, 1 to 100. Default that
    /// of the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32", extend("minimum" = 1, "maximum" = 100))]
    pub attempts: Option<u32>,
    /// The pause after the first failure of such a run, 10 ms to 1 m. It doubles with each further
    /// failure, up to 1 m. Default that of the module.
    #[serde(with = "crate::document::units::optional_duration", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Time", extend("minimum" = 10, "maximum" = 60_000))]
    pub backoff: Option<Duration>,
    /// The payload of each run, any JSON. Default that of the module.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-any" = true))]
    pub data: Option<serde_json::Value>,
}

/// What happens when a run is due while an earlier one waits or runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Overlap {
    /// The run is skipped.
    #[default]
    Skip,
    /// It runs too, unless 64 runs wait or run.
    Allow,
}

/// What a schedule of the type `worker` does while its node cannot agree with the others who runs
/// it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum WhenAlone {
    /// The run is missed.
    #[default]
    Skip,
    /// It runs on this node, so that it may run on several.
    Fire,
}

/// What happens to due times that the host misses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Missed {
    /// They are counted.
    #[default]
    Skip,
    /// One run makes up for them as soon as it can.
    RunOnce,
}

impl ScheduleConfig {
    /// Returns these settings with those of `over` in place of them, as far as `over` has them.
    pub fn with(&self, over: &ScheduleConfig) -> ScheduleConfig {
        let retimed = over.interval.is_some() || over.cron.is_some();
        let timing = if retimed { over } else { self };
        let or = |a: &Option<String>, b: &Option<String>| a.clone().or_else(|| b.clone());
        ScheduleConfig {
            interval: timing.interval,
            cron: timing.cron.clone(),
            tz: or(&over.tz, &self.tz),
            end_date: or(&over.end_date, &self.end_date),
            immediate: over.immediate.or(self.immediate),
            disable: over.disable.or(self.disable),
            overlap: over.overlap.or(self.overlap),
            when_alone: over.when_alone.or(self.when_alone),
            missed: over.missed.or(self.missed),
            attempts: over.attempts.or(self.attempts),
            backoff: over.backoff.or(self.backoff),
            data: over.data.clone().or_else(|| self.data.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_or_a_cron_expression_replaces_both() {
        let read = |text: &str| serde_json::from_str::<ScheduleConfig>(text).unwrap();
        let module = read(r#"{ "interval": "5s", "tz": "UTC", "immediate": true, "data": { "a": 1 } }"#);
        let over = module.with(&read(r#"{ "cron": "@hourly", "disable": false, "data": 2 }"#));
        let expected = r#"{ "cron": "@hourly", "tz": "UTC", "immediate": true, "disable": false, "data": 2 }"#;
        assert_eq!(over, read(expected));
        assert_eq!(module.with(&ScheduleConfig::default()), module);
    }
}
