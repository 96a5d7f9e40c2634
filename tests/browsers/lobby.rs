//! The example module `lobby` in Chromium: its page in two tabs, and a plain `WebSocket` under
//! load.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::assert_fits_and_is_readable;
use crate::harness::{Browser, Proxy, Started, TestHost, eventually};

const SWAPS: usize = 50;
const KILLS: usize = 20;
const CRASHES: usize = 5;

fn lobby() -> TestHost {
    TestHost::with("lobby").grant("lobby", json!({ "sessions": true }))
}

/// The page in the tabs of a browser, as users see it.
struct Pages {
    browser: Browser,
    url: String,
}

impl Pages {
    /// Opens the page in a number of tabs.
    async fn open(address: std::net::SocketAddr, tabs: usize) -> Option<Pages> {
        let browser = Browser::start().await?;
        let pages = Pages { browser, url: format!("http://{address}/api/lobby/") };
        for tab in 0..tabs {
            if tab > 0 {
                pages.browser.new_tab().await;
            }
            pages.browser.open(&pages.url).await;
        }
        Some(pages)
    }

    async fn until_state(&self, tab: usize, state: &str) {
        self.browser.tab(tab).await;
        eventually(&format!("page {tab} shows {state}"), || async { self.browser.text("#state").await == state }).await;
    }

    async fn sign_in(&self, tab: usize, token: &str) {
        self.until_state(tab, "open").await;
        self.browser.type_into("#token", token).await;
        self.browser.click("#sign-in button").await;
    }

    /// Opens the page in a tab for each user, and signs them in.
    async fn of(host: &Started, users: &[&str]) -> Option<Pages> {
        let pages = Pages::open(host.http, users.len()).await?;
        for (tab, user) in users.iter().enumerate() {
            pages.sign_in(tab, &format!("demo-{user}")).await;
            pages.until_state(tab, "signed in").await;
        }
        Some(pages)
    }

    async fn rename(&self, tab: usize, name: &str) {
        self.browser.tab(tab).await;
        self.browser.run("document.querySelector('#name').value = ''", json!([])).await;
        self.browser.type_into("#name", name).await;
        self.browser.click("#rename button").await;
    }

    /// Sends a text, as the form does.
    async fn send(&self, tab: usize, to: &str, text: &str) {
        self.browser.tab(tab).await;
        let choose = "const to = document.querySelector('#to');
            to.value = arguments[0];
            return to.value";
        assert_eq!(self.browser.run(choose, json!([to])).await, to);
        self.browser.type_into("#text", text).await;
        self.browser.click("#send button").await;
    }

    /// The messages of a page: where, who, and what. Without notices.
    async fn messages(&self, tab: usize) -> Value {
        self.browser.tab(tab).await;
        let script = "return [...document.querySelectorAll('#messages li:not(.notice)')]
            .map((line) => [...line.children].map((part) => part.textContent))";
        self.browser.run(script, json!([])).await
    }

    async fn until_messages(&self, tab: usize, expected: Value) {
        eventually(&format!("page {tab} has {expected}"), || async { self.messages(tab).await == expected }).await;
    }

    async fn text(&self, tab: usize, selector: &str) -> String {
        self.browser.tab(tab).await;
        self.browser.text(selector).await
    }
}

#[tokio::test]
async fn two_people_in_two_tabs_talk_in_a_group_and_in_private_over_swaps_and_kills() {
    let host = lobby().start().await;
    let Some(pages) = Pages::of(&host, &["ada", "bob"]).await else { return };
    pages.send(0, "group:lobby", "hello").await;
    let mut seen = vec![json!(["lobby", "ada", "hello"])];
    pages.until_messages(0, json!(seen)).await;
    pages.until_messages(1, json!(seen)).await;

    pages.rename(1, "Bob B.").await;
    eventually("ada sees it", || async { pages.text(0, "#groups span").await == "ada, Bob B." }).await;
    for round in 0..3 {
        assert_eq!(host.reload("lobby").await["outcome"], "swapped", "{round}");
        assert_eq!(host.kill(None, false).await.as_array().map(Vec::len), Some(2), "{round}");
        let text = format!("after {round}");
        pages.send(1, "group:lobby", &text).await;
        seen.push(json!(["lobby", "Bob B.", text]));
        pages.until_messages(0, json!(seen)).await;
    }
    pages.send(0, "user:bob", "psst").await;
    pages.until_messages(1, json!([&seen[..], &[json!(["private", "ada", "psst"])]].concat())).await;
    pages.until_messages(0, json!([&seen[..], &[json!(["private", "you to bob", "psst"])]].concat())).await;
    assert_eq!((pages.text(0, "#failure").await, pages.text(1, "#failure").await), (String::new(), String::new()));
    assert_eq!(host.metric("fanfare_websocket_opened_total", &[]).await, 2.0, "no page has connected again");
    assert_fits_and_is_readable(&pages.browser, "lobby").await;
}

#[tokio::test]
async fn a_sign_in_that_is_rejected_says_why_and_the_next_one_may_succeed() {
    let host = lobby().start().await;
    let Some(pages) = Pages::open(host.http, 1).await else { return };
    pages.until_state(0, "open").await;
    assert_fits_and_is_readable(&pages.browser, "lobby-sign-in").await;
    pages.sign_in(0, "demo-eve").await;
    eventually("the page says why", || async {
        pages.text(0, "#refusal").await == "Not signed in: nobody has this token."
    })
    .await;
    assert_eq!(pages.text(0, "#state").await, "open");
    // The page has selected the wrong token, so that typing replaces it.
    pages.browser.type_into("#token", "demo-cleo").await;
    pages.browser.click("#sign-in button").await;
    pages.until_state(0, "signed in").await;
    assert_eq!((pages.text(0, "#uid").await, pages.text(0, "#refusal").await), ("cleo".into(), String::new()));
}

#[tokio::test]
async fn the_same_user_in_a_second_tab_replaces_the_first_one_which_can_return() {
    let host = lobby().start().await;
    let Some(pages) = Pages::open(host.http, 2).await else { return };
    pages.sign_in(0, "demo-ada").await;
    pages.until_state(0, "signed in").await;
    pages.sign_in(1, "demo-ada").await;
    pages.until_state(1, "signed in").await;
    pages.until_state(0, "replaced").await;
    pages.browser.click("#again").await;
    pages.until_state(0, "signed in").await;
    pages.until_state(1, "replaced").await;
    assert_eq!(host.metric("fanfare_websocket_closed_total", &["code=\"4010\""]).await, 2.0);
}

#[tokio::test]
async fn a_page_whose_connection_is_cut_connects_again_with_its_name_and_its_groups() {
    let host = lobby().start().await;
    let proxy = Proxy::to(host.http).await;
    let Some(pages) = Pages::open(proxy.address, 2).await else { return };
    for (tab, user) in ["ada", "bob"].iter().enumerate() {
        pages.sign_in(tab, &format!("demo-{user}")).await;
        pages.until_state(tab, "signed in").await;
    }
    pages.rename(0, "Ada L.").await;
    pages.browser.type_into("#group", "tea\u{e007}").await;
    eventually("ada is in the group", || async { pages.text(0, "#groups").await.contains("tea") }).await;

    for cut in 1..=2 {
        proxy.cut();
        let opened = f64::from(2 + 2 * cut);
        let again = || async { host.metric("fanfare_websocket_opened_total", &[]).await == opened };
        eventually("both pages connect again", again).await;
        for tab in 0..2 {
            pages.until_state(tab, "signed in").await;
        }
        eventually("bob sees her name", || async { pages.text(1, "#groups span").await == "Ada L., bob" }).await;
    }
    pages.send(0, "group:tea", "still here").await;
    pages.until_messages(0, json!([["tea", "Ada L.", "still here"]])).await;
}

#[tokio::test]
async fn a_page_signs_in_again_after_a_restart_of_the_host() {
    let host = lobby().start().await;
    let Some(pages) = Pages::of(&host, &["ada"]).await else { return };
    let listen = json!({ "http": { "listen": host.http.to_string() } });
    let folder = host.leave().await;
    pages.until_state(0, "connecting").await;
    // 1001: the host tells its clients that it stops.
    let detail = pages.text(0, "#detail").await;
    assert!(detail.contains("(1001)") || detail.contains("(1006)"), "{detail}");
    let _host = lobby().again(folder).config(listen).start().await;
    pages.until_state(0, "signed in").await;
    pages.send(0, "group:lobby", "back").await;
    pages.until_messages(0, json!([["lobby", "ada", "back"]])).await;
}

/// Two clients: one sends as fast as it gets answers, both record what they receive.
const TALK: &str = "
    window.seen = { ada: [], bob: [], answers: [], failures: [], closed: [], sent: 0, lost: 0, stop: false };
    const url = arguments[0];
    const client = (name) => new Promise((ready) => {
        const socket = new WebSocket(url);
        const send = (action, fields, id) => socket.send(JSON.stringify({ do: action, ...fields, id }));
        socket.onclose = ({ code }) => seen.closed.push(code);
        socket.onopen = () => {
            send('sign-in', { token: 'demo-' + name }, 's');
            send('rename', { name: name.toUpperCase() }, 'r');
            send('join', { group: 'load' }, 'j');
        };
        socket.onmessage = ({ data }) => {
            const message = JSON.parse(data);
            if (message.error) seen.failures.push(message);
            else if (message.event === 'said') seen[name].push([message.from.name, message.text]);
            else if (message.id === 'j') ready({ send });
            else if (Number.isInteger(message.id)) { seen.answers.push(message.id); more(); }
        };
    });
    let sender;
    window.more = () => {
        while (!seen.stop && seen.sent - seen.answers.length - seen.lost < 16) {
            seen.sent += 1;
            sender.send('say', { group: 'load', text: String(seen.sent) }, seen.sent);
        }
    };
    await client('bob');
    sender = await client('ada');
    more();";

#[tokio::test]
async fn a_plain_websocket_in_chromium_keeps_its_connection_session_and_order_and_loses_nothing_under_load() {
    let crash = Arc::new(AtomicBool::new(false));
    let armed = crash.clone();
    let host = lobby().probe(Arc::new(move |_| {
        assert!(!armed.swap(false, Ordering::AcqRel), "a panic for the test");
    }));
    let host = host.start().await;
    let Some(browser) = Browser::start().await else { return };
    browser.open(&format!("http://{}/api/lobby/", host.http)).await;
    let talk = format!("return (async () => {{ {TALK} }})()");
    browser.run(&talk, json!([format!("ws://{}/api/lobby/socket", host.http)])).await;
    let answers = async || browser.run("return seen.answers.length", json!([])).await.as_u64().unwrap();
    let failed = async || host.metric("fanfare_websocket_failed_total", &[]).await;

    for round in 0..SWAPS {
        let so_far = answers().await;
        if round < KILLS {
            assert_eq!(host.kill(None, false).await.as_array().map(Vec::len), Some(2), "{round}");
        }
        assert_eq!(host.reload("lobby").await["outcome"], "swapped", "{round}");
        if round < CRASHES {
            let before = failed().await;
            crash.store(true, Ordering::Release);
            eventually("a message crashes", || async { failed().await > before }).await;
            // The page does not learn that there will be no answers.
            browser.run("seen.lost = arguments[0]; more()", json!([failed().await])).await;
        }
        eventually("more answers arrive", || async { answers().await > so_far }).await;
    }
    browser.run("seen.stop = true", json!([])).await;
    // No instance crashed in the last rounds, so the last message arrives everywhere.
    let lost = failed().await;
    let done = "return seen.answers.length === seen.sent - arguments[0]
        && [seen.ada, seen.bob].every((lines) => lines.at(-1)[1] === String(seen.sent))";
    eventually("everything has arrived", || async { browser.run(done, json!([lost])).await == true }).await;
    assert_eq!(failed().await, lost);

    let seen = browser.run("return seen", json!([])).await;
    assert_eq!((&seen["closed"], &seen["failures"]), (&json!([]), &json!([])));
    let answers: Vec<u64> = serde_json::from_value(seen["answers"].clone()).unwrap();
    let answered: BTreeSet<u64> = answers.iter().copied().collect();
    assert_eq!(answered.len(), answers.len(), "no message has two answers");
    let said: Vec<(String, String)> = serde_json::from_value(seen["bob"].clone()).unwrap();
    assert_eq!(seen["ada"], seen["bob"]);
    assert!(said.iter().all(|(name, _)| name == "ADA"), "the session keeps its name");
    let said: Vec<u64> = said.iter().map(|(_, text)| text.parse().unwrap()).collect();
    assert!(said.is_sorted(), "messages are said in their order");
    let count = said.len();
    // A message that was running in an instance that crashed may have been said before.
    let said: BTreeSet<u64> = said.into_iter().collect();
    assert_eq!(said.len(), count, "each message is said once");
    assert!(answered.is_subset(&said), "{:?} were not said", &answered - &said);
    // The page itself has the third one.
    assert_eq!(host.metric("fanfare_websocket_opened_total", &[]).await, 3.0);
}
