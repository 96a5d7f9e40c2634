//! The page for developers in Chromium.

use serde_json::{Value, json};

use super::assert_fits_and_is_readable;
use crate::harness::{Browser, Started, TestHost, eventually};

/// Finds the form of a request.
fn form(path: &str, method: &str) -> String {
    format!("form[data-path=\"{path}\"][data-method=\"{method}\"]")
}

async fn page_of(browser: &Browser, host: &Started) {
    browser.open(&format!("http://{}/", host.http)).await;
}

/// Waits until a form shows the answer to its request, and returns the answer: its status line and
/// its body.
async fn answer(browser: &Browser, form: &str) -> (String, String) {
    let selector = format!("{form} .status[data-result]:not([data-result=\"\"])");
    eventually("the form shows an answer", || async { !browser.text(&selector).await.is_empty() }).await;
    (browser.text(&selector).await, browser.text(&format!("{form} pre")).await)
}

/// The element that has the focus.
async fn focused(browser: &Browser, property: &str) -> Value {
    browser.run("return document.activeElement.matches(arguments[0])", json!([property])).await
}

#[tokio::test]
async fn a_get_route_opens_as_a_link_and_a_form_shows_the_answer() {
    let Some(browser) = Browser::start().await else { return };
    let host = TestHost::with("echo").start().await;
    page_of(&browser, &host).await;
    browser.click("a[href='/api/echo/who']").await;
    let path = browser.run("return location.pathname", json!([])).await;
    assert_eq!(path, "/api/echo/who");

    page_of(&browser, &host).await;
    let post = form("/api/echo/echo", "POST");
    browser.run("document.querySelector(arguments[0]).value = ''", json!([format!("{post} textarea")])).await;
    browser.type_into(&format!("{post} textarea"), r#"{"id": 12345678901234567890, "list": [], "a": [1]}"#).await;
    browser.click(&format!("{post} button")).await;
    let (status, body) = answer(&browser, &post).await;
    assert!(status.starts_with("POST /api/echo/echo: 200 OK, text/plain; charset=utf-8, 50 bytes, "), "{status}");
    assert!(status.ends_with(" ms"), "{status}");
    assert_eq!(body, r#"{"id": 12345678901234567890, "list": [], "a": [1]}"#);

    // Parameters become fields, and JSON is indented.
    let params = form("/api/echo/params/{one}/{two}", "GET");
    browser.type_into(&format!("{params} input[data-param=one]"), "a/b").await;
    browser.type_into(&format!("{params} input[data-param=two]"), "\u{fc}\u{e007}").await;
    let (status, body) = answer(&browser, &params).await;
    assert!(status.starts_with("GET /api/echo/params/a%2Fb/%C3%BC: 200 OK, "), "{status}");
    assert!(body.contains("a/b") && body.contains('\u{fc}'), "{body}");
}

#[tokio::test]
async fn a_payload_that_is_not_json_is_not_sent() {
    let Some(browser) = Browser::start().await else { return };
    let host = TestHost::with("echo").start().await;
    page_of(&browser, &host).await;
    let post = form("/api/echo/echo", "POST");
    browser.type_into(&format!("{post} textarea"), "!").await;
    browser.click(&format!("{post} button")).await;
    let (status, _) = answer(&browser, &post).await;
    assert!(status.starts_with("The payload is not JSON: "), "{status}");
    assert_eq!(focused(&browser, "textarea[aria-invalid]").await, true);
    // As text it is sent, and without a body there is no field for it.
    let choose = "const select = document.querySelector(arguments[0]);
        select.value = arguments[1]; select.dispatchEvent(new Event('change'));
        return document.querySelector(arguments[2]).checkVisibility()";
    let (select, payload) = (format!("{post} select"), format!("{post} textarea"));
    assert_eq!(browser.run(choose, json!([select, "text/plain", payload])).await, true);
    browser.click(&format!("{post} button")).await;
    eventually("the host has echoed the text", || async { browser.text(&format!("{post} pre")).await == "{}!" }).await;
    assert_eq!(browser.run(choose, json!([select, "", payload])).await, false);
    browser.click(&format!("{post} button")).await;
    let status = || async { browser.text(&format!("{post} .status")).await };
    eventually("the answer is empty", || async { status().await.contains(": 204 ") }).await;
}

#[tokio::test]
async fn a_broadcast_is_emitted_with_the_keyboard_alone() {
    let Some(browser) = Browser::start().await else { return };
    let host = TestHost::with("counts").workers(2).start().await;
    page_of(&browser, &host).await;
    let emit = "/developer/modules/counts/broadcasts/append";
    // Tab goes from one control to the next, so the form is reached from the top of the page.
    for _ in 0..60 {
        if focused(&browser, &format!("form[data-path='{emit}'] button")).await == true {
            break;
        }
        browser.press("\u{e004}").await;
    }
    assert_eq!(focused(&browser, &format!("form[data-path='{emit}'] button")).await, true, "Tab reaches the button");
    let outline = "return getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(browser.run(outline, json!([])).await, "solid", "the focus is visible");
    browser.press("\u{e007}").await;
    let (status, body) = answer(&browser, &form(emit, "POST")).await;
    assert!(status.starts_with(&format!("POST {emit}: 200 OK, application/json, ")), "{status}");
    let entries: Value = serde_json::from_str(&body).unwrap();
    let isolates: Vec<_> = entries.as_array().unwrap().iter().map(|entry| entry["isolate"].clone()).collect();
    assert_eq!(isolates, ["worker-0", "worker-1"]);
    assert!(entries.as_array().unwrap().iter().all(|entry| entry["reply"]["status"].is_number()), "{body}");
    assert!(body.starts_with("[\n  {\n    \"isolate\": \"worker-0\",\n"), "{body}");
}

#[tokio::test]
async fn the_page_for_developers_fits_a_phone_and_is_readable_in_both_themes() {
    let Some(browser) = Browser::start().await else { return };
    let own = json!({
        "schedules": { "s": { "path": "tick", "cron": "0 3 * * *", "tz": "Europe/Berlin" } },
        "hooks": { "redisUp": { "path": "other" }, "moduleFailed": { "path": "other" } },
        "startups": { "warm": { "path": "GET runs" } },
        "subscriptions": { "news": { "event": "news/*", "path": "other" } },
    });
    let host = TestHost::with("flags").and("echo").and("lobby").and("test-party").and("schedules");
    let host = host.manifest("schedules", own).file("modules/loose.wasm", "");
    let host = host.grant("lobby", json!({ "sessions": true })).file("modules/broken/module.json", "{").start().await;
    host.admin("POST", "/v1/schedules/run?module=schedules&name=s", r#"{ "how": "traps" }"#).await;
    host.rewrite("echo", json!({ "config": {} }));
    host.reload("echo").await;
    host.operate("modules/echo/rollback").await;
    page_of(&browser, &host).await;
    // A screen reader gets tables with captions and row headers, on a phone too.
    browser.screen(375, 740, true).await;
    let tables = "return [...document.querySelectorAll('table')].every((table) => table.caption
        && [...table.tBodies[0].rows].every((row) => row.cells[0].matches('th[scope=row][role=rowheader]')))";
    assert_eq!(browser.run(tables, json!([])).await, true);
    let wide = "return [...document.querySelectorAll('tbody th')]
        .every((th) => th.offsetWidth === th.parentElement.offsetWidth)";
    assert_eq!(browser.run(wide, json!([])).await, true, "a route has the whole line on a phone");
    let unlabelled = "return [...document.querySelectorAll('input, select, textarea, button, pre')]
        .filter((it) => !it.labels?.length && !it.ariaLabel).length";
    assert_eq!(browser.run(unlabelled, json!([])).await, 0);
    let put = form("/api/flags/{name}", "PUT");
    browser.type_into(&format!("{put} input"), "dark").await;
    browser.click(&format!("{put} button")).await;
    let (status, _) = answer(&browser, &put).await;
    assert!(status.contains(": 2"), "{status}");
    let emit = form("/developer/modules/test-party/broadcasts/broadcastTest", "POST");
    browser.click(&format!("{emit} button")).await;
    answer(&browser, &emit).await;
    browser.run("for (const it of document.querySelectorAll('details')) it.open = true", json!([])).await;
    assert_fits_and_is_readable(&browser, "developer").await;
    for scheme in ["light", "dark"] {
        browser.color_scheme(scheme).await;
        browser.screen(375, 6000, true).await;
        browser.run("scrollTo(0, 0)", json!([])).await;
        browser.screenshot(&format!("developer-phone-{scheme}-whole")).await;
        browser.screen(1000, 4500, false).await;
        browser.screenshot(&format!("developer-desktop-{scheme}-whole")).await;
    }
}
