//! Browsers and foreign readers as clients of the host.

use crate::harness::{Browser, TestHost};

#[tokio::test]
async fn chromium_shows_a_reply_of_a_guest() {
    let Some(browser) = Browser::start().await else { return };
    let host = TestHost::with("counter").start().await;
    browser.open(&format!("http://{}/api/counter/", host.http)).await;
    assert_eq!(browser.text("body").await, "{}");
}
