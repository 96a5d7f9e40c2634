//! From `redis-cli` to `EventSource` in Chromium.

use serde_json::json;

use super::{GUEST, connected};
use crate::harness::{Browser, Redis, eventually};

#[tokio::test]
async fn messages_of_redis_cli_reach_a_browser_over_twenty_swaps() {
    let Some(redis) = Redis::start().await else { return };
    let Some(browser) = Browser::start().await else { return };
    let feed = json!({ "news": { "redis": "news", "sse": { "key": "subscriptions/{topic}" } } });
    let host = connected(&redis, feed).and("ticker").grant("ticker", json!({ "sse": ["*"] })).start().await;
    redis.until_subscribed("news", 1).await;
    // Its page may open streams.
    browser.open(&format!("http://{}/api/ticker/", host.http)).await;
    let listen = "window.got = []; window.stream = new EventSource('/stream?connectKey=subscriptions/news');
        window.stream.onmessage = (event) => window.got.push(event.data);";
    browser.run(listen, json!([])).await;
    eventually("the stream is open", || async { browser.run("return window.stream.readyState", json!([])).await == 1 })
        .await;
    for n in 0..20 {
        assert_eq!(redis.publish("news", &format!("hello {n}")), 1);
        host.rewrite(GUEST, json!({ "config": { "version": n } }));
        assert_eq!(host.reload(GUEST).await["outcome"], "swapped");
    }
    let got = || async { browser.run("return window.got", json!([])).await };
    eventually("everything arrives", || async { got().await.as_array().unwrap().len() >= 20 }).await;
    assert_eq!(got().await, json!((0..20).map(|n| format!("hello {n}")).collect::<Vec<_>>()));
}
