//! What an `EventSource` in Chromium does when the host does not open its stream.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Browser, TestHost, eventually};

const CONNECTING: i32 = 0;
const OPEN: i32 = 1;
const CLOSED: i32 = 2;

/// Follows a stream of the page's origin as `window.source`, and records what happens.
const FOLLOW: &str = "window.events = []; window.states = [];
    window.source = new EventSource(arguments[0]);
    source.onopen = () => events.push('open');
    source.onerror = () => { events.push('error'); states.push(source.readyState); };
    for (const name of ['full', 'news']) source.addEventListener(name, () => events.push(name));";

#[tokio::test]
async fn an_event_source_of_a_full_host_tries_again_and_gets_in_once_there_is_room() {
    let Some(browser) = Browser::start().await else { return };
    let host =
        TestHost::with("ways").grant("ways", json!({ "sse": ["*"] })).config(json!({ "sse": { "maxClients": 1 } }));
    let host = host.start().await;
    let mut first = TcpStream::connect(host.http).await.unwrap();
    first.write_all(b"GET /stream?connectKey=ways/a HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 15];
    first.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");

    browser.open(&format!("http://{}/api/ways/", host.http)).await;
    browser.run(FOLLOW, json!(["/stream?connectKey=ways/a"])).await;
    let state = async || browser.run("return source.readyState", json!([])).await;
    let events = async || browser.run("return events", json!([])).await;
    eventually("the host is full", || async { events().await == json!(["open", "full", "error"]) }).await;
    assert_eq!(state().await, CONNECTING, "the browser tries again");

    drop(first);
    eventually("the browser gets in", || async { state().await == OPEN }).await;
    host.call("any", "ways", "news/a", "at last").await;
    eventually("an event arrives", || async { events().await.as_array().unwrap().last() == Some(&json!("news")) })
        .await;
    let states = browser.run("return states", json!([])).await;
    assert!(states.as_array().unwrap().iter().all(|state| *state == CONNECTING), "it has never given up: {states}");
}

/// The reason why a full host sends an event instead of a status.
#[tokio::test]
async fn an_event_source_gives_up_for_good_on_any_other_status_than_200() {
    let Some(browser) = Browser::start().await else { return };
    let host = TestHost::with("ways").grant("ways", json!({ "sse": ["*"] })).start().await;
    browser.open(&format!("http://{}/api/ways/", host.http)).await;
    for status in [204, 403, 503] {
        browser.run(FOLLOW, json!([format!("/api/ways/status/{status}")])).await;
        let state = async || browser.run("return source.readyState", json!([])).await;
        eventually("the browser gives up", || async { state().await == CLOSED }).await;
        assert_eq!(browser.run("return events", json!([])).await, json!(["error"]), "{status}");
    }
    // The failure of the route that admits a reader is such a status.
    browser.run(FOLLOW, json!(["/stream?connectKey=ways/members/a"])).await;
    let state = async || browser.run("return source.readyState", json!([])).await;
    eventually("the browser gives up", || async { state().await == CLOSED }).await;
    browser.run(FOLLOW, json!(["/stream?connectKey=ways/members/a&token=a"])).await;
    eventually("the browser is admitted", || async { state().await == OPEN }).await;
}
