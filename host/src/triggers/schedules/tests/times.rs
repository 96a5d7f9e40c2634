//! When schedules are due, whatever the clock does.

use super::*;

#[tokio::test]
async fn an_interval_is_due_at_each_multiple_once() {
    let fixture = Fixture::start(r#"{ "interval": "5s" }"#);
    assert_eq!(fixture.look(), [0; 0], "the start itself was due before");
    assert_eq!(fixture.pass(4_999), [0; 0]);
    assert_eq!(fixture.pass(1), [5_000]);
    assert_eq!(fixture.pass(0), [0; 0]);
    assert_eq!(fixture.pass(5_700), [10_000], "late by 700 ms");
    assert_eq!(fixture.pass(4_300), [15_000], "the next one is not late");
    assert_eq!((fixture.status().missed, fixture.status().next), (0, Some(START + 20_000)));
}

#[tokio::test]
async fn due_times_while_the_machine_was_suspended_are_counted_and_not_made_up() {
    let fixture = Fixture::start(r#"{ "interval": "5s" }"#);
    // Wakes 12 s after the last multiple of an hour: the run at that time is too late.
    let hourly = Fixture::start(r#"{ "interval": "1h" }"#);
    assert_eq!(hourly.jump(HOUR + GRACE + 1), [0; 0]);
    assert_eq!((hourly.status().missed, hourly.status().next), (1, Some(START + 2 * HOUR)));
    assert_eq!(hourly.jump(2 * HOUR + GRACE), [2 * HOUR], "still in time");
    // Of 720 due times only the newest runs, because it is not late.
    assert_eq!(fixture.jump(HOUR + 3_000), [HOUR]);
    assert_eq!(fixture.status().missed, 719);
    assert_eq!(fixture.pass(2_000), [HOUR + 5_000]);
}

#[tokio::test]
async fn a_clock_that_goes_back_repeats_no_run() {
    let fixture = Fixture::start(r#"{ "interval": "1m" }"#);
    assert_eq!(fixture.jump(30 * 60_000), [30 * 60_000]);
    for back in [29 * 60_000, 60_000, 0] {
        assert_eq!(fixture.jump(back), [0; 0], "{back}");
    }
    assert_eq!(fixture.jump(30 * 60_000), [0; 0]);
    assert_eq!(fixture.jump(31 * 60_000), [31 * 60_000]);
}

/// Otherwise a clock that was once set to the next century would stop all schedules until then.
#[tokio::test]
async fn a_clock_that_goes_back_by_more_than_an_hour_begins_again() {
    let fixture = Fixture::start(r#"{ "interval": "1m" }"#);
    let century = 100 * 365 * DAY;
    assert_eq!(fixture.jump(century), [century]);
    assert_eq!(fixture.jump(60_000), [0; 0], "the due time at the jump itself does not run");
    assert_eq!(fixture.status().next, Some(START + 120_000));
    assert_eq!(fixture.pass(60_000), [120_000]);
    // Just below the bound nothing begins again.
    assert_eq!(fixture.jump(120_000 + MOST_BACK), [120_000 + MOST_BACK]);
    assert_eq!(fixture.jump(120_000), [0; 0]);
    assert_eq!(fixture.status().next, Some(START + 180_000 + MOST_BACK));
}

#[tokio::test]
async fn a_delay_beyond_25_days_is_exact() {
    let fixture = Fixture::start(r#"{ "cron": "0 0 1 4 *" }"#);
    let april = 90 * DAY;
    assert_eq!(fixture.status().next, Some(START + april));
    assert_eq!(fixture.jump(april - 1), [0; 0]);
    assert_eq!(fixture.pass(1), [april]);
}

#[tokio::test]
async fn nothing_runs_after_the_end_date() {
    let fixture = Fixture::start(r#"{ "interval": "1m", "endDate": "2026-01-01T00:02:00Z" }"#);
    assert_eq!(fixture.pass(60_000), [60_000]);
    assert_eq!(fixture.pass(60_000), [120_000]);
    assert_eq!(fixture.pass(60_000), [0; 0]);
    let status = fixture.status();
    assert_eq!((status.state, status.next, status.missed), (ScheduleState::Done, None, 0));
}

/// The clocks in Berlin skip 02:00 on 2026-03-29, and show it twice on 2026-10-25.
#[tokio::test]
async fn a_list_of_times_runs_once_for_each_where_the_clocks_change() {
    let fixture = Fixture::start(r#"{ "cron": "0 2,14 * * *", "tz": "Europe/Berlin" }"#);
    let hours = |day: u64| (0..24).map(move |hour| day * DAY + hour * HOUR);
    let runs_of = |day| hours(day).flat_map(|hour| fixture.jump(hour)).map(|due| due % DAY / HOUR).collect::<Vec<_>>();
    let (spring, autumn) = (87, 297);
    fixture.jump(spring * DAY - HOUR);
    assert_eq!(runs_of(spring), [1, 12], "the skipped one at the change");
    fixture.jump(autumn * DAY - HOUR);
    assert_eq!(runs_of(autumn), [0, 13], "the repeated one once");
}

#[tokio::test]
async fn an_immediate_run_does_not_take_place_after_the_end_date() {
    let immediate = r#"{ "immediate": true, "endDate": "2026-01-01T00:00:00Z" }"#;
    let late = Fixture::at(START + 1, vec![schedule("s", immediate)]);
    assert_eq!((late.taken().len(), late.status().state), (0, ScheduleState::Done));
    assert_eq!(late.jump(0), [0], "the clock was wrong, and the run is not lost");
    assert_eq!(late.pass(1), [0; 0]);
    assert_eq!(Fixture::start(immediate).taken().len(), 1, "due exactly then");
}
