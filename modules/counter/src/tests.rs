use fanfare_sdk::prelude::*;

use super::{MAX_KEYS, Module};

fn counter(workers: u32) -> TestHost {
    TestHost::builder(Module).name("counter").manifest(include_str!("../module.json")).workers(workers).start()
}

fn add(host: &TestHost, worker: u32, key: &str, body: &str) -> Result<Value, CallError> {
    Ok(host.request(&format!("POST {key}")).on(worker).body(body).send()?.json()?)
}

fn name(error: CallError) -> String {
    error.failure().unwrap().name.clone()
}

#[test]
fn each_worker_counts_its_own_requests_and_the_total_adds_them_up() {
    let host = counter(3);
    assert_eq!(add(&host, 0, "a", "").unwrap(), json!({"isolate": "worker-0", "key": "a", "count": 1}));
    assert_eq!(add(&host, 0, "a", "").unwrap()["count"], 2);
    assert_eq!(add(&host, 1, "a", "40").unwrap(), json!({"isolate": "worker-1", "key": "a", "count": 40}));
    let total = host.call("GET a", ()).unwrap().json::<Value>().unwrap();
    let workers = json!([
        {"isolate": "worker-0", "count": 2},
        {"isolate": "worker-1", "count": 40},
        {"isolate": "worker-2", "count": 0},
    ]);
    assert_eq!(total, json!({"key": "a", "total": 42, "workers": workers}));
}

#[test]
fn the_module_root_lists_the_total_of_every_key() {
    let host = counter(2);
    assert_eq!(host.call("GET ", ()).unwrap().text(), "{}");
    add(&host, 0, "b", "").unwrap();
    add(&host, 1, "b", "").unwrap();
    add(&host, 1, "a%20b", "5").unwrap();
    assert_eq!(host.call("GET ", ()).unwrap().text(), r#"{"a b":5,"b":2}"#);
}

#[test]
fn an_invalid_or_too_large_amount_is_rejected_and_counts_nothing() {
    let host = counter(1);
    for body in ["-1", "1.5", "\"1\"", "x"] {
        assert!(add(&host, 0, "a", body).is_err(), "{body}");
    }
    let max = u64::MAX.to_string();
    assert_eq!(add(&host, 0, "a", &max).unwrap()["count"], json!(u64::MAX));
    assert_eq!(name(add(&host, 0, "a", "").unwrap_err()), "too-much");
    assert_eq!(host.call("GET a", ()).unwrap().json::<Value>().unwrap()["total"], json!(u64::MAX));
}

#[test]
fn a_worker_rejects_keys_beyond_the_maximum() {
    let host = counter(1);
    for number in 0..MAX_KEYS {
        add(&host, 0, &number.to_string(), "").unwrap();
    }
    assert_eq!(name(add(&host, 0, "more", "").unwrap_err()), "too-many-keys");
    assert_eq!(add(&host, 0, "0", "").unwrap()["count"], 2, "known keys still count");
}

#[test]
fn each_worker_keeps_its_counts_in_a_swap_and_loses_them_in_a_crash() {
    let host = counter(2);
    add(&host, 0, "a", "3").unwrap();
    add(&host, 1, "a", "4").unwrap();
    host.swap();
    assert_eq!(add(&host, 0, "a", "").unwrap()["count"], 4);
    assert_eq!(add(&host, 1, "a", "").unwrap()["count"], 5);
    host.restart(1);
    assert_eq!(add(&host, 1, "a", "").unwrap()["count"], 1, "a crash loses the counts of its worker");
}
