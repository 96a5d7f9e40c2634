//! Runs that are due while earlier ones have not ended.

use super::*;

#[tokio::test]
async fn a_run_that_is_due_while_the_previous_one_runs_is_skipped() {
    let fixture = Fixture::start(r#"{ "interval": "1s", "overlap": "skip" }"#);
    fixture.hold();
    assert_eq!(fixture.pass(1_000), [1_000]);
    assert_eq!(fixture.pass(1_000), [0; 0]);
    assert_eq!((fixture.status().running, fixture.status().skipped), (1, 1));
    fixture.end_one().await;
    assert_eq!(fixture.pass(1_000), [3_000], "the next one in time, not the one that was skipped");
    assert_eq!(fixture.status().missed, 0);
}

#[tokio::test]
async fn runs_that_may_overlap_are_bounded() {
    let fixture = Fixture::start(r#"{ "interval": "1s" }"#);
    fixture.hold();
    let before = bounds::SCHEDULE_RUNS.reached();
    for run in 1..=u64::from(MOST_RUNS) {
        assert_eq!(fixture.pass(1_000), [run * 1_000]);
    }
    assert_eq!(fixture.pass(1_000), [0; 0]);
    assert_eq!((fixture.status().running, fixture.status().skipped), (MOST_RUNS, 1));
    assert!(bounds::SCHEDULE_RUNS.reached() > before);
    fixture.end_one().await;
    assert_eq!(fixture.pass(1_000).len(), 1);
}

#[tokio::test]
async fn a_schedule_of_the_type_all_skips_only_the_workers_that_are_busy() {
    let all = Schedule { kind: ScheduleKind::All, ..schedule("s", r#"{ "interval": "1s", "overlap": "skip" }"#) };
    let fixture = Fixture::at(START, vec![all]);
    fixture.hold();
    assert_eq!(fixture.pass(1_000), [1_000, 1_000]);
    fixture.end_one().await;
    fixture.pass(0);
    fixture.clock.pass(1_000);
    fixture.schedules.turn();
    let workers: Vec<u32> = fixture.taken().iter().map(|run| run.worker).collect();
    assert_eq!((workers, fixture.status().skipped), (vec![0], 1), "worker 1 still runs");
}

/// 1,000 due times in a second, in a loop that looks every 10 ms, with runs that do not end.
#[tokio::test]
async fn an_interval_of_a_millisecond_floods_nothing() {
    let fixture = Fixture::start(r#"{ "interval": 1 }"#);
    fixture.hold();
    let started: usize = (0..100).map(|_| fixture.pass(10).len()).sum();
    let status = fixture.status();
    assert_eq!((started, status.running), (MOST_RUNS as usize, MOST_RUNS));
    assert_eq!((status.missed, status.skipped), (900, 100 - u64::from(MOST_RUNS)));
}

/// So that a schedule that may not run costs little, however often it is due.
#[tokio::test]
async fn a_run_that_is_skipped_does_not_look_at_the_workers() {
    let fixture = Fixture::start(r#"{ "interval": "1s", "overlap": "skip" }"#);
    fixture.hold();
    assert_eq!(fixture.pass(1_000), [1_000]);
    let looked = fixture.backend.looked.load(Ordering::Relaxed);
    (0..5).for_each(|_| assert_eq!(fixture.pass(1_000), [0; 0]));
    assert_eq!((fixture.backend.looked.load(Ordering::Relaxed), fixture.status().skipped), (looked, 5));
}
