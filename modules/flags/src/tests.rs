use fanfare_sdk::prelude::*;

use super::Module;

fn flags(workers: u32) -> TestHost {
    TestHost::builder(Module).name("flags").manifest(include_str!("../module.json")).workers(workers).start()
}

fn get(host: &TestHost, worker: u32, name: &str) -> Result<String, CallError> {
    Ok(host.request(&format!("GET {name}")).on(worker).send()?.text().to_owned())
}

#[test]
fn every_worker_returns_a_value_exactly_as_it_was_written() {
    let host = flags(3);
    for value in ["true", "null", "{\"rollout\": 0.10, \"to\": [\"a\"]}", "12345678901234567890123", "\"dark\""] {
        let reply = host.call("PUT mode", value).unwrap();
        assert_eq!(reply.json::<Value>().unwrap(), json!({"name": "mode", "workers": 3}));
        for worker in 0..3 {
            assert_eq!(get(&host, worker, "mode").unwrap(), value);
        }
    }
    let reply = host.call("GET mode", ()).unwrap();
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

#[test]
fn the_module_root_lists_all_flags_by_name() {
    let host = flags(1);
    assert_eq!(host.call("GET ", ()).unwrap().text(), "{}");
    host.call("PUT b", json!(2)).unwrap();
    host.call("PUT a%20b", json!(null)).unwrap();
    assert_eq!(host.call("GET ", ()).unwrap().text(), r#"{"a b":null,"b":2}"#);
}

#[test]
fn no_worker_has_a_deleted_flag() {
    let host = flags(2);
    host.call("PUT mode", json!(1)).unwrap();
    host.request("DELETE mode").on(1).send().unwrap();
    for worker in 0..2 {
        let error = get(&host, worker, "mode").unwrap_err();
        let failure = error.failure().unwrap();
        assert_eq!((failure.name.as_str(), failure.status), ("no-such-flag", 404));
    }
    assert_eq!(host.call("DELETE mode", ()).unwrap_err().failure().unwrap().status, 404);
    assert_eq!(host.call("GET ", ()).unwrap().text(), "{}");
}

#[test]
fn a_body_that_is_not_json_is_rejected() {
    let host = flags(1);
    for body in ["", "{", "yes"] {
        assert_eq!(host.call("PUT mode", body).unwrap_err().failure().unwrap().name, "invalid-body");
    }
    assert!(host.emitted().is_empty());
}

#[test]
fn names_beyond_the_maximum_are_rejected_and_deleted_names_count() {
    use crate::store::MAX_NAMES;
    let host = flags(2);
    for number in 0..MAX_NAMES {
        host.call(&format!("PUT {number}"), "true").unwrap();
    }
    host.call("DELETE 0", ()).unwrap();
    let error = host.call("PUT more", "true").unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!((failure.name.as_str(), failure.status), ("too-many-flags", 507));
    assert_eq!(failure.message, "cannot set `more`: 1000 names are in use, the maximum");
    for worker in 0..2 {
        assert!(get(&host, worker, "more").is_err());
    }
    host.call("PUT 0", "1").unwrap();
    host.call("PUT 1", "2").unwrap();
    assert_eq!(get(&host, 1, "0").unwrap(), "1", "known names can still be set");
    host.restart(1);
    assert!(host.call("PUT more", "true").is_err(), "a restarted worker has caught up with the names too");
}

#[test]
fn a_new_instance_catches_up_from_the_other_workers() {
    let host = flags(3);
    host.call("PUT kept", json!(1)).unwrap();
    host.call("PUT gone", json!(2)).unwrap();
    host.call("DELETE gone", ()).unwrap();
    host.restart(1);
    assert_eq!(get(&host, 1, "kept").unwrap(), "1");
    assert!(get(&host, 1, "gone").is_err());
    host.call("PUT kept", json!(3)).unwrap();
    assert_eq!(get(&host, 1, "kept").unwrap(), "3");
}

#[test]
fn a_single_worker_restarts_without_flags() {
    let host = flags(1);
    host.call("PUT mode", json!(1)).unwrap();
    host.restart(0);
    assert!(get(&host, 0, "mode").is_err());
}

#[test]
fn an_older_change_has_no_effect() {
    use crate::store::{Change, Flags};
    let change = |value: Option<&str>| {
        let value = value.map(|value| serde_json::value::RawValue::from_string(value.to_owned()).unwrap());
        Change { name: "mode".to_owned(), value }
    };
    let mut flags = Flags::default();
    flags.apply(change(Some("2")), 2);
    flags.apply(change(Some("1")), 1);
    assert_eq!(flags.value("mode").unwrap().get(), "2");
    flags.apply(change(None), 4);
    flags.apply(change(Some("3")), 3);
    assert!(flags.value("mode").is_none());

    let text = serde_json::to_string(&flags).unwrap();
    let mut other: Flags = serde_json::from_str(&text).unwrap();
    other.apply(change(Some("3")), 3);
    assert!(other.value("mode").is_none());
}

#[test]
fn a_swap_keeps_the_flags() {
    for workers in [1, 2] {
        let host = flags(workers);
        host.call("PUT mode", json!(null)).unwrap();
        host.swap();
        for worker in 0..workers {
            assert_eq!(get(&host, worker, "mode").unwrap(), "null");
        }
    }
}
