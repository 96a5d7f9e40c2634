use jiff::Timestamp;
use jiff::tz::TimeZone;

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

/// The times of a cron expression that are due from one time until another one, found one by one.
fn all(cron: &str, zone: &str, from: &str, until: &str) -> Vec<String> {
    let json = serde_json::json!({ "cron": cron, "tz": zone, "endDate": until }).to_string();
    next(&json, from, usize::MAX)
}

#[test]
fn times_that_the_clocks_skip_are_due_at_the_change() {
    let day = |cron, zone, from, until| {
        let all = all(cron, zone, from, until);
        let times = all.iter().map(|text| text.split_once('T').unwrap().1.trim_end_matches(":00Z").to_owned());
        times.collect::<Vec<_>>()
    };
    // At 01:00 UTC the clocks in Berlin show 03:00 instead of 02:00.
    let berlin = |cron| day(cron, "Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z");
    assert_eq!(berlin("0 2,14 * * *"), ["01:00", "12:00"]);
    assert_eq!(berlin("0 1-4 * * *"), ["00:00", "01:00", "02:00"], "02:00 and 03:00 are the same moment");
    assert_eq!(berlin("0,30 2 * * *"), ["01:00"], "one run for all that were skipped");
    assert_eq!(berlin("0/20 2 * * *"), ["01:00"]);
    assert_eq!(berlin("30 15 2,4 * * *"), ["01:00", "02:15:30Z"]);
    assert_eq!(berlin("*/30 15 2,4 * * *"), ["01:00", "02:15", "02:15:30Z"]);
    assert_eq!(berlin("*/30 2 * * *"), [""; 0], "an interval has no run that the clocks skip");
    assert_eq!(berlin("0 */2 * * *")[0], "02:00", "04:00 in Berlin");
    // At 07:00 UTC the clocks in New York show 03:00 instead of 02:00, at 08:00 those in Adak.
    let york = |cron| day(cron, "America/New_York", "2026-03-08T05:00:00Z", "2026-03-09T03:59:59Z");
    assert_eq!(york("30 2,14 * * SUN"), ["07:00", "18:30"]);
    assert_eq!(york("30 2,14 * * MON"), [""; 0]);
    // Half an hour is skipped on Lord Howe Island, at 02:00, which is 15:30 UTC.
    let howe = day("10,40 2 * * *", "Australia/Lord_Howe", "2026-10-03T13:30:00Z", "2026-10-04T12:59:00Z");
    assert_eq!(howe, ["15:30", "15:40"]);
}

#[test]
fn times_that_the_clocks_repeat_are_due_once() {
    // At 01:00 UTC the clocks in Berlin show 02:00 for the second time.
    let berlin = |cron| all(cron, "Europe/Berlin", "2026-10-24T21:59:59Z", "2026-10-25T22:59:59Z");
    assert_eq!(berlin("0 2,14 * * *"), ["2026-10-25T00:00:00Z", "2026-10-25T13:00:00Z"]);
    assert_eq!(berlin("0,30 2 * * *"), ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z"]);
    assert_eq!(berlin("*/20 59 2 * * *").len(), 3);
    assert_eq!(berlin("*/30 2 * * *").len(), 4, "an interval continues in the repeated hour");
    assert_eq!(berlin("0 * * * *").len(), 25);
    assert_eq!(berlin("0 0-23 * * *").len(), 24);
    let howe = all("10,40 1,2 * * *", "Australia/Lord_Howe", "2026-04-04T13:00:00Z", "2026-04-05T13:29:00Z");
    assert_eq!(howe.len(), 4, "{howe:?}");
}

/// From any moment, the search finds the same times, forwards and backwards.
#[test]
fn a_search_from_within_a_change_of_the_clocks_finds_the_same_times() {
    for (zone, from, until) in [
        ("Europe/Berlin", "2026-03-28T22:30:00Z", "2026-03-29T05:00:00Z"),
        ("Europe/Berlin", "2026-10-24T22:30:00Z", "2026-10-25T05:00:00Z"),
        ("America/New_York", "2026-11-01T03:30:00Z", "2026-11-01T09:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T13:30:00Z", "2026-04-04T17:00:00Z"),
        ("UTC", "2026-03-28T22:30:00Z", "2026-03-29T05:00:00Z"),
    ] {
        for cron in ["0,30 1,2,3 * * *", "15 0-5 * * *", "10 10/25 1-3 * * *", "*/15 2 * * *", "7 * * * *"] {
            let (from, until) = (at(from), at(until));
            let timing = timing(&serde_json::json!({ "cron": cron, "tz": zone }).to_string());
            let times = &timing.cron.as_ref().unwrap().1;
            let due: Vec<u64> = std::iter::successors(times.first_after(from), |time| times.first_after(*time))
                .take_while(|time| *time <= until)
                .collect();
            assert!(due.is_sorted_by(|one, next| one < next), "{cron} in {zone}: {due:?}");
            for time in (from..until).step_by(450_500) {
                let (passed, next) = due.split_at(due.partition_point(|due| *due <= time));
                if let Some(next) = next.first() {
                    assert_eq!(times.first_after(time), Some(*next), "{cron} in {zone} after {time}");
                }
                if let Some(last) = passed.last() {
                    assert_eq!(times.last_until(time), Some(*last), "{cron} in {zone} until {time}");
                }
            }
        }
    }
}

#[test]
fn an_end_date_at_the_change_of_the_clocks_includes_the_run_that_was_skipped() {
    let until = |end| {
        next(
            &format!(r#"{{ "cron": "0 2,14 * * *", "tz": "Europe/Berlin", "endDate": "{end}" }}"#),
            "2026-03-28T22:00:00Z",
            9,
        )
    };
    assert_eq!(until("2026-03-29T03:00:00"), ["2026-03-29T01:00:00Z"]);
    assert_eq!(until("2026-03-29T01:59:59"), [""; 0]);
}

/// What follows the last year that the crate `croner` searches is no due time, and never a wrong
/// one.
#[test]
fn cron_expressions_are_due_until_the_year_4999_and_intervals_for_ever() {
    let yearly = r#"{ "cron": "0 0 1 7 *" }"#;
    assert_eq!(next(yearly, "4997-12-31T00:00:00Z", 9), ["4998-07-01T00:00:00Z", "4999-07-01T00:00:00Z"]);
    let both = r#"{ "interval": "24h", "cron": "0 12 1 7 *" }"#;
    assert_eq!(next(both, "9000-06-30T06:00:00Z", 2), ["9000-07-01T00:00:00Z", "9000-07-02T00:00:00Z"]);
    let ends = r#"{ "interval": "24h", "endDate": "9999-12-30T12:00:00Z" }"#;
    assert_eq!(next(ends, "9999-12-29T06:00:00Z", 9), ["9999-12-30T00:00:00Z"]);
    let beyond = serde_json::from_str(r#"{ "interval": "24h", "endDate": "10000-01-01T00:00:00Z" }"#).unwrap();
    assert_eq!(Timing::of(&beyond).unwrap_err(), TimingError::Malformed);
}
