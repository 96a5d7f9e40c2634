//! Schedules that change, and runs that take place once.

use super::*;

#[tokio::test]
async fn an_immediate_run_comes_once_and_not_again_after_a_swap() {
    let immediate = || schedule("s", r#"{ "interval": "1s", "immediate": true }"#);
    let fixture = Fixture::at(START + 300, vec![immediate()]);
    assert_eq!(fixture.taken().len(), 1, "at the start");
    fixture.install(vec![immediate()]);
    assert_eq!(fixture.look(), [0; 0]);
    assert_eq!(fixture.pass(700), [1_000]);
    fixture.install(Vec::new());
    assert_eq!(fixture.look(), [0; 0]);
    fixture.install(vec![immediate()]);
    assert_eq!(fixture.look(), [1_000], "installed again");
    fixture.install(vec![immediate(), Schedule { name: "new".into(), ..immediate() }]);
    assert_eq!(fixture.look(), [1_000], "only the new one");
}

#[tokio::test]
async fn only_an_immediate_run_is_done_after_it() {
    let fixture = Fixture::start(r#"{ "immediate": true }"#);
    assert_eq!(fixture.taken().len(), 1);
    assert_eq!(fixture.pass(DAY), [0; 0]);
    assert_eq!(fixture.status().state, ScheduleState::Done);
}

#[tokio::test]
async fn a_disabled_schedule_runs_when_it_is_enabled() {
    let on = || schedule("s", r#"{ "interval": "1s", "immediate": true }"#);
    let off = || Schedule { off: Some(crate::registry::Off::Disabled), ..on() };
    let fixture = Fixture::at(START, vec![off()]);
    assert_eq!(fixture.pass(10_000), [0; 0]);
    let status = fixture.status();
    assert_eq!((status.state, status.next, status.missed), (ScheduleState::Disabled, None, 0));
    assert_eq!(status.reason.as_deref(), Some("`disable` is true"));
    fixture.install(vec![on()]);
    assert_eq!(fixture.look(), [10_000], "its immediate run");
    fixture.install(vec![off()]);
    assert_eq!((fixture.look(), fixture.pass(5_000)), (vec![], vec![]));
    fixture.install(vec![on()]);
    assert_eq!(fixture.look(), [0; 0], "no second immediate run, and nothing is made up");
    assert_eq!((fixture.pass(1_000), fixture.status().missed), (vec![16_000], 0));
}

#[tokio::test]
async fn a_swap_neither_misses_nor_doubles_a_due_time() {
    let fixture = Fixture::start(r#"{ "interval": "1s" }"#);
    let mut seen = Vec::new();
    for step in 0..200 {
        // Swaps just before, at and after due times; every fifth changes the data only.
        let data = Payload::Text((step / 5).to_string());
        fixture.install(vec![Schedule { data, ..schedule("s", r#"{ "interval": "1s" }"#) }]);
        seen.extend(fixture.pass(130));
    }
    let expected: Vec<u64> = (1..=26).map(|second| second * 1_000).collect();
    assert_eq!((seen, fixture.status().missed), (expected, 0));
}

#[tokio::test]
async fn a_swap_to_other_times_repeats_no_due_time() {
    let fixture = Fixture::start(r#"{ "interval": "10s" }"#);
    assert_eq!(fixture.pass(10_000), [10_000]);
    fixture.install(vec![schedule("s", r#"{ "interval": "5s" }"#)]);
    assert_eq!(fixture.look(), [0; 0]);
    assert_eq!(fixture.pass(5_500), [15_000]);
    // What was due before the swap was seen still runs.
    fixture.clock.pass(4_500);
    fixture.install(vec![schedule("s", r#"{ "interval": "7s" }"#)]);
    assert_eq!(fixture.look(), [20_000]);
    assert_eq!(fixture.pass(1_000 + START.next_multiple_of(7_000) - START).len(), 1);
    assert_eq!(fixture.status().missed, 0);
}

#[tokio::test]
async fn a_module_that_was_removed_runs_no_more() {
    let fixture = Fixture::start(r#"{ "interval": "1s" }"#);
    fixture.hold();
    assert_eq!(fixture.pass(1_000), [1_000]);
    fixture.install(Vec::new());
    assert_eq!(fixture.look(), [0; 0]);
    assert_eq!(fixture.pass(1_000), [0; 0]);
    assert_eq!(fixture.schedules.status(), []);
    // The run of the removed schedule does not occupy the place of the new one.
    fixture.install(vec![schedule("s", r#"{ "interval": "1s" }"#)]);
    fixture.look();
    assert_eq!((fixture.pass(1_000), fixture.status().running), (vec![3_000], 1));
    fixture.end(CallEnd::Ended(Ok(Reply::default())));
    until(|| fixture.events.count() == 1).await;
    assert_eq!((fixture.status().running, fixture.status().succeeded), (1, 0));
}

/// The roster still has the module, or had it when the run was due, but no worker has it any more.
#[tokio::test]
async fn a_run_that_no_worker_has_the_schedule_for_is_counted_and_logged() {
    let log = Lines::default();
    let _logs = tracing::subscriber::set_default(log.clone());
    let fixture = Fixture::start(r#"{ "interval": "1s" }"#);
    fixture.backend.workers.lock().clear();
    assert_eq!(fixture.pass(1_000), [0; 0]);
    assert_eq!(fixture.status().missed, 1);
    fixture.clock.pass(1_000);
    fixture.install(Vec::new());
    assert_eq!((fixture.look(), fixture.schedules.status()), (vec![], vec![]));
    let lines = log.0.lock().clone();
    for (line, due) in lines.iter().zip([START + 1_000, START + 2_000]) {
        for words in ["a run was missed", "module=m", "schedule=s", &format!("due={due}")] {
            assert!(line.contains(words), "{line}");
        }
    }
    assert_eq!(lines.len(), 2, "{lines:?}");
}
