//! The page of the example module `ticker` in Chromium.

use serde_json::json;

use super::assert_fits_and_is_readable;
use crate::harness::{Browser, Proxy, Started, TestHost, eventually};

async fn ticker() -> (Started, Proxy) {
    let host = TestHost::with("ticker").grant("ticker", json!({ "sse": ["*"] })).start().await;
    let proxy = Proxy::to(host.http).await;
    (host, proxy)
}

/// The page, as a user sees it.
struct Page(Browser);

impl Page {
    async fn open(proxy: &Proxy) -> Option<Page> {
        let browser = Browser::start().await?;
        browser.open(&format!("http://{}/api/ticker/", proxy.address)).await;
        Some(Page(browser))
    }

    async fn state(&self) -> String {
        self.0.text("#state").await
    }

    async fn count(&self, name: &str) -> u64 {
        self.0.text(&format!("#{name}")).await.parse().unwrap()
    }

    /// The numbers in the table, the newest first. A row that shows a gap has none.
    async fn numbers(&self) -> Vec<u64> {
        let script = "return [...document.querySelectorAll('#ticks tr td:first-child')].map((cell) => cell.innerText)";
        let texts = self.0.run(script, json!([])).await;
        texts.as_array().unwrap().iter().filter_map(|text| text.as_str()?.parse().ok()).collect()
    }

    async fn until_state(&self, state: &str) {
        eventually(&format!("the page shows {state}"), || async { self.state().await == state }).await;
    }

    /// Waits for more ticks.
    async fn until_more(&self, more: u64) {
        let so_far = self.count("received").await;
        eventually("more ticks arrive", || async { self.count("received").await >= so_far + more }).await;
    }

    async fn assert_consecutive(&self) {
        let numbers = self.numbers().await;
        assert!(numbers.windows(2).all(|pair| pair[0] == pair[1] + 1), "{numbers:?}");
        assert_eq!((self.count("missed").await, self.count("doubled").await), (0, 0));
    }
}

#[tokio::test]
async fn the_page_of_ticker_resumes_after_a_cut_with_consecutive_numbers() {
    let (host, proxy) = ticker().await;
    let Some(page) = Page::open(&proxy).await else { return };
    page.until_state("open").await;
    page.until_more(2).await;

    page.0.click("#cut").await;
    assert_eq!(page.state().await, "cut");
    let before = page.numbers().await;
    eventually("the host has noticed", || async { proxy_is_idle(&host).await }).await;
    let ticked = host.metric("fanfare_calls_total", &["module=\"ticker\"", "schedule"]).await;
    let more =
        || async { host.metric("fanfare_calls_total", &["module=\"ticker\"", "schedule"]).await >= ticked + 2.0 };
    eventually("two ticks pass", more).await;
    assert_eq!(page.numbers().await, before, "a page that is cut receives nothing");

    page.0.click("#reconnect").await;
    page.until_state("resumed").await;
    page.until_more(3).await;
    page.assert_consecutive().await;

    // The network cuts the stream.
    proxy.cut();
    eventually("the browser resumes", || async { page.count("resumed").await == 2 }).await;
    page.until_more(2).await;
    page.assert_consecutive().await;
    assert_eq!(page.count("cuts").await, 2);
}

/// Whether the host has no open stream.
async fn proxy_is_idle(host: &Started) -> bool {
    host.metric("fanfare_sse_clients", &[]).await == 0.0
}

#[tokio::test]
async fn the_page_of_ticker_fits_a_phone_and_is_readable_in_both_themes() {
    let (_host, proxy) = ticker().await;
    let Some(page) = Page::open(&proxy).await else { return };
    page.until_more(1).await;
    assert_fits_and_is_readable(&page.0, "ticker").await;
}
