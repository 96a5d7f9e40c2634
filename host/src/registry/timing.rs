//! The times at which a schedule is due.

use std::fmt;
use std::sync::Arc;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{ScheduleConfig, cron};

/// The most due times of a cron expression that are counted one by one.
const MOST_COUNTED: u64 = 10_000;

/// The times at which a schedule is due, in milliseconds since 1970-01-01 UTC: every multiple of
/// its interval, and every time that its cron expression matches.
#[derive(Clone)]
pub struct Timing {
    /// 0 without an interval.
    interval: u64,
    cron: Option<(Arc<str>, Arc<Cron>)>,
    zone_name: Arc<str>,
    zone: TimeZone,
    /// The last time at which it may be due.
    end: u64,
}

/// The due times in a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    pub newest: u64,
    /// At most 10,000 if the timing has a cron expression.
    pub count: u64,
}

/// Why settings have no timing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimingError {
    /// The key of a text that its format rejects. The schema has reported it already.
    Malformed,
    NeverDue,
}

/// The time zone if a schedule names none.
pub const DEFAULT_ZONE: &str = "UTC";

impl Timing {
    pub fn of(settings: &ScheduleConfig) -> Result<Timing, TimingError> {
        let zone_name = settings.tz.as_deref().unwrap_or(DEFAULT_ZONE);
        let zone = cron::time_zone(zone_name).ok_or(TimingError::Malformed)?;
        let end = settings.end_date.as_deref().map(|text| cron::time_in(text, &zone).ok_or(TimingError::Malformed));
        let cron = settings.cron.as_deref().map(|text| {
            let cron = cron::parse(text).ok_or(TimingError::Malformed)?;
            Ok((Arc::<str>::from(text.trim()), Arc::new(cron)))
        });
        let timing = Timing {
            interval: settings.interval.map_or(0, |interval| u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)),
            cron: cron.transpose()?,
            zone_name: zone_name.into(),
            zone,
            end: end.transpose()?.unwrap_or(u64::MAX),
        };
        match &timing.cron {
            Some((_, cron)) if find(cron, &timing.zone, 0, false).is_none() => Err(TimingError::NeverDue),
            _ => Ok(timing),
        }
    }

    /// The first due time after `time`. `None` if no due time follows.
    pub fn next_after(&self, time: u64) -> Option<u64> {
        let interval = (time.checked_div(self.interval)).and_then(|count| (count + 1).checked_mul(self.interval));
        let cron = self.cron.as_ref().and_then(|(_, cron)| find(cron, &self.zone, time, false));
        interval.into_iter().chain(cron).min().filter(|due| *due <= self.end)
    }

    /// The due times after `from` and not after `to`.
    pub fn passed(&self, from: u64, to: u64) -> Option<Passed> {
        let to = to.min(self.end);
        let multiples = |time: u64| time.checked_div(self.interval).unwrap_or(0);
        let Some((_, cron)) = &self.cron else {
            let count = multiples(to).saturating_sub(multiples(from));
            return (count > 0).then(|| Passed { newest: multiples(to) * self.interval, count });
        };
        let mut passed = None;
        let mut time = from;
        while let Some(next) = self.next_after(time).filter(|next| *next <= to) {
            let count = passed.map_or(0, |Passed { count, .. }| count) + 1;
            passed = Some(Passed { newest: next, count });
            time = next;
            if count == MOST_COUNTED {
                let last = find_last(cron, &self.zone, to).into_iter();
                let newest = last.chain((self.interval > 0).then(|| multiples(to) * self.interval)).max();
                return Some(Passed { newest: newest.unwrap_or(next).max(next), count });
            }
        }
        passed
    }

    /// Whether it is due at any time at all. Without an interval and a cron expression it is not.
    pub fn repeats(&self) -> bool {
        self.interval > 0 || self.cron.is_some()
    }

    /// The interval in milliseconds.
    pub fn interval(&self) -> Option<u64> {
        (self.interval > 0).then_some(self.interval)
    }

    pub fn cron(&self) -> Option<&str> {
        self.cron.as_ref().map(|(text, _)| &**text)
    }

    pub fn zone(&self) -> &str {
        &self.zone_name
    }

    pub fn end(&self) -> Option<u64> {
        (self.end < u64::MAX).then_some(self.end)
    }
}

/// The first time that matches after `time`, or also `time` itself.
fn find(cron: &Cron, zone: &TimeZone, time: u64, inclusive: bool) -> Option<u64> {
    let from = Timestamp::from_millisecond(i64::try_from(time).ok()?).ok()?.to_zoned(zone.clone());
    let found = cron.find_next_occurrence(&from, inclusive).ok()?;
    u64::try_from(found.timestamp().as_millisecond()).ok()
}

/// The last time that matches and is not after `time`.
fn find_last(cron: &Cron, zone: &TimeZone, time: u64) -> Option<u64> {
    let from = Timestamp::from_millisecond(i64::try_from(time).ok()?).ok()?.to_zoned(zone.clone());
    let found = cron.find_previous_occurrence(&from, true).ok()?;
    u64::try_from(found.timestamp().as_millisecond()).ok()
}

impl PartialEq for Timing {
    fn eq(&self, other: &Timing) -> bool {
        (self.interval, self.cron(), &self.zone_name, self.end)
            == (other.interval, other.cron(), &other.zone_name, other.end)
    }
}

impl fmt::Debug for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every {} ms, {:?} in {} until {}", self.interval, self.cron(), self.zone_name, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(json: &str) -> Timing {
        Timing::of(&serde_json::from_str(json).unwrap()).unwrap()
    }

    fn at(text: &str) -> u64 {
        cron::time_in(text, &TimeZone::UTC).unwrap()
    }

    /// The next due times after a time, as text.
    fn next(json: &str, after: &str, count: usize) -> Vec<String> {
        let (timing, mut time) = (timing(json), at(after));
        let mut next = || {
            time = timing.next_after(time)?;
            Some(Timestamp::from_millisecond(i64::try_from(time).unwrap()).unwrap().to_string())
        };
        std::iter::from_fn(&mut next).take(count).collect()
    }

    #[test]
    fn an_interval_is_due_at_its_multiples() {
        let every = timing(r#"{ "interval": "5s" }"#);
        assert_eq!([0, 1, 4_999, 5_000].map(|time| every.next_after(time)), [5_000, 5_000, 5_000, 10_000].map(Some));
        assert_eq!(every.passed(0, 4_999), None);
        assert_eq!(every.passed(0, 5_000), Some(Passed { newest: 5_000, count: 1 }));
        assert_eq!(every.passed(5_000, 61_000), Some(Passed { newest: 60_000, count: 11 }));
        assert_eq!(every.next_after(u64::MAX), None);
    }

    /// JavaScript's timers overflow at 2^31 ms, about 25 days.
    #[test]
    fn a_very_long_delay_is_exact() {
        let year = timing(r#"{ "interval": "8760h" }"#);
        assert_eq!(year.next_after(1), Some(365 * 24 * 3_600_000));
        assert_eq!(next(r#"{ "cron": "0 0 29 2 *" }"#, "2096-03-01T00:00:00Z", 1), ["2104-02-29T00:00:00Z"]);
    }

    #[test]
    fn a_cron_expression_follows_the_clock_of_its_zone() {
        let berlin = r#"{ "cron": "30 2 * * *", "tz": "Europe/Berlin" }"#;
        // 02:30 does not exist on 2026-03-29: the run is at 03:00, when the hour was skipped.
        let spring = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
        assert_eq!(next(berlin, "2026-03-27T12:00:00Z", 3), spring);
        // 02:30 exists twice on 2026-10-25: the run is at the first one.
        let autumn = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
        assert_eq!(next(berlin, "2026-10-23T12:00:00Z", 3), autumn);
        let hourly = r#"{ "cron": "@hourly", "tz": "Europe/Berlin" }"#;
        let twice = ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"];
        assert_eq!(next(hourly, "2026-10-24T23:30:00Z", 3), twice, "hours that are repeated count twice");
    }

    #[test]
    fn an_interval_and_a_cron_expression_are_both_due() {
        let both = r#"{ "interval": "30s", "cron": "*/20 * * * * *" }"#;
        let due = next(both, "2026-01-01T00:00:00Z", 4);
        let seconds: Vec<&str> = due.iter().map(|text| &text[14..19]).collect();
        assert_eq!(seconds, ["00:20", "00:30", "00:40", "01:00"]);
        let (timing, from) = (timing(both), at("2026-01-01T00:00:00Z"));
        assert_eq!(timing.passed(from, from + 60_500), Some(Passed { newest: from + 60_000, count: 4 }));
    }

    #[test]
    fn nothing_is_due_after_the_end() {
        let until = r#"{ "interval": "1h", "tz": "Europe/Berlin", "endDate": "2026-01-01T02:00:00" }"#;
        assert_eq!(next(until, "2025-12-31T23:30:00Z", 9), ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"]);
        let (timing, from) = (timing(until), at("2025-12-31T23:30:00Z"));
        let all = Passed { newest: from + 5_400_000, count: 2 };
        assert_eq!(timing.passed(from, from + 36_000_000), Some(all), "not even when looked at later");
    }

    #[test]
    fn a_long_gap_of_a_cron_expression_is_counted_up_to_a_bound() {
        let (every, from) = (timing(r#"{ "cron": "* * * * * *" }"#), at("2026-01-01T00:00:00Z"));
        let day = 86_400_000;
        assert_eq!(every.passed(from, from + day), Some(Passed { newest: from + day, count: MOST_COUNTED }));
    }

    #[test]
    fn an_expression_that_matches_no_date_has_no_timing() {
        for cron in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *"] {
            let settings = ScheduleConfig { cron: Some(cron.into()), ..ScheduleConfig::default() };
            assert_eq!(Timing::of(&settings), Err(TimingError::NeverDue), "{cron}");
        }
        assert!(!timing("{}").repeats());
        assert_eq!(timing("{}").next_after(0), None);
    }
}
