//! The loop of the scheduler.

use super::*;

/// The loop itself, with sleeps.
#[tokio::test]
async fn the_loop_wakes_at_due_times_changes_and_jumps() {
    let fixture = Fixture::start(r#"{ "interval": "1h" }"#);
    let task = tokio::spawn(fixture.schedules.clone().run());
    let started = |count| fixture.backend.started.lock().len() == count;
    tokio::task::yield_now().await;
    // The wall clock jumps to just after a due time, and the loop notices within a second.
    fixture.clock.set(START + HOUR + 50);
    fixture.clock.pass(1_000);
    until(|| started(1)).await;
    // A change wakes it, although no time passes.
    fixture.install(vec![schedule("t", r#"{ "immediate": true }"#)]);
    until(|| started(2)).await;
    // Nothing is due: it waits for a change without a limit.
    fixture.install(vec![schedule("u", r#"{ "interval": 100 }"#)]);
    until(|| fixture.status().name == "u").await;
    for count in 3..=5 {
        tokio::task::yield_now().await;
        fixture.clock.pass(100);
        until(|| started(count)).await;
    }
    fixture.schedules.stopping.cancel();
    tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
    fixture.clock.pass(1_000);
    fixture.schedules.turn();
    assert!(started(5), "nothing is due after the stop");
}

/// A clock that was wrong and past the end date, and is then set right.
#[tokio::test]
async fn the_loop_notices_a_clock_that_is_set_back_before_the_end_date() {
    let settings = r#"{ "interval": "1m", "endDate": "2026-01-01T00:02:00Z" }"#;
    let fixture = Fixture::at(START + DAY, vec![schedule("s", settings)]);
    assert_eq!(fixture.status().state, ScheduleState::Done);
    let task = tokio::spawn(fixture.schedules.clone().run());
    tokio::task::yield_now().await;
    fixture.clock.set(START);
    fixture.clock.pass(1_000);
    let next = || fixture.schedules.state.lock().plan.next();
    until(|| next() == Some(START + 60_000)).await;
    task.abort();
}

#[tokio::test]
async fn the_loop_lets_other_tasks_run_between_the_runs_of_many_schedules() {
    let many = |name: u64| schedule(&name.to_string(), r#"{ "interval": "1s" }"#);
    let fixture = Fixture::at(START, (0..1_024).map(many).collect());
    let task = tokio::spawn(fixture.schedules.clone().run());
    tokio::task::yield_now().await;
    fixture.clock.pass(1_000);
    let started = || fixture.backend.started.lock().len();
    let (mut last, mut most) = (0, 0);
    until(|| {
        let now = started();
        most = most.max(now - last);
        last = now;
        now == 1_024
    })
    .await;
    assert_eq!(most, BATCH);
    task.abort();
}

/// The machine was suspended for a month: the times of each schedule are counted up to a bound.
#[tokio::test]
async fn a_turn_counts_in_parts_what_it_has_missed() {
    let many = |name: u64| schedule(&name.to_string(), r#"{ "cron": "30 * * * * *" }"#);
    let fixture = Fixture::at(START, (0..64).map(many).collect());
    fixture.clock.set(START + 30 * DAY);
    let missed = || fixture.schedules.state.lock().plan.entries().filter(|(_, entry)| entry.counts.missed > 0).count();
    let (mut complete, mut steps) = (false, 0);
    while !complete {
        let before = missed();
        complete = fixture.schedules.step(START + 30 * DAY);
        steps += 1;
        assert!(missed() - before <= BATCH);
    }
    assert_eq!((missed(), steps), (64, 64 / BATCH + 1));
    assert_eq!(fixture.status().missed, 1_000);
}
