//! The times of a cron expression, also where the clocks of its time zone change.
//!
//! The rules are those of Vixie's cron, which the cron of most systems descends from. If the minute
//! or the hour is a wildcard (`*` or `*/n`), the expression stands for an interval: its times are
//! those that the clocks show, so the skipped ones are missing, and the repeated ones count twice.
//! Every other expression names its times, and a change of the clocks must neither drop nor repeat
//! one: a skipped time is due at the change, and a repeated one the first time only.
//!
//! The crate `croner` has the same rules, but it counts lists and ranges as intervals. So it
//! searches for times that are named on a calendar without a time zone, and this file finds their
//! moments.

use croner::Cron;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::config::cron;

/// A cron expression in a time zone.
pub struct CronTimes {
    cron: Cron,
    zone: TimeZone,
    /// Whether it names its times, so that it is not an interval.
    names_times: bool,
}

impl CronTimes {
    /// `None` for an invalid expression.
    pub fn new(text: &str, zone: TimeZone) -> Option<CronTimes> {
        Some(CronTimes { cron: cron::parse(text)?, zone, names_times: cron::names_times(text) })
    }

    /// The first due time after `time`, in milliseconds since 1970-01-01 UTC.
    pub fn first_after(&self, time: u64) -> Option<u64> {
        let time = timestamp(time)?;
        let found = match self.names_times {
            true => self.first_named_after(time)?,
            false => self.cron.find_next_occurrence(&time.to_zoned(self.zone.clone()), false).ok()?.timestamp(),
        };
        u64::try_from(found.as_millisecond()).ok()
    }

    /// The last due time that is not after `time`.
    pub fn last_until(&self, time: u64) -> Option<u64> {
        let time = timestamp(time)?;
        let found = match self.names_times {
            true => self.moment(self.cron.find_previous_occurrence(&self.latest_shown(time), true).ok()?)?,
            false => self.cron.find_previous_occurrence(&time.to_zoned(self.zone.clone()), true).ok()?.timestamp(),
        };
        u64::try_from(found.as_millisecond()).ok()
    }

    fn first_named_after(&self, time: Timestamp) -> Option<Timestamp> {
        let mut shown = self.latest_shown(time);
        loop {
            shown = self.cron.find_next_occurrence(&shown, false).ok()?;
            if let Some(moment) = self.moment(shown).filter(|moment| *moment > time) {
                return Some(moment);
            }
        }
    }

    /// The latest reading of the clocks up to `time`. After they were set back, they have already
    /// shown later ones.
    fn latest_shown(&self, time: Timestamp) -> DateTime {
        let now = self.zone.to_datetime(time);
        let next = time.checked_add(SignedDuration::from_nanos(1)).unwrap_or(time);
        let change = self.zone.preceding(next).next();
        let before = change.and_then(|change| change.timestamp().checked_sub(SignedDuration::from_secs(1)).ok());
        before.map_or(now, |before| now.max(self.zone.to_datetime(before)))
    }

    /// The moment at which a time is due: when the clocks first show it, or skip it.
    fn moment(&self, shown: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(shown);
        match ambiguous.offset() {
            AmbiguousOffset::Gap { after, .. } => {
                let before_change = after.to_timestamp(shown).ok()?;
                Some(self.zone.following(before_change).next()?.timestamp())
            }
            _ => ambiguous.earlier().ok(),
        }
    }
}

fn timestamp(time: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(time).ok()?).ok()
}
