//! Clients that come back: nothing missed, nothing doubled, or a reset.

use fanfare::StreamEvent;
use serde_json::json;

use super::{count, host, path, publish, with};
use crate::harness::{EventStream, Started, eventually};

fn with_id(data: &str, id: &str) -> StreamEvent {
    StreamEvent { id: Some(id.to_owned()), ..StreamEvent::from(data) }
}

/// The data of the next events of a stream.
async fn take(stream: &mut EventStream, count: usize) -> Vec<String> {
    let mut data = Vec::new();
    for _ in 0..count {
        data.push(stream.data().await);
    }
    data
}

fn publish_all_of(host: &Started, key: &str, data: &[&str]) {
    for data in data {
        publish(host, key, data);
    }
}

#[tokio::test]
async fn a_client_gets_what_it_missed_by_the_header_and_by_the_query() {
    let host = host().start().await;
    let mut stream = EventStream::open(host.http, &path("news")).await;
    publish_all_of(&host, "news", &["1", "2"]);
    assert_eq!(take(&mut stream, 2).await, ["1", "2"]);
    let last = stream.last_id().to_owned();
    drop(stream);
    publish_all_of(&host, "news", &["3"]);
    host.running().publish_all("4").unwrap();
    publish_all_of(&host, "other", &["x"]);
    publish_all_of(&host, "news", &["5"]);
    let mut by_header = EventStream::resume(host.http, &path("news"), &last).await;
    let mut by_query = EventStream::open(host.http, &format!("{}&lastEventId={last}", path("news"))).await;
    assert_eq!(take(&mut by_header, 3).await, ["3", "4", "5"]);
    assert_eq!(take(&mut by_query, 3).await, ["3", "4", "5"]);
    publish_all_of(&host, "news", &["6"]);
    assert_eq!((by_header.data().await, by_query.data().await), ("6".to_owned(), "6".to_owned()));
    // A client that has everything gets nothing again.
    let mut current = EventStream::resume(host.http, &path("news"), by_header.last_id()).await;
    publish_all_of(&host, "news", &["7"]);
    assert_eq!(current.data().await, "7");
}

#[tokio::test]
async fn a_client_that_is_cut_before_its_first_event_misses_nothing() {
    let host = host().start().await;
    let mut stream = EventStream::open(host.http, &path("news")).await;
    while stream.last_id().is_empty() {
        stream.block().await.unwrap();
    }
    let last = stream.last_id().to_owned();
    drop(stream);
    publish_all_of(&host, "news", &["1"]);
    let mut stream = EventStream::resume(host.http, &path("news"), &last).await;
    assert_eq!(stream.data().await, "1");
}

#[tokio::test]
async fn a_client_resumes_after_the_newest_event_with_an_id_of_the_publisher() {
    let host = host().start().await;
    for (data, id) in [("1", "same"), ("2", "0"), ("3", "same"), ("4", "0.7234"), ("5", "ä")] {
        host.running().publish("news", with_id(data, id)).unwrap();
    }
    for (id, expected) in [("same", &["4", "5"][..]), ("0", &["3", "4", "5"]), ("0.7234", &["5"])] {
        let mut stream = EventStream::resume(host.http, &path("news"), id).await;
        assert_eq!(take(&mut stream, expected.len()).await, expected, "{id}");
    }
    let mut stream = EventStream::open(host.http, &format!("{}&lastEventId=%C3%A4", path("news"))).await;
    publish_all_of(&host, "news", &["6"]);
    assert_eq!(stream.data().await, "6");
}

#[tokio::test]
async fn a_client_that_cannot_resume_gets_a_reset_and_all_that_is_kept() {
    let host = with(json!({ "history": 2 })).start().await;
    let mut stream = EventStream::open(host.http, &path("news")).await;
    publish_all_of(&host, "news", &["1"]);
    stream.data().await;
    let too_old = stream.last_id().to_owned();
    publish_all_of(&host, "news", &["2", "3", "4"]);
    for id in [too_old.as_str(), "unknown", "0-1", "ffffffffffffffff-1", "-1", "garbage = , ;", &"x".repeat(60_000)] {
        let mut stream = EventStream::resume(host.http, &path("news"), id).await;
        let reset = stream.event().await.unwrap();
        assert_eq!((reset.name(), reset.data.as_deref()), ("reset", Some("")), "{id:.20}");
        assert_eq!(take(&mut stream, 2).await, ["3", "4"]);
        // The id of the reset is where the kept events begin.
        let mut again = EventStream::resume(host.http, &path("news"), &reset.id.unwrap()).await;
        assert_eq!(take(&mut again, 2).await, ["3", "4"]);
    }
    // A position beyond the last one is of another host.
    let (epoch, number) = stream.last_id().split_once('-').unwrap();
    let beyond = format!("{epoch}-{}", number.parse::<u64>().unwrap() + 1_000);
    let mut stream = EventStream::resume(host.http, &path("news"), &beyond).await;
    assert_eq!(stream.event().await.unwrap().name(), "reset");
}

#[tokio::test]
pub async fn a_history_keeps_what_it_may_and_no_more() {
    for (history, kept) in [
        (json!(2), &["2", "3"][..]),
        (json!({ "count": 1 }), &["3"]),
        (json!({ "bytes": "1KiB" }), &[]),
        (json!({ "age": "1ms" }), &[]),
    ] {
        let host = with(json!({ "history": history })).start().await;
        publish_all_of(&host, "news", &["1", "2", "3"]);
        if history.get("bytes").is_some() {
            publish_all_of(&host, "news", &[&"x".repeat(2_000)]);
        }
        // What is too old leaves the history soon.
        eventually("only what the history may keep is kept", || async {
            let mut stream = EventStream::resume(host.http, &path("news"), "unknown").await;
            assert_eq!(stream.event().await.unwrap().name(), "reset");
            host.running().close_stream("news");
            stream.rest().await == kept
        })
        .await;
    }
}

#[tokio::test]
async fn without_a_history_events_have_no_ids_and_every_resume_is_a_reset() {
    let host = with(json!({ "history": 0 })).start().await;
    let mut stream = EventStream::open(host.http, &path("news")).await;
    publish_all_of(&host, "news", &["1"]);
    let event = stream.event().await.unwrap();
    assert_eq!((event.id, event.data.as_deref()), (None, Some("1")));
    assert_eq!(stream.last_id(), "");
    let mut stream = EventStream::resume(host.http, &path("news"), "0-1").await;
    assert_eq!(stream.event().await.unwrap().name(), "reset");
    publish_all_of(&host, "news", &["2"]);
    assert_eq!(stream.data().await, "2");
}

#[tokio::test]
async fn a_client_that_reconnects_all_the_time_misses_and_doubles_nothing() {
    let host = with(json!({ "history": { "count": 5_000, "bytes": "10MiB" } })).start().await;
    let mut stream = EventStream::open(host.http, &path("news")).await;
    let running = host.running();
    let publisher = async {
        for number in 0..2_000 {
            match number % 3 {
                0 => running.publish_all(number.to_string()).unwrap(),
                1 => running.publish("news", with_id(&number.to_string(), &format!("own-{number}"))).unwrap(),
                _ => running.publish("news", number.to_string()).unwrap(),
            };
            if number % 5 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    let reader = async {
        let mut received = Vec::new();
        while received.len() < 2_000 {
            let event = stream.event().await.expect("an event");
            received.push((event.name().to_owned(), event.data.unwrap()));
            if received.len() % 7 == 0 {
                let last = stream.last_id().to_owned();
                stream = EventStream::resume(host.http, &path("news"), &last).await;
            }
        }
        received
    };
    let ((), received) = tokio::join!(publisher, reader);
    let expected: Vec<_> = (0..2_000).map(|number| ("message".to_owned(), number.to_string())).collect();
    assert_eq!(received, expected);
    eventually("only the last connection is open", || async { count(&host, None) == 1 }).await;
}
