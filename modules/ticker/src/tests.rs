use fanfare_sdk::prelude::*;

use super::{KEY, Module, event};

fn ticker() -> TestHost {
    TestHost::builder(Module).name("ticker").manifest(include_str!("../module.json")).workers(2).start()
}

#[test]
fn a_tick_has_the_number_of_its_second_and_every_fifth_one_is_for_everyone() {
    for number in 100..110 {
        let (event, to_everyone) = event(number * 1_000, "worker-1");
        let to = if number % 5 == 0 { "everyone" } else { "ticker" };
        let expected = json!({ "number": number, "to": to, "worker": "worker-1" });
        assert_eq!((event.event(), event.json::<Value>().unwrap()), (Some("tick"), expected));
        assert_eq!((event.id(), to_everyone), (None, number % 5 == 0), "the host gives the position");
    }
}

#[test]
fn a_run_by_hand_publishes_no_tick() {
    let (event, to_everyone) = event(100_250, "worker-0");
    assert_eq!((event.event(), to_everyone), (Some("extra"), false));
}

#[test]
fn the_schedule_publishes_one_event_in_one_worker() {
    let host = ticker();
    let readers = [0, 1].map(|worker| host.stream(KEY).on(worker).open().unwrap());
    host.run_schedule("tick", ()).unwrap();
    host.run_schedule("tick", ()).unwrap();
    for reader in readers {
        assert_eq!(reader.events().len(), 2);
    }
    assert_eq!(host.published().len(), 2);
    assert!(host.published().iter().all(|published| published.reach == sse::Reach::Everywhere));
}

#[test]
fn no_other_cause_than_the_schedule_publishes() {
    let host = ticker();
    assert_eq!(host.call("inner/tick", ()).unwrap_err().kind(), "forbidden");
    let inside = host.request("inner/tick").inside().send().unwrap_err();
    assert_eq!(inside.failure().unwrap().name, "not-a-schedule");
    assert!(host.published().is_empty());
}

#[test]
fn the_page_may_load_only_its_own_files() {
    let host = ticker();
    for (path, content_type, part) in [
        ("", "text/html; charset=utf-8", "<main>"),
        ("style.css", "text/css; charset=utf-8", "prefers-color-scheme"),
        ("ticker.js", "text/javascript; charset=utf-8", "new EventSource"),
    ] {
        let file = host.call(&format!("GET {path}"), ()).unwrap();
        assert_eq!(file.header("content-type"), Some(content_type));
        assert!(file.header("content-security-policy").unwrap().starts_with("default-src 'none';"));
        assert!(file.text().contains(part), "{path}");
    }
}
