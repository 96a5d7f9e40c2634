//! Where runs take place, and how their ends are reported.

use super::*;

#[tokio::test]
async fn workers_take_turns_and_those_that_are_not_ready_are_passed_over() {
    let fixture = Fixture::start(r#"{ "interval": "1s" }"#);
    let next = || {
        fixture.clock.pass(1_000);
        fixture.schedules.turn();
        fixture.taken().iter().map(|run| run.worker).collect::<Vec<_>>()
    };
    assert_eq!((0..3).flat_map(|_| next()).collect::<Vec<_>>(), [0, 1, 0]);
    let state = |worker, ready, failed| WorkerState { worker, ready, failed };
    *fixture.backend.workers.lock() = vec![state(0, true, false), state(1, false, false), state(2, true, false)];
    assert_eq!((0..3).flat_map(|_| next()).collect::<Vec<_>>(), [2, 0, 2], "worker 1 restarts");
    *fixture.backend.workers.lock() = vec![state(0, false, true), state(1, false, false)];
    assert_eq!((0..2).flat_map(|_| next()).collect::<Vec<_>>(), [1, 1], "the run waits for worker 1");
    *fixture.backend.workers.lock() = vec![state(0, false, true)];
    assert_eq!(next(), [0], "the run fails there with the reason");
    *fixture.backend.workers.lock() = Vec::new();
    assert_eq!(next(), [0; 0]);
}

#[tokio::test]
async fn the_calls_of_one_run_share_an_id_that_no_other_run_has() {
    let all = Schedule { kind: ScheduleKind::All, ..schedule("s", r#"{ "interval": "1s", "overlap": "allow" }"#) };
    let fixture = Fixture::at(START, vec![all]);
    let next_ids = || {
        fixture.clock.pass(1_000);
        fixture.schedules.turn();
        fixture.taken().iter().map(|run| run.run.id.clone()).collect::<Vec<_>>()
    };
    let (first, second) = (next_ids(), next_ids());
    assert_eq!((first.len(), &first[0]), (2, &first[1]));
    assert_ne!(first[0], second[0]);
}

#[tokio::test]
async fn a_run_that_fails_does_not_stop_the_next_one() {
    let fixture = Fixture::start(r#"{ "interval": "1s", "overlap": "skip" }"#);
    fixture.backend.fails.store(true, Ordering::Relaxed);
    for run in 1..=3 {
        assert_eq!(fixture.pass(1_000), [run * 1_000]);
        until(|| fixture.status().failed == run && fixture.status().running == 0).await;
    }
    let last = fixture.status().last.unwrap();
    assert_eq!((last.success, last.message.as_deref(), last.due), (false, Some("trapped"), START + 3_000));
}

#[tokio::test]
async fn a_run_by_hand_ignores_times_and_overlap_and_is_counted() {
    let off = Some(crate::registry::Off::Environment);
    let disabled = Schedule { off, ..schedule("s", r#"{ "interval": "1s" }"#) };
    let fixture = Fixture::at(START, vec![disabled]);
    let by_hand = |name| ByHand {
        module: "m",
        name,
        subdomain: None,
        payload: Payload::Text("1".into()),
        timeout: Duration::from_secs(1),
    };
    let (kind, entries) = fixture.schedules.run_by_hand(by_hand("s")).await.unwrap();
    assert_eq!((kind, entries.len(), entries[0].outcome.is_ok()), (ScheduleKind::Worker, 1, true));
    let run = fixture.taken().remove(0);
    assert_eq!((run.run.due, run.payload, run.timeout), (START, Some("1".into()), Some(Duration::from_secs(1))));
    assert_eq!((fixture.status().succeeded, fixture.status().running), (1, 0));
    let error = fixture.schedules.run_by_hand(by_hand("x")).await.unwrap_err();
    assert_eq!(error.to_string(), "m has no schedule `x`; it has: s");
    let error = fixture.schedules.run_by_hand(ByHand { module: "n", ..by_hand("s") }).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no module n");
    let error = fixture.schedules.run_by_hand(ByHand { subdomain: Some("acme"), ..by_hand("s") }).await.unwrap_err();
    assert!(error.to_string().contains("does not run for the subdomain acme"), "{error}");
}

#[tokio::test]
async fn each_run_raises_an_event_up_to_a_bound() {
    let fixture = Fixture::start(r#"{ "interval": 1 }"#);
    for run in 1..=u64::from(2 * EVENTS_PER_SECOND) {
        assert_eq!(fixture.pass(1), [run]);
        until(|| fixture.status().succeeded == run).await;
    }
    let raised = fixture.events.count();
    // The test may cross the border between two seconds.
    assert!(raised >= u64::from(EVENTS_PER_SECOND) && raised < u64::from(2 * EVENTS_PER_SECOND), "{raised} events");
    let Some(EventItem::Event(first)) = fixture.events.read_after(0).try_next() else { panic!() };
    let json = serde_json::to_value(&first.event).unwrap();
    let id = format!("node-1-{:x}-1", fixture.events.epoch);
    assert_eq!((&json["id"], &json["key"], &json["due"]), (&id.into(), &"m:s".into(), &(START + 1).into()));
    assert_eq!((&json["worker"], &json["success"], &json["message"]), (&0.into(), &true.into(), &().into()));
}

#[tokio::test]
async fn a_run_that_a_worker_returns_runs_in_another_one_once() {
    let fixture = Fixture::start(r#"{ "interval": "1s", "overlap": "skip" }"#);
    fixture.hold();
    fixture.clock.pass(1_000);
    fixture.schedules.turn();
    let first = fixture.taken().remove(0);
    assert_eq!((first.worker, first.movable), (0, true));
    fixture.end(CallEnd::Returned(CallError::Unavailable("restarting".to_owned())));
    until(|| fixture.backend.waiting.lock().len() == 1).await;
    let second = fixture.taken().remove(0);
    assert_eq!((second.worker, &second.run.id, second.run.due), (1, &first.run.id, first.run.due));
    assert_eq!(fixture.pass(1_000), [0; 0], "it still counts as running");
    assert_eq!((fixture.status().running, fixture.status().skipped), (1, 1));
    fixture.end_one().await;
    until(|| fixture.status().succeeded == 1).await;
    let status = fixture.status();
    assert_eq!((status.running, status.last.map(|last| last.worker)), (0, Some(1)));
    assert_eq!(fixture.events.count(), 1);
}

#[tokio::test]
async fn a_run_that_is_returned_while_its_module_is_removed_fails() {
    let fixture = Fixture::start(r#"{ "interval": "1s" }"#);
    fixture.hold();
    assert_eq!(fixture.pass(1_000), [1_000]);
    fixture.backend.workers.lock().clear();
    fixture.end(CallEnd::Returned(CallError::Unavailable("restarting".to_owned())));
    until(|| fixture.status().failed == 1).await;
    let last = fixture.status().last.unwrap();
    assert_eq!((last.message.as_deref(), last.worker), (Some("there is no module m"), 0));
}

#[tokio::test]
async fn a_run_in_all_workers_cannot_move() {
    let all = Schedule { kind: ScheduleKind::All, ..schedule("s", r#"{ "interval": "1s" }"#) };
    let fixture = Fixture::at(START, vec![all]);
    fixture.clock.pass(1_000);
    fixture.schedules.turn();
    assert!(fixture.taken().iter().all(|run| !run.movable));
}

#[tokio::test]
async fn a_stop_waits_until_the_ends_of_all_runs_are_reported() {
    let fixture = Fixture::start(r#"{ "interval": "1s" }"#);
    fixture.hold();
    assert_eq!(fixture.pass(1_000), [1_000]);
    fixture.tasks.close();
    fixture.end(CallEnd::Ended(Ok(Reply::default())));
    fixture.tasks.wait().await;
    assert_eq!(fixture.events.count(), 1);
}
