//! Schedules that make up for missed due times.

use super::claims::Nodes;
use super::*;
use crate::ports::{Claim, Tick};

const RUN_ONCE: &str = r#"{ "interval": "1s", "missed": "run-once", "overlap": "skip", "backoff": "10ms" }"#;
const HANDLED: Result<Claim, CallError> = Ok(Claim::Taken { runs: false });

fn owing() -> (Fixture, Arc<Nodes>) {
    let nodes = Arc::new(Nodes::default());
    (Fixture::of(START, vec![schedule("s", RUN_ONCE)], Some(nodes.clone())), nodes)
}

/// Granted, after a time relative to the start.
fn after(ms: u64) -> Result<Claim, CallError> {
    Ok(Claim::Granted { after: START + ms })
}

fn facts(tick: &Tick) -> (u64, bool, bool, u64) {
    let making = tick.making.clone().unwrap();
    (tick.due - START, making.is_check, making.is_anew, making.done.saturating_sub(START))
}

#[tokio::test]
async fn a_schedule_asks_at_its_start_and_makes_up_for_all_with_one_run() {
    let (fixture, nodes) = owing();
    let tick = nodes.answer(&fixture, Ok(Claim::Granted { after: START - 5_000 })).await;
    assert_eq!(facts(&tick), (0, true, false, 0));
    until(|| nodes.done() == [Some(0)]).await;
    let status = fixture.status();
    assert_eq!((status.succeeded, status.missed, status.made_up, status.makes_up), (1, 5, 1, true));
    assert_eq!(fixture.taken().len(), 1);
    // The next due time is on time.
    fixture.pass(1_000);
    let tick = nodes.answer(&fixture, after(0)).await;
    assert_eq!(facts(&tick), (1_000, false, false, 0));
    until(|| nodes.done() == [Some(0), Some(1_000)]).await;
    assert_eq!((fixture.status().missed, fixture.status().made_up), (5, 1));
    fixture.pass(900);
    assert_eq!(nodes.asked(), 0, "nothing is owed");
}

#[tokio::test]
async fn a_run_of_another_node_is_asked_about_until_it_has_ended_or_is_lost() {
    let (fixture, nodes) = owing();
    nodes.answer(&fixture, HANDLED).await;
    fixture.pass(1_000);
    nodes.answer(&fixture, Ok(Claim::Taken { runs: true })).await;
    for pause in [0, 500] {
        fixture.pass(pause);
        let tick = nodes.answer(&fixture, Ok(Claim::Taken { runs: true })).await;
        assert_eq!(facts(&tick), (1_000, true, false, 0));
    }
    fixture.pass(499);
    assert_eq!(nodes.asked(), 0, "the pause grows");
    fixture.pass(1);
    // The due time at 2 s, and then nothing more, because the other node has run it.
    nodes.answer(&fixture, HANDLED).await;
    fixture.pass(500);
    assert_eq!(nodes.asked(), 0);
    fixture.pass(500);
    nodes.answer(&fixture, Ok(Claim::Overlaps)).await;
    assert_eq!(fixture.status().skipped, 1);
    fixture.look();
    nodes.answer(&fixture, after(2_000)).await;
    until(|| nodes.done().len() == 1).await;
    assert_eq!((fixture.status().missed, fixture.status().made_up), (1, 1));
}

#[tokio::test]
async fn without_an_answer_a_due_time_stays_owed_and_a_long_time_away_is_one_run() {
    let (fixture, nodes) = owing();
    nodes.answer(&fixture, HANDLED).await;
    let away = || Err(CallError::Unavailable("NATS is away".to_owned()));
    fixture.pass(1_000);
    assert_eq!(facts(&nodes.answer(&fixture, away()).await), (1_000, false, false, 0));
    for pause in [0, 500] {
        fixture.pass(pause);
        assert_eq!(facts(&nodes.answer(&fixture, away()).await), (1_000, true, false, 0));
    }
    assert_eq!((fixture.status().missed, fixture.taken().len()), (0, 0), "it is counted when it is made up for");
    // The machine sleeps for a day.
    fixture.jump(DAY + 500);
    assert_eq!(nodes.asked(), 1, "one question about the newest due time");
    let tick = nodes.answer(&fixture, after(0)).await;
    assert_eq!(tick.due - START, DAY);
    until(|| nodes.done() == [Some(DAY)]).await;
    let status = fixture.status();
    assert_eq!((status.succeeded, status.made_up, fixture.taken().len()), (1, 1, 1));
    assert_eq!(status.missed, DAY / 1_000 - 1, "the newest one is on time");
    // Back in time, nothing is repeated.
    fixture.jump(DAY - 600_000);
    fixture.pass(10_000);
    assert_eq!((nodes.asked(), fixture.taken().len()), (0, 0));
}

#[tokio::test]
async fn what_is_due_during_a_run_is_skipped_and_not_owed() {
    let (fixture, nodes) = owing();
    nodes.answer(&fixture, HANDLED).await;
    fixture.hold();
    fixture.pass(1_000);
    nodes.answer(&fixture, after(0)).await;
    until(|| fixture.status().running == 1).await;
    fixture.pass(2_000);
    assert_eq!((nodes.asked(), fixture.status().skipped), (0, 1), "it skips, and asks nobody");
    fixture.end_one().await;
    until(|| nodes.done() == [Some(3_000)]).await;
    assert_eq!((fixture.status().missed, fixture.status().made_up), (0, 0));
}

#[tokio::test]
async fn a_run_that_fails_runs_again_and_is_given_up_after_its_attempts() {
    let (fixture, nodes) = owing();
    nodes.answer(&fixture, HANDLED).await;
    fixture.backend.fails.store(true, Ordering::Relaxed);
    fixture.pass(1_000);
    nodes.answer(&fixture, after(0)).await;
    until(|| fixture.status().failed == 5).await;
    until(|| nodes.done().len() == 1).await;
    let runs = fixture.taken();
    assert_eq!(runs.len(), 5);
    assert!(runs.iter().all(|run| run.run.id == runs[0].run.id && run.run.due == START + 1_000));
    let status = fixture.status();
    assert_eq!((status.given_up, status.made_up), (1, 0));
    let counts = fixture.schedules.counts().remove(0).1;
    assert_eq!((counts.retried, counts.given_up), (4, 1));
    // The runs, and the last word about them.
    until(|| fixture.events.count() == 6).await;
    let Some(EventItem::Event(last)) = fixture.events.read_newest(1).try_next() else { panic!() };
    assert!(matches!(last.event, HostEvent::ScheduleGivenUp { tries: 5, .. }), "{last:?}");
}

#[tokio::test]
async fn a_run_that_finds_no_worker_stays_owed() {
    let (fixture, nodes) = owing();
    nodes.answer(&fixture, HANDLED).await;
    let workers = std::mem::take(&mut *fixture.backend.workers.lock());
    fixture.pass(1_000);
    assert_eq!(nodes.asked(), 0, "another node may run it");
    *fixture.backend.workers.lock() = workers;
    fixture.pass(500);
    let tick = nodes.answer(&fixture, after(0)).await;
    assert_eq!(facts(&tick), (1_000, true, false, 0));
    until(|| nodes.done().len() == 1).await;
}

#[tokio::test]
async fn a_run_that_could_not_take_place_is_asked_about_at_once() {
    // The module is removed while the nodes agree.
    let (fixture, nodes) = owing();
    nodes.answer(&fixture, HANDLED).await;
    fixture.pass(1_000);
    let (_, answer) = nodes.take();
    let workers = std::mem::take(&mut *fixture.backend.workers.lock());
    answer.send(after(0)).unwrap();
    until(|| nodes.done() == [None]).await;
    assert_eq!((fixture.status().missed, fixture.taken().len()), (0, 0));
    *fixture.backend.workers.lock() = workers;
    let asks_again = || {
        fixture.look();
        nodes.asked() == 1
    };
    until(asks_again).await;
    // The module fails before the run starts.
    fixture.hold();
    nodes.answer(&fixture, after(0)).await;
    until(|| fixture.status().running == 1).await;
    fixture.end(CallEnd::Ended(Err(CallError::Unavailable("m has failed".to_owned()))));
    until(|| nodes.done() == [None, None]).await;
    fixture.pass(500);
    nodes.answer(&fixture, after(0)).await;
    until(|| fixture.status().running == 1).await;
    fixture.end_one().await;
    until(|| nodes.done().last() == Some(&Some(1_000))).await;
    assert_eq!((fixture.status().failed, fixture.status().succeeded), (1, 1));
}

#[tokio::test]
async fn a_schedule_that_is_changed_or_enabled_owes_nothing_from_before() {
    let (fixture, nodes) = owing();
    nodes.answer(&fixture, HANDLED).await;
    let off = Schedule { off: Some(crate::registry::Off::Disabled), ..schedule("s", RUN_ONCE) };
    fixture.install(vec![off]);
    fixture.look();
    assert_eq!(fixture.pass(10_000), [0; 0]);
    assert_eq!(nodes.asked(), 0);
    fixture.install(vec![schedule("s", RUN_ONCE)]);
    fixture.look();
    fixture.look();
    let tick = nodes.answer(&fixture, HANDLED).await;
    assert_eq!(facts(&tick), (10_000, true, true, 0));
    fixture.install(vec![schedule("s", r#"{ "interval": "2s", "missed": "run-once", "overlap": "skip" }"#)]);
    fixture.look();
    fixture.look();
    assert!(nodes.answer(&fixture, HANDLED).await.making.unwrap().is_anew);
    fixture.pass(2_000);
    assert!(!nodes.answer(&fixture, after(10_000)).await.making.unwrap().is_anew);
}

#[tokio::test]
async fn one_claim_of_a_schedule_waits_at_a_time() {
    let (fixture, nodes) = owing();
    nodes.answer(&fixture, HANDLED).await;
    for _ in 0..10 {
        fixture.pass(1_000);
    }
    assert_eq!(nodes.asked(), 1);
    // The newest one is asked about when that has ended.
    nodes.answer(&fixture, HANDLED).await;
    fixture.pass(1);
    fixture.pass(4_000);
    assert!(nodes.asked() == 1);
}
