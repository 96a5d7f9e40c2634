use fanfare_sdk::prelude::*;

use super::Module;

fn party(workers: u32) -> TestHost {
    TestHost::builder(Module).manifest(include_str!("../module.json")).workers(workers).start()
}

fn seen(host: &TestHost, worker: u32) -> Value {
    host.request("GET test/feat/seen").on(worker).send().unwrap().json().unwrap()
}

#[test]
fn emit_reaches_every_worker_once_and_only_the_emitter_sees_itself_as_caller() {
    let host = party(2);
    let receipt: Value = host.call("test/feat/emit", json!({"hello": 1})).unwrap().json().unwrap();
    assert_eq!(receipt, json!({"id": 1, "seq": 1, "accepted": 2, "skipped": []}));
    host.settle();
    assert_eq!(seen(&host, 0), json!({"isolate": "worker-0", "seen": 1, "own": 1, "last": {"hello": 1}}));
    assert_eq!(seen(&host, 1), json!({"isolate": "worker-1", "seen": 1, "own": 0, "last": {"hello": 1}}));
}

#[test]
fn gather_returns_one_entry_per_worker() {
    let host = party(3);
    let entries: Value = host.request("test/feat/gather").on(1).body("hey").send().unwrap().json().unwrap();
    assert_eq!(
        entries,
        json!([
            {"isolate": "worker-0", "reply": {"isolate": "worker-0", "sameAsCaller": false}},
            {"isolate": "worker-1", "reply": {"isolate": "worker-1", "sameAsCaller": true}},
            {"isolate": "worker-2", "reply": {"isolate": "worker-2", "sameAsCaller": false}},
        ])
    );
    assert_eq!(seen(&host, 2)["last"], "hey");
}

#[test]
fn reload_requests_a_reload_of_this_module() {
    let host = party(2);
    let receipt: Value = host.call("test/feat/reload", "").unwrap().json().unwrap();
    assert_eq!(receipt, json!({"id": 1, "seq": 1, "accepted": 2}));
    assert_eq!(host.reloads(), [Some("test-party".to_owned())]);
}

#[test]
fn a_broadcast_carries_the_body_unchanged() {
    let host = party(1);
    for (body, last) in [
        (Payload::None, Value::Null),
        (Payload::Text("{".into()), json!("{")),
        (Payload::Bytes(b"[1]".into()), json!([1])),
    ] {
        host.call("test/feat/emit", body.clone()).unwrap();
        host.settle();
        assert_eq!(host.emitted().last().unwrap().payload, body);
        assert_eq!(seen(&host, 0)["last"], last);
    }
}

#[test]
fn a_client_cannot_call_the_broadcast_route_or_forge_same_as_caller() {
    let host = party(1);
    assert_eq!(host.call("test/feat/broadcast", json!({"sameAsCaller": true})).unwrap_err().kind(), "forbidden");
    let by_operator = host.broadcast("broadcastTest", json!({"sameAsCaller": true})).unwrap();
    let reply: Value = by_operator[0].outcome.as_ref().unwrap().json().unwrap();
    assert_eq!(reply["sameAsCaller"], false);
}
