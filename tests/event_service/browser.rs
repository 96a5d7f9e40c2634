//! Web pages in Chromium that try to use a service without a token.

use serde_json::{Value, json};

use super::Client;
use crate::harness::{Browser, Started, TestHost};

/// Tries every way in which a page can send a request to the URL. Returns what the page gets.
const TRY_ALL: &str = "
    const [url] = arguments;
    const event = JSON.stringify({ type: 'page', value: 1 });
    const outcome = async (url, options) => {
        try {
            const answer = await fetch(url, { cache: 'no-store', ...options });
            return answer.type === 'opaque' ? 'opaque' : answer.status;
        } catch (error) { return error.name; }
    };
    const json = { 'content-type': 'application/json' };
    const stream = new EventSource(url);
    const opened = await new Promise((done) => {
        stream.onopen = () => done('open');
        stream.onerror = () => done('error');
    });
    stream.close();
    const frame = document.createElement('iframe');
    frame.name = 'target';
    document.documentElement.append(frame);
    const form = document.createElement('form');
    Object.assign(form, { action: url, method: 'post', enctype: 'text/plain', target: 'target' });
    const field = document.createElement('input');
    Object.assign(field, { name: event.replace(/}$/, ', \"x\": \"'), value: '\"}' });
    form.append(field);
    document.documentElement.append(form);
    const loaded = new Promise((done) => { frame.onload = done; });
    form.submit();
    await loaded;
    return {
        post: await outcome(url, { method: 'POST', headers: json, body: event }),
        postPlain: await outcome(url, { method: 'POST', mode: 'no-cors', body: event }),
        read: await outcome(url, { method: 'HEAD' }),
        readPlain: await outcome(url, { method: 'HEAD', mode: 'no-cors' }),
        beacon: navigator.sendBeacon(url, event),
        stream: opened,
    };";

/// What [`TRY_ALL`] returns if the page gets nothing. A request without CORS is sent, and its
/// response hidden. A beacon tells nothing.
fn nothing() -> Value {
    json!({
        "post": "TypeError", "postPlain": "opaque", "read": "TypeError", "readPlain": "opaque", "beacon": true,
        "stream": "error",
    })
}

async fn emitted(host: &Started) -> Value {
    host.ask("GET", "/", &[], "").await.json()["emitted"].clone()
}

#[tokio::test]
async fn only_a_page_of_its_own_origin_uses_a_service_without_a_token() {
    let host = TestHost::with("echo").config(json!({ "events": { "listen": "127.0.0.1:0" } })).start().await;
    let Some(browser) = Browser::start().await else { return };
    let (page, service) = (host.http.port(), host.events().port());
    let mut denied = 0.0;
    // The same site with another port, and another site.
    for (page_host, service_host) in
        [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")]
    {
        browser.open(&format!("http://{page_host}:{page}/api/echo/who")).await;
        let outcomes = browser.run(TRY_ALL, json!([format!("http://{service_host}:{service}/events")])).await;
        assert_eq!(outcomes, nothing(), "from {page_host} to {service_host}");
        let now = host.metric("fanfare_events_refused_total", &["access"]).await;
        assert!(now >= denied + 6.0, "the service has denied {} requests", now - denied);
        denied = now;
    }
    assert_eq!((emitted(&host).await, host.metric("fanfare_events_sent_total", &[]).await), (json!(0), 0.0));

    // A name that an attacker maps to this address makes the page one of the same origin.
    browser.open(&format!("http://rebound.test:{service}/")).await;
    assert!(browser.text("body").await.contains("rebound.test"), "the browser has resolved the name");
    let outcomes = browser.run(TRY_ALL, json!([format!("http://rebound.test:{service}/events")])).await;
    let expected = json!({
        "post": 403, "postPlain": 403, "read": 403, "readPlain": 403, "beacon": true, "stream": "error",
    });
    assert_eq!((outcomes, emitted(&host).await), (expected, json!(0)));

    for own in ["127.0.0.1", "localhost"] {
        browser.open(&format!("http://{own}:{service}/")).await;
        let outcomes = browser.run(TRY_ALL, json!([format!("http://{own}:{service}/events")])).await;
        let expected = json!({
            "post": 200, "postPlain": 415, "read": 200, "readPlain": 200, "beacon": true, "stream": "open",
        });
        assert_eq!(outcomes, expected, "{own}");
    }
    assert_eq!(emitted(&host).await, 2);
}
