//! WebSockets that a page of another origin opens in Chromium.

use serde_json::json;

use crate::harness::{Browser, TestHost};

/// Opens a WebSocket. Returns what the page gets.
const OPEN: &str = "
    const socket = new WebSocket(arguments[0]);
    return new Promise((done) => {
        socket.onopen = () => done('open');
        socket.onclose = ({ code }) => done(code);
    });";

#[tokio::test]
async fn only_a_page_of_a_listed_origin_opens_a_websocket() {
    let pages = TestHost::with("echo").start().await;
    let listed = format!("http://127.0.0.1:{}", pages.http.port());
    let host = TestHost::with("lobby").grant("lobby", json!({ "sessions": true }));
    let host = host.config(json!({ "websocket": { "origins": [listed] } })).start().await;
    let Some(browser) = Browser::start().await else { return };
    let opened_from = async |origin: &str| {
        browser.open(&format!("{origin}/api/echo/who")).await;
        browser.run(OPEN, json!([format!("ws://{}/api/lobby/socket", host.http)])).await
    };
    assert_eq!(opened_from(&listed).await, "open");
    // Another name of the same machine, and a name that an attacker maps to it. The page does not
    // learn why.
    for name in ["localhost", "rebound.test"] {
        let port = pages.http.port();
        assert_eq!(opened_from(&format!("http://{name}:{port}")).await, 1006, "{name}");
    }
    assert_eq!(host.metric("fanfare_websocket_refused_total", &["reason=\"origin\""]).await, 2.0);
    assert_eq!(host.metric("fanfare_websocket_opened_total", &[]).await, 1.0);
}
