//! Chromium, readers from npm and PyPI, and curl follow a stream over swaps, a crash, kills and a
//! cut. They miss no event and receive none twice.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::harness::{Browser, Proxy, Reader, Started, TestHost, eventually};

const SWAPS: usize = 20;
const KILLS: usize = 5;
/// Fewer than the history keeps.
const DURING_THE_CUT: usize = 50;

const STREAM: &str = "/stream?connectKey=ways/numbers";

/// A host that publishes numbers, behind a proxy that cuts its connections.
struct Source {
    host: Started,
    proxy: Proxy,
    sent: AtomicU64,
}

impl Source {
    async fn start() -> Source {
        let host = TestHost::with("ways").grant("ways", json!({ "sse": ["*"] })).start().await;
        let proxy = Proxy::to(host.http).await;
        Source { host, proxy, sent: AtomicU64::new(0) }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.proxy.address)
    }

    /// Publishes the next number from one worker or from `any`.
    async fn publish(&self, from: &str) {
        let number = self.sent.fetch_add(1, Ordering::AcqRel) + 1;
        let answer = self.host.call(from, "ways", "news/numbers", number.to_string()).await;
        assert!(answer.get("code").is_none(), "{number} from {from}: {answer}");
    }

    async fn publish_some(&self, count: usize) {
        for index in 0..count {
            self.publish(["worker-0", "worker-1"][index % 2]).await;
        }
    }

    /// Does to the host everything that must not disturb its readers.
    async fn disturb(&self) {
        self.publish_some(4).await;
        for round in 0..SWAPS {
            let swap = async { self.host.admin("POST", "/v1/modules/ways/reload", "").await.json() };
            let (swapped, ()) = tokio::join!(swap, self.publish_some(3));
            assert_eq!(swapped["outcome"], "swapped", "{round}: {swapped}");
        }

        let crash = self.host.call("worker-0", "ways", "inner/crash", "");
        let (crashed, ()) = tokio::join!(crash, self.publish("worker-1"));
        assert_eq!(crashed["code"], "crashed", "{crashed}");
        eventually("worker 0 restarts", || async { self.host.slot("ways", 0).await["restarts"] == 1 }).await;
        self.publish("worker-0").await;

        for round in 0..KILLS {
            let (killed, ()) = tokio::join!(self.host.kill(None, false), self.publish_some(4));
            assert_eq!(killed.as_array().map(Vec::len), Some(2), "{round}: {killed}");
        }
    }

    /// Cuts all connections, and publishes before the readers have connected again.
    async fn cut(&self) {
        self.proxy.cut();
        eventually("the proxy has cut", || async { self.proxy.open() == 0 }).await;
        self.publish_some(DURING_THE_CUT).await;
    }

    /// The numbers that a reader must have received.
    fn expected(&self) -> Vec<String> {
        (1..=self.sent.load(Ordering::Acquire)).map(|number| number.to_string()).collect()
    }
}

#[tokio::test]
async fn an_event_source_in_chromium_misses_no_event_over_swaps_a_crash_kills_and_a_cut() {
    let Some(browser) = Browser::start().await else { return };
    let source = Source::start().await;
    // A page of the same origin.
    browser.open(&source.url("/api/ways/")).await;
    let script = "window.seen = []; window.states = [];
        window.source = new EventSource(arguments[0]);
        source.onopen = () => states.push('open');
        source.onerror = () => states.push(source.readyState);
        source.addEventListener('news', ({ data }) => seen.push(data));
        source.addEventListener('reset', () => states.push('reset'));";
    browser.run(script, json!([STREAM])).await;
    let states = async || browser.run("return states", json!([])).await;
    let seen = async || browser.run("return seen", json!([])).await;

    eventually("the stream opens", || async { states().await == json!(["open"]) }).await;
    source.disturb().await;
    eventually("all arrive", || async { seen().await == json!(source.expected()) }).await;
    assert_eq!(states().await, json!(["open"]), "the stream stayed open");

    source.cut().await;
    eventually("the stream opens again", || async { states().await == json!(["open", 0, "open"]) }).await;
    source.publish_some(4).await;
    eventually("the last arrives", || async {
        seen().await.as_array().and_then(|seen| seen.last()).cloned() == source.expected().pop().map(Value::from)
    })
    .await;
    assert_eq!(seen().await, json!(source.expected()));
    assert_eq!(states().await, json!(["open", 0, "open"]), "nothing was lost");
}

#[tokio::test]
async fn readers_from_npm_and_pypi_and_curl_miss_no_event_over_swaps_a_crash_kills_and_a_cut() {
    let source = Source::start().await;
    let url = source.url(STREAM);
    let readers = [Reader::npm(&url, &["news", "reset"]), Reader::pypi(&url), Reader::curl(&url)];
    let readers: Vec<Reader> = readers.into_iter().flatten().collect();
    let all = async |what: &str, condition: &dyn Fn(&Reader) -> bool| {
        for reader in &readers {
            eventually(&format!("{}: {what}", reader.name), || async { condition(reader) }).await;
        }
    };
    let data = |reader: &Reader| reader.events().into_iter().map(|event| event.data).collect::<Vec<_>>();

    all("the stream opens", &|reader| reader.opened() == 1).await;
    source.disturb().await;
    all("all arrive", &|reader| data(reader) == source.expected()).await;
    all("the stream stayed open", &|reader| reader.opened() == 1).await;

    source.cut().await;
    all("the stream opens again", &|reader| reader.opened() == 2).await;
    source.publish_some(4).await;
    all("the last arrives", &|reader| data(reader).last() == source.expected().last()).await;
    for reader in &readers {
        assert_eq!(data(reader), source.expected(), "{}", reader.name);
        assert!(reader.events().iter().all(|event| event.event == "news"), "{}: {:?}", reader.name, reader.events());
    }
}
