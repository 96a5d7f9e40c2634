//! The times at which a schedule is due.

mod cron_times;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use crate::config::{ScheduleConfig, cron};
use cron_times::CronTimes;

/// The most due times of a cron expression that are counted at once, because each costs a search.
const MOST_COUNTED: u64 = 1_000;

/// The times at which a schedule is due, in milliseconds since 1970-01-01 UTC: every multiple of
/// its interval, and every time that its cron expression matches.
#[derive(Clone)]
pub struct Timing {
    /// 0 without an interval.
    interval: u64,
    cron: Option<(Arc<str>, Arc<CronTimes>)>,
    zone: Arc<str>,
    /// The last time at which it may be due.
    end: u64,
}

/// The due times in a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    pub newest: u64,
    /// At most [`MOST_COUNTED`] if the timing has a cron expression.
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
            let times = CronTimes::new(text, zone.clone()).ok_or(TimingError::Malformed)?;
            Ok((Arc::<str>::from(text.trim()), Arc::new(times)))
        });
        let timing = Timing {
            interval: settings.interval.map_or(0, |interval| u64::try_from(interval.as_millis()).unwrap_or(u64::MAX)),
            cron: cron.transpose()?,
            zone: zone_name.into(),
            end: end.transpose()?.unwrap_or(u64::MAX),
        };
        match &timing.cron {
            Some((_, times)) if times.first_after(0).is_none() => Err(TimingError::NeverDue),
            _ => Ok(timing),
        }
    }

    /// The first due time after `time`. `None` if no due time follows.
    pub fn next_after(&self, time: u64) -> Option<u64> {
        let interval = (time.checked_div(self.interval)).and_then(|count| (count + 1).checked_mul(self.interval));
        let cron = self.cron.as_ref().and_then(|(_, times)| times.first_after(time));
        interval.into_iter().chain(cron).min().filter(|due| *due <= self.end)
    }

    /// The due times after `from` and not after `to`.
    pub fn passed(&self, from: u64, to: u64) -> Option<Passed> {
        let to = to.min(self.end);
        let multiples = |time: u64| time.checked_div(self.interval).unwrap_or(0);
        let Some((_, times)) = &self.cron else {
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
                let last = times.last_until(to).into_iter();
                let newest = last.chain((self.interval > 0).then(|| multiples(to) * self.interval)).max();
                return Some(Passed { newest: newest.unwrap_or(next).max(next), count });
            }
        }
        passed
    }

    /// The last due time that is not after `time`.
    pub fn last_until(&self, time: u64) -> Option<u64> {
        let to = time.min(self.end);
        let cron = self.cron.as_ref().and_then(|(_, times)| times.last_until(to));
        let interval = to.checked_div(self.interval).map(|count| count * self.interval);
        interval.into_iter().chain(cron).max()
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
        &self.zone
    }

    /// Whether the end date has passed.
    pub fn is_over(&self, now: u64) -> bool {
        now > self.end
    }

    pub fn end(&self) -> Option<u64> {
        (self.end < u64::MAX).then_some(self.end)
    }
}

impl PartialEq for Timing {
    fn eq(&self, other: &Timing) -> bool {
        (self.interval, self.cron(), &self.zone, self.end) == (other.interval, other.cron(), &other.zone, other.end)
    }
}

/// The same text for equal times, also in later versions, because it is stored.
impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every {} ms, {:?} in {} until {}", self.interval, self.cron(), self.zone, self.end)
    }
}

impl fmt::Debug for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
