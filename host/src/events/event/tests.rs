use serde_json::json;

use super::*;
use crate::call::IsolateId;
use crate::call::text::MESSAGE;

fn json(event: HostEvent) -> serde_json::Value {
    serde_json::to_value(EventRecord { number: 1, time: 2, event }).unwrap()
}

#[test]
fn an_event_is_one_object_with_camel_case_keys() {
    let exit = HostEvent::isolate_exit(IsolateId::Worker(3), "killed").unwrap();
    let pid = std::process::id();
    let expected = json!({
        "number": 1, "time": 2, "type": "workerExit",
        "id": 3, "pid": pid, "code": null, "signal": null, "reason": "killed",
    });
    assert_eq!(json(exit.clone()), expected);
    let record: EventRecord = serde_json::from_value(expected).unwrap();
    assert_eq!(record, EventRecord { number: 1, time: 2, event: exit });
    let ready = HostEvent::WorkerClusterReady { pid, child_process: None };
    let expected = json!({ "number": 1, "time": 2, "type": "workerClusterReady", "pid": pid, "childProcess": null });
    assert_eq!(json(ready), expected);
}

#[test]
fn every_event_has_a_true_example() {
    let mut names = Vec::new();
    for text in include_str!("examples.jsonl").lines() {
        let example: serde_json::Value = serde_json::from_str(text).unwrap();
        let event: HostEvent = serde_json::from_value(example.clone()).unwrap();
        assert_eq!(serde_json::to_value(&event).unwrap(), example);
        names.push(event.name());
    }
    let texts = include_str!("texts.rs");
    let all: Vec<_> = texts.split("{ .. } => \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(names, all, "each event, in the order of the enum");
}

#[test]
fn the_name_of_an_event_is_its_type_in_json() {
    for event in [
        HostEvent::Info { message: String::new() },
        HostEvent::HostReady { pid: 1, workers: 2, brokers: 0 },
        HostEvent::SwapRolledBack { module: "m".into(), from: "a".into(), to: "b".into(), reason: "c".into() },
        HostEvent::CanaryEnded { module: "m".into(), generation: "a".into(), promoted: true },
    ] {
        assert_eq!(json(event.clone())["type"], event.name());
    }
}

#[test]
fn an_origin_names_the_part_the_index_and_the_module() {
    let origin = |origin| serde_json::to_value(origin).unwrap();
    assert_eq!(origin(Origin::master()), json!({ "type": "Master" }));
    assert_eq!(origin(Origin::isolate(IsolateId::Broker(1))), json!({ "type": "Broker", "id": 1 }));
    let module = Origin::module(IsolateId::Worker(0), "chat");
    assert_eq!(origin(module), json!({ "type": "Worker", "id": 0, "module": "chat" }));
}

#[test]
fn a_long_or_dangerous_text_is_cut_and_escaped() {
    let long = HostEvent::Info { message: format!("\u{1b}{}", "x".repeat(2 * MESSAGE)) }.bounded();
    let HostEvent::Info { message } = long else { panic!() };
    assert!(message.len() <= MESSAGE + 64 && message.starts_with("\\u{1b}"), "{} bytes", message.len());
}
