mod status;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::call::{self, CallError, Failure, IsolateId, Payload, ProblemCode, Trace};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name).with_extension("json")
}

/// Compares a document with its golden file, and reads the file back. `FANFARE_BLESS=1 cargo test`
/// updates the file.
fn compare<T: Serialize + DeserializeOwned>(name: &str, document: &T) {
    let text = serde_json::to_string_pretty(document).unwrap() + "\n";
    let file = golden(name);
    if std::env::var_os("FANFARE_BLESS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &text).unwrap();
    }
    let there = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        there, text,
        "tests/golden/{name}.json differs from what the host writes: run FANFARE_BLESS=1 cargo test"
    );
    let read: T = serde_json::from_str(&there).unwrap();
    assert_eq!(serde_json::to_string_pretty(&read).unwrap() + "\n", text, "{name}");
}

fn reloaded() -> Reloaded {
    Reloaded {
        module: "flags".into(),
        outcome: ReloadOutcome::Swapped,
        generation: Some("0123456789ab".into()),
        from: Some("ba9876543210".into()),
        running: 0,
        pinned: false,
        durable: true,
        restart: Vec::new(),
        nodes: Vec::new(),
    }
}

/// The error when a guest returns a failure.
fn failure() -> CallError {
    let data = Payload::Text(r#"{"max": 3.00}"#.into());
    CallError::Failure(Failure {
        name: "full".into(),
        message: "no room".into(),
        status: 409,
        data,
        ..Failure::default()
    })
}

#[test]
fn reloads_and_rollbacks_match_their_golden_files() {
    compare("reloaded", &reloaded());
    let reason = "module.json:1:1: component: is required".into();
    let entries = vec![
        ReloadEntry::Reloaded(Reloaded {
            running: 2,
            pinned: true,
            durable: false,
            restart: vec!["http.listen".into()],
            ..reloaded()
        }),
        ReloadEntry::Reloaded(Reloaded {
            module: "gone".into(),
            outcome: ReloadOutcome::Removed,
            generation: None,
            from: None,
            ..reloaded()
        }),
        ReloadEntry::Refused(RefusedReload { module: "bad".into(), outcome: Refusal::Refused, reason }),
    ];
    compare("reload-all", &entries);
}

#[test]
fn kills_match_their_golden_files() {
    compare("kill-request", &KillRequest { id: Some(1), immediate: true });
    let module =
        |module: &str, crashed| KilledModule { module: module.into(), generation: "0123456789ab".into(), crashed };
    let killed = vec![
        KilledIsolate { isolate: "worker-0".into(), modules: vec![module("chat", 0), module("flags", 2)] },
        KilledIsolate { isolate: "worker-1".into(), modules: Vec::new() },
    ];
    compare("killed", &killed);
}

#[test]
fn a_kill_request_may_leave_everything_out() {
    let read = |text| serde_json::from_str::<KillRequest>(text);
    assert_eq!(read("{}").unwrap().mode(), KillMode::Graceful);
    assert_eq!(read(r#"{"immediate":true}"#).unwrap().mode(), KillMode::Immediate);
    for wrong in [r#"{"ID":0}"#, r#"{"id":-1}"#, r#"{"id":"0"}"#, "1"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn calls_and_broadcasts_match_their_golden_files() {
    compare("queued", &Queued { isolate: "worker-0".into(), module: "chat".into() });
    let skipped = call::Skipped { isolate: IsolateId::Worker(1), node: None, reason: "failed".into() };
    let receipt = call::Receipt { id: 7, seq: 3, accepted: 1, skipped: vec![skipped], extra: Vec::new() };
    compare("receipt", &Receipt::from(receipt));
    let text = |text: &str| call::Reply {
        headers: vec![("content-type".into(), "application/json".into())],
        payload: Payload::Text(text.into()),
        ..call::Reply::default()
    };
    compare("reply", &Reply::from(text("{\"seen\": 1}")));
    let entry = |index, outcome| {
        GatherEntry::from(call::GatherEntry { isolate: IsolateId::Worker(index), node: None, outcome })
    };
    let empty = call::Reply::default();
    compare("entries", &vec![entry(0, Ok(text("on"))), entry(1, Ok(empty)), entry(2, Err(failure()))]);
}

#[test]
fn problems_match_their_golden_files() {
    let trace: Trace = Trace::from_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
    let problem = call::Problem { module: Some("flags".into()), trace: Some(trace), ..failure().into() };
    compare("problem-of-a-guest", &problem.into_document());
    let problem = call::Problem::new(ProblemCode::NotFound, "no route `x`");
    compare("problem-of-the-host", &problem.into_document());
}

#[test]
fn every_key_is_in_camel_case() {
    fn keys(value: &Value, file: &str) {
        for (key, value) in value.as_object().into_iter().flatten() {
            assert!(
                key.chars().all(|c| c.is_ascii_alphanumeric()) && key.starts_with(char::is_lowercase),
                "{file}: {key}"
            );
            // A guest chooses the keys of its data.
            if key != "data" {
                keys(value, file);
            }
        }
        value.as_array().into_iter().flatten().for_each(|value| keys(value, file));
    }
    let mut count = 0;
    for entry in fs::read_dir(golden("x").parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        keys(&serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap(), &path.display().to_string());
        count += 1;
    }
    assert_eq!(count, 19, "every document has one golden file");
}

#[test]
fn the_data_of_a_guest_is_sent_byte_for_byte() {
    let [entry] =
        [GatherEntry::from(call::GatherEntry { isolate: IsolateId::Worker(0), node: None, outcome: Err(failure()) })];
    let text = serde_json::to_string(&entry).unwrap();
    assert!(text.ends_with(r#""data":{"max": 3.00}}}"#), "{text}");
}

#[test]
fn a_state_that_only_another_version_knows_is_unknown() {
    assert_eq!(serde_json::from_str::<State>("\"paused\"").unwrap(), State::Unknown);
}

#[test]
fn a_state_is_displayed_as_in_json() {
    use State::{Failed, Loading, Ready, Refused, Restarting, Starting, Unknown, Waiting};
    for state in [Loading, Waiting, Refused, Ready, Starting, Restarting, Failed, Unknown] {
        assert_eq!(serde_json::to_value(state).unwrap(), state.to_string());
    }
}

/// A schedule whose last run has failed.
fn tick() -> ScheduleStatus {
    let last = LastRun {
        id: "node-1-19a6f0e1c00-7".into(),
        worker: 1,
        due: 1_795_670_570_000,
        success: false,
        run_time: 12,
        message: Some("no room".into()),
    };
    ScheduleStatus {
        module: "ticker".into(),
        name: "tick".into(),
        kind: "worker".into(),
        interval: Some(5_000),
        immediate: true,
        overlap: "skip".into(),
        next: Some(1_795_670_575_000),
        running: 1,
        succeeded: 7,
        failed: 1,
        skipped: 2,
        missed: 3,
        last: Some(last),
        ..ScheduleStatus::default()
    }
}

#[test]
fn schedules_match_their_golden_file() {
    let tick = tick();
    let clean = ScheduleStatus {
        name: "clean".into(),
        subdomain: Some("acme".into()),
        kind: "all".into(),
        interval: None,
        cron: Some("0 3 * * *".into()),
        tz: Some("Europe/Berlin".into()),
        end_date: Some(1_798_761_599_000),
        immediate: false,
        state: ScheduleState::Disabled,
        reason: Some("`disable` is true".into()),
        next: None,
        last: None,
        ..tick.clone()
    };
    compare("schedules", &vec![tick, clean]);
}

fn orders() -> SubscriptionStatus {
    SubscriptionStatus {
        module: "shop".into(),
        name: "orders".into(),
        source: "event".into(),
        topic: "order/*".into(),
        deliver: Some("one".into()),
        overflow: Some("drop-oldest".into()),
        waiting: 3,
        waiting_bytes: 900,
        delivered: 7,
        failed: 1,
        dropped: 2,
        gaps: 1,
        missed: 4,
        failure: Some("no stock".into()),
        ..SubscriptionStatus::default()
    }
}

#[test]
fn durable_broadcasts_match_their_golden_file() {
    let shop = DurableModule {
        module: "shop".into(),
        reading: true,
        reason: Some("delivery 1 of chair is refused".into()),
        position: 40,
        running: Some(41),
        pending: 2,
    };
    let chat = DurableModule { module: "chat".into(), position: 7, reading: true, ..DurableModule::default() };
    let status = DurableStatus {
        stream: Some("fanfare_broadcasts".into()),
        queued: 1,
        queued_bytes: 420,
        modules: vec![chat, shop],
    };
    compare("durable", &status);
    let parked = ParkedBroadcast {
        id: 3,
        time: 1_764_144_000_000,
        module: "shop".into(),
        broadcast: "priceChanged".into(),
        node: "shop-1".into(),
        workers: vec![0, 1],
        position: 41,
        tries: 5,
        reason: "no such article".into(),
        size: 19,
        payload: r#"{"article":"chair"}"#.into(),
    };
    compare("parked", &ParkedBroadcasts { broadcasts: vec![parked], more: false });
}

#[test]
fn subscriptions_match_their_golden_file() {
    let orders = orders();
    let jobs = SubscriptionStatus {
        name: "jobs".into(),
        source: "redisStream".into(),
        topic: "jobs".into(),
        group: Some("fanfare".into()),
        connection: Some("default".into()),
        overflow: Some("wait".into()),
        failure: None,
        ..orders.clone()
    };
    let made = SubscriptionStatus { name: "a -> POST on".into(), isolate: Some("worker-1".into()), ..orders.clone() };
    compare("subscriptions", &vec![orders, jobs, made]);
}

#[test]
fn the_documents_of_the_event_service_match_their_golden_files() {
    let limits = EventServiceLimits { body: 1_048_576, list: 1_000, rate: 10_000, subscribers: 1_000 };
    let status = EventServiceStatus {
        service: "fanfare-events".into(),
        version: "0.1.0".into(),
        position: "19a6f0e1c00-7".into(),
        kept: 7,
        subscribers: 2,
        emitted: 5,
        limits,
    };
    compare("event-service", &status);
    compare("emitted-event", &EmittedEvent { position: "19a6f0e1c00-7".into() });
    compare("emitted-events", &EmittedEvents { positions: vec!["19a6f0e1c00-7".into(), "19a6f0e1c00-8".into()] });
    let value = serde_json::value::RawValue::from_string(r#"{"id": 7}"#.into()).unwrap();
    compare("service-event", &ServiceEvent { kind: "order/paid".into(), value, source: Some("till".into()) });
}
