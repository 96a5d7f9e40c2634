//! The due times of schedules, with any expression, zone, dates and clock.

use crate::config::ScheduleConfig;
use crate::document::units::Time;
use crate::registry::Timing;
use crate::triggers::schedules;

/// The due times that are compared one by one.
const STEPS: usize = 8;

/// A little before the end of the year 9999, which is the last one that the host knows, in
/// milliseconds since 1970.
const LAST_DATE: u64 = 253_402_000_000_000;

/// Reads a schedule: its cron expression, interval, time zone and end date, each in a line that may
/// be empty, and the readings of a clock in the last line. Every due time is later than the one
/// before, whatever the clock does.
pub fn times(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.split('\n');
    let mut next = || lines.next().filter(|line| !line.is_empty()).map(str::to_owned);
    let (cron, interval, tz, end_date, clock) = (next(), next(), next(), next(), next());
    let interval = interval.and_then(|text| text.parse::<Time>().ok()).map(Into::into);
    let settings = ScheduleConfig { cron, interval, tz, end_date, ..ScheduleConfig::default() };
    let Ok(timing) = Timing::of(&settings) else { return };
    let clock = clock.unwrap_or_default();
    let clock: Vec<u64> = clock.split(' ').filter_map(|reading| reading.parse().ok()).take(STEPS).collect();
    for from in &clock {
        follow(&timing, *from);
    }
    let readings: Vec<u64> = clock.into_iter().filter(|reading| *reading < LAST_DATE).collect();
    schedules::run_plan(&timing, &readings);
}

/// Follows the due times after `from`.
fn follow(timing: &Timing, from: u64) {
    let mut due = Vec::new();
    let mut time = from;
    while let Some(next) = timing.next_after(time).filter(|_| due.len() < STEPS) {
        assert!(next > time && timing.end().is_none_or(|end| next <= end), "{timing:?}: {next} follows {time}");
        assert_eq!(timing.next_after(next - 1), Some(next), "{timing:?}");
        assert_eq!(timing.next_after(time + (next - 1 - time) / 2), Some(next), "{timing:?}");
        assert_eq!(timing.passed(time, next - 1), None, "{timing:?}");
        let passed = timing.passed(time, next).map(|passed| (passed.newest, passed.count));
        assert_eq!(passed, Some((next, 1)), "{timing:?}");
        due.push(next);
        time = next;
    }
    let Some(last) = due.last() else { return };
    let passed = timing.passed(from, *last).map(|passed| (passed.newest, passed.count));
    assert_eq!(passed, Some((*last, due.len() as u64)), "{timing:?} after {from}");
}
