use fanfare_sdk::prelude::*;

use super::{MOST, Module};

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
fn a_worker_counts_what_it_is_asked_and_the_total_is_that_of_all() {
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
fn all_totals_are_listed_by_key() {
    let host = counter(2);
    assert_eq!(host.call("GET ", ()).unwrap().text(), "{}");
    add(&host, 0, "b", "").unwrap();
    add(&host, 1, "b", "").unwrap();
    add(&host, 1, "a%20b", "5").unwrap();
    assert_eq!(host.call("GET ", ()).unwrap().text(), r#"{"a b":5,"b":2}"#);
}

#[test]
fn what_is_no_number_or_too_much_is_refused_and_counts_nothing() {
    let host = counter(1);
    for body in ["-1", "1.5", "\"1\"", "x"] {
        assert!(add(&host, 0, "a", body).is_err(), "{body}");
    }
    let most = u64::MAX.to_string();
    assert_eq!(add(&host, 0, "a", &most).unwrap()["count"], json!(u64::MAX));
    assert_eq!(name(add(&host, 0, "a", "").unwrap_err()), "too-much");
    assert_eq!(host.call("GET a", ()).unwrap().json::<Value>().unwrap()["total"], json!(u64::MAX));
}

#[test]
fn there_is_room_for_so_many_keys() {
    let host = counter(1);
    for number in 0..MOST {
        add(&host, 0, &number.to_string(), "").unwrap();
    }
    assert_eq!(name(add(&host, 0, "more", "").unwrap_err()), "too-many-keys");
    assert_eq!(add(&host, 0, "0", "").unwrap()["count"], 2, "known keys go on");
}

#[test]
fn counts_outlive_a_swap_each_in_its_worker() {
    let host = counter(2);
    add(&host, 0, "a", "3").unwrap();
    add(&host, 1, "a", "4").unwrap();
    host.swap();
    assert_eq!(add(&host, 0, "a", "").unwrap()["count"], 4);
    assert_eq!(add(&host, 1, "a", "").unwrap()["count"], 5);
    host.restart(1);
    assert_eq!(add(&host, 1, "a", "").unwrap()["count"], 1, "a crash loses those of its worker");
}
