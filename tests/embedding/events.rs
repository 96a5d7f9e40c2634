//! The events of a host, as its program reads them.

use std::time::{Duration, UNIX_EPOCH};

use fanfare::api::HostEvent;
use fanfare::{EventItem, EventReader};

use crate::harness::{Log, TestHost};

/// Reads events until one has this name, and returns it.
async fn until(events: &mut EventReader, name: &str) -> HostEvent {
    loop {
        match events.next().await.unwrap_or_else(|| panic!("no event {name}")) {
            EventItem::Event(record) if record.event.name() == name => return record.event.clone(),
            EventItem::Event(_) => {}
            EventItem::Missed(count) => panic!("missed {count} events"),
        }
    }
}

#[tokio::test]
async fn a_program_reads_every_event_from_the_start_to_the_end() {
    let host = TestHost::with("echo").start().await;
    let running = host.running();
    let mut events = running.events();
    until(&mut events, "workerClusterStart").await;
    until(&mut events, "hostReady").await;
    running.reload("echo").await.unwrap();
    until(&mut events, "swapCommitted").await;
    running.shutdown().await;
    until(&mut events, "workerClusterExit").await;
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_destroyed_host_ends_its_events_with_the_exit_of_its_workers() {
    let host = TestHost::empty().start().await;
    let mut events = host.running().events();
    host.running().destroy().await;
    until(&mut events, "workerClusterExit").await;
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_message_of_the_program_is_logged_with_its_time_and_raised_as_info() {
    let log = Log::capture();
    let host = TestHost::empty().start().await;
    let running = host.running();
    let mut events = running.events();
    running.log("the cache is\nwarm", UNIX_EPOCH + Duration::from_millis(1_234));
    let HostEvent::Info { message } = until(&mut events, "info").await else { panic!("no info") };
    assert_eq!(message, "the cache is\\nwarm");
    assert!(log.contains(&["1234 - the cache is\\nwarm"]));
    running.log("now by default", None);
    until(&mut events, "info").await;
    assert!(!log.contains(&["1234 - now by default"]) && log.contains(&[" - now by default"]));
    running.shutdown().await;
    running.log("too late", None);
    until(&mut events, "workerClusterExit").await;
    assert_eq!(events.next().await, None);
}
