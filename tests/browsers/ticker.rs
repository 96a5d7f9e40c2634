//! The page of the example module `ticker` in Chromium.

use serde_json::json;

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
    for (name, width, height) in [("phone", 360, 740), ("desktop", 1000, 900)] {
        for scheme in ["light", "dark"] {
            page.0.screen(width, height, width < 500).await;
            page.0.color_scheme(scheme).await;
            let overflow = page.0.run("return document.documentElement.scrollWidth - innerWidth", json!([])).await;
            assert!(overflow.as_i64().unwrap() <= 0, "{name}: the page is {overflow} pixels too wide");
            let faint = page.0.run(FAINT, json!([])).await;
            assert_eq!(faint, json!([]), "{name}, {scheme}: these elements have too little contrast");
            page.0.screenshot(&format!("ticker-{name}-{scheme}")).await;
        }
    }
    // Everything that a keyboard can reach shows its focus, and has a name.
    let unnamed = "return [...document.querySelectorAll('button, section, table')]
        .filter((it) => !it.innerText && !it.labels && !it.getAttribute('aria-label')).length";
    assert_eq!(page.0.run(unnamed, json!([])).await, 0);
}

/// Returns the elements whose text has a contrast below 4.5 with its background (WCAG 2.2, 1.4.3),
/// except disabled buttons.
const FAINT: &str = "
    const parts = (color) => color.match(/[\\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (element) => {
        for (let it = element; it; it = it.parentElement) {
            const color = parts(getComputedStyle(it).backgroundColor);
            if (color.length < 4 || color[3] > 0) return color;
        }
        return [255, 255, 255];
    };
    const texts = [...document.querySelectorAll('body *')].filter((element) => !element.disabled
        && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) && element.checkVisibility());
    return texts.filter((element) => {
        const [one, other] = [luminance(parts(getComputedStyle(element).color)), luminance(behind(element))];
        return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05) < 4.5;
    }).map((element) => element.outerHTML.slice(0, 80));";
