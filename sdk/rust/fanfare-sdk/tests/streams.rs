//! Live streams in the in-memory host.

use fanfare_sdk::prelude::*;
use fanfare_sdk::sse::{self, Event, Reach, StreamRequest};
use fanfare_sdk::testing::Refusal;
use fanfare_sdk::types::Isolate;

#[handler]
fn publish(key: Query<String>, data: Text) -> Result<Json<u32>> {
    Ok(Json(sse::publish(&key, data)?))
}

#[handler]
fn publish_all(data: Text) -> Result<Json<u32>> {
    Ok(Json(sse::publish_all(data)?))
}

#[handler]
fn publish_here(key: Query<String>, data: Text) -> Result<Json<u32>> {
    Ok(Json(sse::to(Reach::ThisWorker).publish(&key, data)?))
}

#[handler]
fn named(event: Query<Option<String>>, id: Query<Option<String>>, data: Payload) -> Result<Json<u32>> {
    let mut sent = Event::new(data);
    if let Some(event) = event.0 {
        sent = sent.with_event(event);
    }
    if let Some(id) = id.0 {
        sent = sent.with_id(id);
    }
    Ok(Json(sse::publish("test", sent)?))
}

#[handler]
fn close(key: Query<Option<String>>) -> Result<Json<u32>> {
    Ok(Json(match key.0 {
        Some(key) => sse::close(&key)?,
        None => sse::close_all()?,
    }))
}

#[handler]
fn count(key: Query<Option<String>>) -> Json<u32> {
    Json(key.as_deref().map_or_else(sse::count_all, sse::count))
}

/// Admits a reader as the last part of the key says.
#[handler]
fn admit(stream: StreamRequest, cx: Context) -> Result<Outcome> {
    assert_eq!(cx.stream().as_ref(), Some(&stream));
    match stream.key.rsplit('/').next() {
        Some("refuse") => Err(Failure::forbidden("no", "not you")),
        Some("redirect") => Ok(Outcome::Reply(Reply::empty().with_status(302))),
        Some("resumed") if stream.last_event_id.as_deref() != Some("7") => Err("not resumed".into()),
        Some("reply") => Ok(Outcome::Reply(Reply::new("welcome")?)),
        _ => Ok(Outcome::pass()),
    }
}

fanfare_sdk::module!(publish, publish_all, publish_here, named, close, count, admit);

fn number(host: &TestHost, route: &str, data: &str) -> u32 {
    host.call(route, data).unwrap().json().unwrap()
}

#[test]
fn an_event_reaches_the_readers_of_its_key_and_is_recorded() {
    let host = TestHost::builder(Module).workers(2).start();
    let (a, b) = (host.stream("a").open().unwrap(), host.stream("b").on(1).open().unwrap());
    assert_eq!(number(&host, "publish?key=a", "1"), 1);
    assert_eq!(number(&host, "publish?key=nobody", "2"), 0);
    assert_eq!(number(&host, "publish_all", "3"), 2);
    assert_eq!(number(&host, "publish_here?key=b", "4"), 0, "the reader is in the other worker");
    assert_eq!(number(&host, "publish?key=b", "5"), 1);
    let texts = |events: Vec<Event>| events.iter().map(|event| event.text().to_owned()).collect::<Vec<_>>();
    assert_eq!((texts(a.events()), texts(b.events())), (vec!["1".into(), "3".into()], vec!["3".into(), "5".into()]));
    let published = host.published();
    let keys: Vec<_> = published.iter().map(|one| one.key.as_deref()).collect();
    assert_eq!(keys, [Some("a"), Some("nobody"), None, Some("b"), Some("b")]);
    assert_eq!((published[3].reach, published[3].isolate), (Reach::ThisWorker, Isolate::Worker(0)));
}

#[test]
fn readers_are_counted_and_closed() {
    let host = TestHost::new(Module);
    let readers = ["a", "a", "b", ""].map(|key| host.stream(key).open().unwrap());
    assert_eq!(
        [number(&host, "count?key=a", ""), number(&host, "count?key=", ""), number(&host, "count", "")],
        [2, 1, 4]
    );
    assert_eq!(number(&host, "close?key=a", ""), 2);
    assert!(!readers[0].is_open() && readers[2].is_open());
    assert_eq!(number(&host, "publish?key=a", "x"), 0);
    drop(readers);
    assert_eq!(number(&host, "count", ""), 0, "a reader that is dropped has left");
    let _reader = host.stream("b").open().unwrap();
    assert_eq!(number(&host, "close", ""), 1);
}

#[test]
fn what_cannot_be_sent_is_invalid() {
    let host = TestHost::new(Module);
    let long = "k".repeat(257);
    for (route, body) in [
        (format!("publish?key={long}"), Payload::None),
        ("publish?key=a%0Ab".to_owned(), Payload::None),
        ("named?event=a%0Ab".to_owned(), Payload::None),
        ("named?id=a%00".to_owned(), Payload::None),
        ("named".to_owned(), Payload::Bytes(vec![0xff])),
    ] {
        let error = host.call(&route, body).unwrap_err();
        assert_eq!(error.failure().unwrap().name, "invalid", "{route}: {error}");
    }
    assert!(host.published().is_empty(), "nothing was published");
}

#[test]
fn the_route_of_the_manifest_admits_readers() {
    let manifest = r#"{
        "routes": [{ "path": "admit", "handler": "admit", "middlewares": "inner" }],
        "streams": { "test/*": { "path": "admit" }, "test/open/*": {} },
    }"#;
    let host = TestHost::builder(Module).manifest(manifest).start();
    let open = |key: &str| host.stream(key).open();
    for key in ["test/a", "test/reply", "test/open/refuse", "other"] {
        assert!(open(key).is_ok(), "{key}");
    }
    assert!(host.stream("test/resumed").last_event_id("7").open().is_ok());
    let refused = open("test/refuse").unwrap_err();
    assert_eq!(refused.status(), 403);
    assert!(matches!(&refused, Refusal::Error(CallError::Failure(failure)) if failure.name == "no"), "{refused:?}");
    assert!(matches!(open("test/redirect").unwrap_err(), Refusal::Reply(reply) if reply.status == 302));
}

#[test]
fn a_route_that_admits_readers_rejects_other_calls() {
    let host = TestHost::new(Module);
    let error = host.call("admit", ()).unwrap_err();
    let failure = error.failure().unwrap();
    assert_eq!((failure.name.as_str(), failure.status), ("no-stream", 400));
    assert!(failure.message.contains("`streams` of module.json"), "{}", failure.message);
}
