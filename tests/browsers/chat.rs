//! The example module `chat` in Chromium: two windows talk over swaps, kills, crashes and cuts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fanfare::api::KillMode;
use serde_json::{Value, json};

use super::assert_fits_and_is_readable;
use crate::harness::{Browser, Proxy, Started, TestHost, eventually};

const SWAPS: usize = 20;
const KILLS: usize = 5;
const CRASHES: usize = 3;

fn chat() -> TestHost {
    let listener = json!({ "path": "/chat/", "protocol": 2, "module": "chat" });
    TestHost::with("chat")
        .grant("chat", json!({ "sessions": true, "rpc": ["scorer"] }))
        .config(json!({ "websocket": { "listeners": [listener] } }))
}

/// The page in the windows of a browser, as users see it.
struct Pages(Browser);

impl Pages {
    /// Opens the page in a window for each user, and signs them in. Each user has an address of the
    /// host.
    async fn of(users: &[(&str, std::net::SocketAddr)]) -> Option<Pages> {
        let pages = Pages(Browser::start().await?);
        for (window, (name, address)) in users.iter().enumerate() {
            if window > 0 {
                pages.0.new_window().await;
            }
            pages.0.open(&format!("http://{address}/api/chat/")).await;
            pages.enter(window, name).await;
            pages.until_state(window, "online").await;
        }
        Some(pages)
    }

    async fn run(&self, window: usize, script: &str, args: Value) -> Value {
        self.0.tab(window).await;
        self.0.run(script, args).await
    }

    async fn text(&self, window: usize, selector: &str) -> String {
        self.0.tab(window).await;
        self.0.text(selector).await
    }

    async fn click(&self, window: usize, selector: &str) {
        self.0.tab(window).await;
        self.0.click(selector).await;
    }

    async fn enter(&self, window: usize, name: &str) {
        self.until_state(window, "signed out").await;
        self.0.type_into("#name", name).await;
        self.0.click("#sign-in button").await;
    }

    async fn until_state(&self, window: usize, state: &str) {
        self.0.tab(window).await;
        eventually(&format!("page {window} shows {state}"), || async { self.0.text("#state").await == state }).await;
    }

    async fn until_text(&self, window: usize, selector: &str, text: &str) {
        self.0.tab(window).await;
        eventually(&format!("{selector} of page {window} is {text}"), || async { self.0.text(selector).await == text })
            .await;
    }

    /// Sends a text, as the form does.
    async fn say(&self, window: usize, text: &str) {
        self.0.tab(window).await;
        self.0.type_into("#text", text).await;
        self.0.click("#send button").await;
    }

    /// The published messages of the room that the page shows: who, and what.
    async fn messages(&self, window: usize) -> Value {
        let script = "return [...document.querySelectorAll('.log:not([hidden]) .message:not(.unsent)')]
            .map((line) => [line.querySelector('.who').textContent, line.querySelector('.said').textContent])";
        self.run(window, script, json!([])).await
    }

    async fn until_messages(&self, window: usize, expected: &[Value]) {
        let expected = json!(expected);
        eventually(&format!("page {window} has {expected}"), || async { self.messages(window).await == expected })
            .await;
    }

    /// The notices between the messages, without their numbers.
    async fn notices(&self, window: usize) -> Vec<String> {
        let script =
            "return [...document.querySelectorAll('.log:not([hidden]) .notice')].map((line) => line.textContent)";
        let notices = self.run(window, script, json!([])).await;
        let notices = notices.as_array().unwrap().iter();
        notices
            .map(|text| {
                text.as_str().unwrap().split_once(" s. ").map_or(text.as_str().unwrap(), |(_, rest)| rest).to_owned()
            })
            .collect()
    }
}

async fn both(host: &Started) -> Option<Pages> {
    Pages::of(&[("Ada", host.http), ("Bob", host.http)]).await
}

#[tokio::test]
async fn two_people_see_each_other_and_what_they_say_in_their_rooms() {
    let host = chat().start().await;
    let Some(pages) = both(&host).await else { return };
    for window in 0..2 {
        pages.until_text(window, "#count", "2 people here").await;
    }
    pages.say(0, "  hello   there ").await;
    let mut seen = vec![json!(["Ada", "hello there"])];
    pages.until_messages(0, &seen).await;
    pages.until_messages(1, &seen).await;

    // Another room, whose messages stay there.
    pages.run(1, "location.hash = 'tea'", json!([])).await;
    pages.until_text(1, "#count", "1 person here").await;
    pages.until_text(0, "#count", "2 people here").await;
    pages.say(1, "anybody?").await;
    pages.until_messages(1, &[json!(["Bob", "anybody?"])]).await;
    pages.run(1, "location.hash = 'general'", json!([])).await;
    pages.until_messages(1, &seen).await;

    // Someone who comes later sees what the room has kept.
    pages.0.new_window().await;
    pages.0.open(&format!("http://{}/api/chat/", host.http)).await;
    pages.enter(2, "ada").await;
    pages.until_text(2, "#refusal", "ada is here already: choose another name.").await;
    pages.run(2, "document.querySelector('#name').value = ''", json!([])).await;
    pages.enter(2, "Cleo").await;
    pages.until_messages(2, &seen).await;
    pages.until_text(0, "#count", "3 people here").await;
    pages.say(2, "hi").await;
    seen.push(json!(["Cleo", "hi"]));
    for window in 0..3 {
        pages.until_messages(window, &seen).await;
    }
    pages.click(2, "#sign-out").await;
    pages.until_text(0, "#count", "2 people here").await;
    assert_fits_and_is_readable(&pages.0, "chat").await;
}

#[tokio::test]
async fn the_chat_says_what_it_does_not_publish_and_keeps_the_text() {
    let host = chat().start().await;
    let Some(pages) = Pages::of(&[("Ada", host.http)]).await else { return };
    assert_fits_and_is_readable(&pages.0, "chat-empty").await;
    let send = "const [form, text] = [document.querySelector('#send'), document.querySelector('#text')];
        text.value = arguments[0];
        form.requestSubmit();";
    pages.run(0, send, json!(["x".repeat(501)])).await;
    pages.until_text(0, "#failure", "Not sent: a text has 1 to 500 characters.").await;
    let left =
        pages.run(0, "return [text.value.length, document.querySelectorAll('.message').length]", json!([])).await;
    assert_eq!(left, json!([501, 0]));
    pages.run(0, send, json!(["x".repeat(500)])).await;
    pages.until_messages(0, &[json!(["Ada", "x".repeat(500)])]).await;
    assert_eq!(pages.text(0, "#failure").await, "");
}

/// Each page answers each of its messages that is published with another one, and records all that
/// appear in the room. `say()` sends one.
const TALK: &str = "
    window.seen = []; window.said = []; window.stop = false;
    const [name] = arguments;
    const [form, text] = [document.querySelector('#send'), document.querySelector('#text')];
    window.say = () => {
        said.push(`${name} ${said.length}`);
        text.value = said.at(-1);
        form.requestSubmit();
    };
    const appeared = (line) => {
        const [who, what] = ['.who', '.said'].map((part) => line.querySelector(part).textContent);
        seen.push(`${who}: ${what}`);
        // After the page has finished with this message.
        if (who === name && !stop) queueMicrotask(say);
    };
    new MutationObserver((changes) => {
        const lines = changes.flatMap(({ addedNodes }) => [...addedNodes]);
        lines.filter((line) => line.matches('.message:not(.unsent)')).forEach(appeared);
    }).observe(document.querySelector('.log'), { childList: true });";

#[tokio::test]
async fn two_windows_lose_and_double_nothing_while_the_chat_is_swapped_its_broker_is_killed_and_its_instance_crashes() {
    let crash = Arc::new(AtomicBool::new(false));
    let armed = crash.clone();
    let host = chat().probe(Arc::new(move |_| {
        assert!(!armed.swap(false, Ordering::AcqRel), "a panic for the test");
    }));
    let host = host.start().await;
    let Some(pages) = both(&host).await else { return };
    for (window, name) in ["Ada", "Bob"].into_iter().enumerate() {
        pages.run(window, TALK, json!([name])).await;
    }
    for window in 0..2 {
        pages.run(window, "for (let count = 0; count < 4; count += 1) say()", json!([])).await;
    }
    let count = async |window| pages.run(window, "return seen.length", json!([])).await.as_u64().unwrap();

    for round in 0..SWAPS {
        let so_far = [count(0).await, count(1).await];
        assert_eq!(host.reload("chat").await["outcome"], "swapped", "{round}");
        if round < KILLS {
            // A call that runs during an immediate kill ends with `crashed`. The page publishes the
            // message again.
            let mode = [KillMode::Graceful, KillMode::Immediate][round % 2];
            assert_eq!(host.running().kill_brokers(None, mode).await.unwrap().len(), 1, "{round}");
        }
        if round < CRASHES {
            crash.store(true, Ordering::Release);
            eventually("a call crashes", || async { !crash.load(Ordering::Acquire) }).await;
        }
        for (window, so_far) in so_far.into_iter().enumerate() {
            eventually("more messages arrive", || async { count(window).await > so_far + 10 }).await;
        }
    }

    for window in 0..2 {
        pages.run(window, "stop = true", json!([])).await;
    }
    let mut said = BTreeSet::new();
    for window in 0..2 {
        let unsent = "return document.querySelectorAll('.unsent').length";
        eventually("everything is published", || async { pages.run(window, unsent, json!([])).await == 0 }).await;
        for text in pages.run(window, "return said", json!([])).await.as_array().unwrap() {
            said.insert(format!("{}: {}", ["Ada", "Bob"][window], text.as_str().unwrap()));
        }
    }
    for window in 0..2 {
        eventually("everything has arrived", || async { count(window).await >= said.len() as u64 }).await;
    }
    let [ada, bob] = [0, 1].map(|window| pages.run(window, "return seen", json!([])));
    let (ada, bob): (Vec<String>, Vec<String>) =
        (serde_json::from_value(ada.await).unwrap(), serde_json::from_value(bob.await).unwrap());
    assert_eq!(ada, bob, "both see one order");
    assert_eq!(ada.len(), said.len(), "nothing is doubled");
    assert_eq!(ada.into_iter().collect::<BTreeSet<_>>(), said, "nothing is lost");
    for window in 0..2 {
        assert_eq!(
            (pages.text(window, "#state").await, pages.text(window, "#failure").await),
            ("online".into(), String::new())
        );
        assert_eq!(pages.notices(window).await, Vec::<String>::new());
    }
    assert_eq!(host.metric("fanfare_websocket_opened_total", &[]).await, 2.0, "no page has connected again");
}

#[tokio::test]
async fn a_page_that_was_offline_recovers_what_it_missed_or_says_that_it_cannot() {
    let host = chat().manifest("chat", json!({ "channels": { "chat/room/*": { "history": 5 } } })).start().await;
    let Some(pages) = both(&host).await else { return };
    pages.say(0, "before").await;
    let mut seen = vec![json!(["Ada", "before"])];
    pages.until_messages(1, &seen).await;

    pages.click(0, "#cut").await;
    pages.until_state(0, "offline").await;
    pages.until_text(1, "#count", "1 person here").await;
    for number in 1..=5 {
        pages.say(1, &format!("missed {number}")).await;
        seen.push(json!(["Bob", format!("missed {number}")]));
        pages.until_messages(1, &seen).await;
    }
    // What is said offline is published later, after what was missed.
    pages.say(0, "later").await;
    pages.click(0, "#cut").await;
    pages.until_state(0, "online").await;
    seen.push(json!(["Ada", "later"]));
    for window in 0..2 {
        pages.until_messages(window, &seen).await;
    }
    assert_eq!(pages.notices(0).await, ["5 messages recovered."]);

    // More than the room keeps.
    pages.click(0, "#cut").await;
    pages.until_state(0, "offline").await;
    for number in 1..=6 {
        pages.say(1, &format!("more {number}")).await;
        seen.push(json!(["Bob", format!("more {number}")]));
        pages.until_messages(1, &seen).await;
    }
    pages.click(0, "#cut").await;
    pages.until_state(0, "online").await;
    seen.retain(|message| message != &json!(["Bob", "more 1"]));
    pages.until_messages(0, &seen).await;
    let lost = "Messages may be missing here: the host no longer has them.";
    assert_eq!(pages.notices(0).await, ["5 messages recovered.", lost, "5 messages recovered."]);
    assert_fits_and_is_readable(&pages.0, "chat-recovered").await;
}

#[tokio::test]
async fn a_page_whose_connection_is_cut_connects_again_and_shows_each_message_once() {
    let host = chat().start().await;
    let proxy = Proxy::to(host.http).await;
    let Some(pages) = Pages::of(&[("Ada", proxy.address), ("Bob", host.http)]).await else { return };
    let mut seen = Vec::new();
    for cut in 1..=4 {
        let own = format!("said before the cut {cut}");
        pages.say(0, &own).await;
        // The page does not know whether this message was published.
        proxy.cut();
        eventually("the proxy has cut", || async { proxy.open() == 0 }).await;
        pages.say(1, &format!("said during the cut {cut}")).await;
        seen.extend([json!(["Ada", own]), json!(["Bob", format!("said during the cut {cut}")])]);
        pages.until_state(0, "online").await;
        let all = async |window| pages.messages(window).await.as_array().unwrap().len() == seen.len();
        for window in 0..2 {
            eventually("all messages are there", || all(window)).await;
        }
    }
    let [ada, bob] = [pages.messages(0).await, pages.messages(1).await];
    assert_eq!(ada, bob, "both see one order");
    let mut ada = ada.as_array().unwrap().clone();
    ada.sort_by_key(Value::to_string);
    seen.sort_by_key(Value::to_string);
    assert_eq!(ada, seen);
    let notices = pages.notices(0).await;
    assert_eq!(notices.len(), 4, "{notices:?}");
    assert!(notices.iter().all(|notice| notice.ends_with("recovered.")), "{notices:?}");
    // A connection that is replaced by the same page is not another person.
    pages.until_text(1, "#count", "2 people here").await;
}

#[tokio::test]
async fn a_page_continues_after_a_restart_of_the_host_and_says_that_messages_may_be_missing() {
    let host = chat().start().await;
    let Some(pages) = Pages::of(&[("Ada", host.http)]).await else { return };
    pages.say(0, "before").await;
    pages.until_messages(0, &[json!(["Ada", "before"])]).await;
    let listen = json!({ "http": { "listen": host.http.to_string() } });
    let folder = host.leave().await;
    pages.until_state(0, "connecting").await;
    pages.say(0, "said meanwhile").await;
    let _host = chat().again(folder).config(listen).start().await;
    pages.until_state(0, "online").await;
    pages.until_messages(0, &[json!(["Ada", "before"]), json!(["Ada", "said meanwhile"])]).await;
    let lost = "Messages may be missing here: the host no longer has them.";
    assert_eq!(pages.notices(0).await, [lost, "0 messages recovered."]);
}

#[tokio::test]
async fn the_same_person_in_another_window_takes_the_place_of_the_first_one() {
    let host = chat().start().await;
    let Some(pages) = Pages::of(&[("Ada", host.http)]).await else { return };
    let secret = pages.run(0, "return sessionStorage.getItem('chat')", json!([])).await;
    pages.0.new_window().await;
    pages.0.open(&format!("http://{}/api/chat/", host.http)).await;
    pages.run(1, "sessionStorage.setItem('chat', arguments[0])", json!([secret])).await;
    pages.0.open(&format!("http://{}/api/chat/", host.http)).await;
    pages.until_state(1, "online").await;
    pages.until_state(0, "replaced").await;
    pages.until_text(1, "#count", "1 person here").await;
    pages.click(0, "#again").await;
    pages.until_state(0, "online").await;
    pages.until_state(1, "replaced").await;
    assert_eq!(host.metric("fanfare_websocket_closed_total", &["code=\"4010\""]).await, 2.0);
}
