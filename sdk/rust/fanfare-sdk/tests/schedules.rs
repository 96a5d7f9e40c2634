//! Handlers that schedules run.

use fanfare_sdk::prelude::*;

#[handler]
fn tick(schedule: Schedule, data: Option<Json<Value>>) -> Json<Value> {
    let data = data.map(|data| data.0);
    Json(json!({ "name": schedule.name, "run": schedule.run, "data": data, "isolate": host::isolate() }))
}

#[handler]
fn either(schedule: Option<Schedule>, cx: Context) -> Json<Value> {
    Json(json!({ "due": schedule.is_some_and(|schedule| schedule.due_ms > 0), "kind": cx.trigger().kind() }))
}

fanfare_sdk::module!(tick, either);

fn host() -> TestHost {
    let manifest = r#"{
        "routes": [{ "path": "tick", "handler": "tick" }, { "path": "either", "handler": "either" }],
        "schedules": {
            "one": { "path": "tick", "interval": "5s", "data": { "a": 1 } },
            "every": { "path": "POST tick", "cron": "@hourly", "type": "all" },
            "either": { "path": "either", "immediate": true },
        },
    }"#;
    TestHost::builder(Module).manifest(manifest).workers(2).start()
}

fn run(host: &TestHost, name: &str, payload: Payload) -> Vec<Value> {
    let entries = host.run_schedule(name, payload).unwrap();
    entries.into_iter().map(|entry| entry.outcome.unwrap().json().unwrap()).collect()
}

#[test]
fn a_schedule_runs_in_turns_with_its_data() {
    let host = host();
    let places: Vec<Value> =
        (0..3).map(|_| run(&host, "one", Payload::None).remove(0)).map(|run| run["isolate"].clone()).collect();
    assert_eq!(places, ["worker-0", "worker-1", "worker-0"]);
    let first = run(&host, "one", Payload::None).remove(0);
    assert_eq!((&first["name"], &first["data"]), (&json!("one"), &json!({ "a": 1 })));
    assert_eq!(run(&host, "one", Payload::Text("2".into()))[0]["data"], 2, "a payload replaces the data");
}

#[test]
fn a_schedule_of_the_type_all_runs_in_every_worker() {
    let runs = run(&host(), "every", Payload::None);
    assert_eq!(runs.len(), 2);
    assert_eq!((&runs[1]["isolate"], &runs[1]["data"]), (&json!("worker-1"), &Value::Null));
    assert_eq!(runs[0]["run"], runs[1]["run"]);
}

#[test]
fn only_a_schedule_reaches_a_handler_with_a_schedule() {
    let host = host();
    let failure = host.call("tick", ()).unwrap_err();
    assert_eq!(failure.failure().map(|failure| (failure.name.as_str(), failure.status)), Some(("not-a-schedule", 400)));
    assert_eq!(host.call("either", ()).unwrap().json::<Value>().unwrap()["due"], false);
    assert_eq!(run(&host, "either", Payload::None)[0], json!({ "due": true, "kind": "schedule" }));
    assert_eq!(host.run_schedule("none", ()).unwrap_err().kind(), "not-found");
}
