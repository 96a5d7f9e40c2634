//! Guests that implement the contract in each language without an SDK (`tests/guests/languages`),
//! and the modules of the SDKs.

mod c;
mod go;
mod javascript;
mod memory;
mod modules;
mod python;
mod replaced;
mod sdk;

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::harness::{Connection, EventStream, Started, TestHost, WebSocket, eventually, not_run, root};

/// The guest of one language.
struct Language {
    name: &'static str,
    /// Whether one instance runs several calls at once.
    concurrent: bool,
}

const RUST: Language = Language { name: "rust", concurrent: true };
const C: Language = Language { name: "c", concurrent: false };
const JAVASCRIPT: Language = Language { name: "javascript", concurrent: true };
const PYTHON: Language = Language { name: "python", concurrent: true };
const STARLINGMONKEY: Language = Language { name: "starlingmonkey", concurrent: false };

impl Language {
    fn component(&self) -> Option<PathBuf> {
        let name = self.name;
        let places =
            [format!("tests/guests/languages/{name}/{name}.wasm"), format!("target/languages/{name}/{name}.wasm")];
        places.into_iter().map(|place| root().join(place)).find(|path| path.exists())
    }

    /// Starts a host with one worker, this guest, and `waits` under the name `echo`. Returns `None`
    /// if the guest is not built.
    async fn start(&self) -> Option<Started> {
        self.start_with(|host| host).await
    }

    async fn start_with(&self, change: impl FnOnce(TestHost) -> TestHost) -> Option<Started> {
        let name = self.name;
        let Some(component) = self.component() else {
            not_run(&format!("{name}: build it with tests/guests/languages/build {name}"));
            return None;
        };
        let manifest = fs::read(root().join(format!("tests/guests/languages/{name}/module.json"))).unwrap();
        let folder = format!("modules/{name}");
        let host = TestHost::empty()
            .workers(1)
            .and_as("waits", "echo")
            .manifest("echo", json!({ "capabilities": { "rpc": [], "broadcast": [] } }))
            .file(&format!("{folder}/module.json"), manifest)
            .file(&format!("{folder}/guest.wasm"), fs::read(component).unwrap())
            .manifest_text(name, |text| {
                let line = text.lines().find(|line| line.contains("\"component\"")).unwrap().to_owned();
                text.replace(&line, "\"component\": \"guest.wasm\",")
            })
            .grant(name, json!({ "rpc": ["echo"], "sessions": true }))
            .config(json!({ "sse": {}, "limits": { "max": { "timeout": "60s", "startup": "60s" } } }))
            .limit(name, "memory", "128MiB")
            .limit(name, "timeout", "15s");
        let host = change(host).start().await;
        assert_eq!(host.slot(name, 0).await["state"], "ready", "{:?}", host.slot(name, 0).await);
        Some(host)
    }

    fn path(&self, handler: &str) -> String {
        format!("/api/{}/{handler}", self.name)
    }

    async fn keeps_the_contract(&self) {
        let Some(host) = self.start().await else { return };
        self.echoes(&host).await;
        self.passes(&host).await;
        self.waits(&host).await;
        self.emits(&host).await;
        self.is_charged(&host).await;
        self.publishes(&host).await;
        self.tells_and_hears(&host).await;
        self.greets_clients(&host).await;
        self.uses_channels(&host).await;
        if self.concurrent {
            self.holds_until_another_call_releases(&host).await;
        }
        assert_eq!(host.slot(self.name, 0).await["restarts"], 0, "the instance survives all of it");
    }

    async fn echoes(&self, host: &Started) {
        let text = host.post(&self.path("echo"), "grüße").await;
        assert_eq!((text.status, text.text()), (200, "grüße"));
        let bytes = host.request("POST", &self.path("echo"), &[("content-type", "image/png")], [0xff, 0, 1]).await;
        assert_eq!((bytes.status, &bytes.body[..]), (200, &[0xff, 0, 1][..]));
        assert_eq!(host.post(&self.path("echo"), "").await.status, 204);
    }

    async fn passes(&self, host: &Started) {
        let passed = host.post(&self.path("pass"), "grüße").await;
        assert_eq!((passed.status, passed.text()), (200, "grüße"));
    }

    async fn waits(&self, host: &Started) {
        let waited = host.post(&self.path("wait"), "echo/ok").await;
        assert_eq!(waited.status, 200, "{}", waited.text());
        let unknown = host.post(&self.path("wait"), "echo/nothing").await;
        assert_eq!(unknown.code(), "not-found");
        let forbidden = host.post(&self.path("wait"), "flags/all").await;
        assert_eq!(forbidden.code(), "forbidden");
    }

    async fn emits(&self, host: &Started) {
        let receipt = host.post(&self.path("emit"), "ping").await.json();
        assert_eq!((&receipt["seq"], &receipt["accepted"]), (&json!(1), &json!(1)), "{receipt}");
        let arrived = || async { host.ended(self.name, 0, "broadcast", "ok").await == 1.0 };
        eventually("the broadcast runs", arrived).await;
    }

    /// Runs two calls at once, each of which waits twice: their imports carry the id of the right
    /// call.
    async fn is_charged(&self, host: &Started) {
        let traces = [1, 2].map(|number: u32| format!("{number:08x}{:024x}", std::process::id()));
        let call = async |trace: &str| {
            let parent = format!("00-{trace}-00f067aa0ba902b7-01");
            host.request("POST", &self.path("charged"), &[("traceparent", &parent)], "").await
        };
        let (one, other) = tokio::join!(call(&traces[0]), call(&traces[1]));
        for answer in [&one, &other] {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert_ne!(one.text(), other.text(), "each call has its own id");
        let module = format!("module={}", self.name);
        for trace in &traces {
            let logged = || async { host.log.contains(&[&module, "charged", trace]) };
            eventually("the call's own log line", logged).await;
        }
    }

    /// Publishes to a channel of its own twice, and reads its history and its members.
    async fn uses_channels(&self, host: &Started) {
        let name = self.name;
        let used = host.post(&self.path("channel"), format!("{name}/room")).await;
        assert_eq!((used.status, used.text()), (200, "2 grüße 0 2 true 0 0"), "{name}");
        let again = host.post(&self.path("channel"), format!("{name}/room")).await;
        assert_eq!(again.text(), "4 grüße 0 3 true 0 0", "{name}: the history keeps three messages");
        assert_eq!(host.post(&self.path("channel"), "lobby").await.code(), "forbidden", "{name}");
    }

    async fn publishes(&self, host: &Started) {
        let mut stream = EventStream::open(host.http, &format!("/stream?connectKey={}", self.name)).await;
        let published = host.post(&self.path("stream"), self.name).await;
        assert_eq!((published.status, published.text()), (200, "1 of 1"), "{}", self.name);
        let event = stream.event().await.unwrap();
        assert_eq!((event.name(), event.text(), event.id.as_deref()), ("tick", "grüße", Some("7")));
        assert_eq!((event.retry, event.comments), (Some(1_000), Vec::new()));
        assert_eq!(host.post(&self.path("stream"), "news").await.code(), "forbidden");
    }

    /// Emits an event, and receives it through a subscription.
    async fn tells_and_hears(&self, host: &Started) {
        let name = self.name;
        let mut stream = EventStream::open(host.http, &format!("/stream?connectKey={name}")).await;
        let told = host.post(&self.path("tell"), format!("{name}/said")).await;
        assert_eq!(told.status, 204, "{}", told.text());
        let expected = format!("told event {name}/said \"grüße\" true");
        assert_eq!(stream.event().await.unwrap().text(), expected);
        assert_eq!(host.post(&self.path("tell"), "other/said").await.code(), "forbidden");
        let untyped = host.post(&self.path("tell"), "").await;
        assert_eq!(untyped.code(), "forbidden");
        let detail = untyped.json()["detail"].to_string();
        assert!(detail.contains("message"), "an event without a type has the type `message`: {detail}");
        assert_eq!(host.ended(name, 0, "subscription", "ok").await, 1.0);
    }

    /// Receives a message of a connected client, and sends to it.
    async fn greets_clients(&self, host: &Started) {
        let mut client = WebSocket::open(host.http, &self.path("greet")).await;
        client.send("\"ada\"").await;
        let expected = ["grüße", "pushed", "greet \"ada\" 1 1 plain"];
        assert_eq!([client.text().await, client.text().await, client.text().await], expected, "{}", self.name);
        assert_eq!(host.post(&self.path("greet"), "\"ada\"").await.code(), "forbidden");
    }

    async fn holds_until_another_call_releases(&self, host: &Started) {
        const HELD: usize = 3;
        let path = self.path("hold");
        let mut held = tokio::task::JoinSet::new();
        for _ in 0..HELD {
            let (address, path) = (host.http, path.clone());
            held.spawn(async move { Connection::open(address).await.send("POST", &path, &[], "").await });
        }
        let holding = || async { host.slot(self.name, 0).await["inFlight"] == HELD };
        eventually("the calls wait", holding).await;
        assert_eq!(host.post(&self.path("release"), "").await.text(), HELD.to_string());
        while let Some(answer) = held.join_next().await {
            assert_eq!(answer.unwrap().status, 200);
        }
    }
}

#[tokio::test]
async fn rust_keeps_the_contract() {
    RUST.keeps_the_contract().await;
}

#[tokio::test]
async fn c_keeps_the_contract() {
    C.keeps_the_contract().await;
}

#[tokio::test]
async fn javascript_keeps_the_contract() {
    JAVASCRIPT.keeps_the_contract().await;
}

#[tokio::test]
async fn python_keeps_the_contract() {
    PYTHON.keeps_the_contract().await;
}

#[tokio::test]
async fn starlingmonkey_keeps_the_contract() {
    STARLINGMONKEY.keeps_the_contract().await;
}

#[tokio::test]
async fn a_guest_that_blocks_is_detected_as_serial() {
    for language in [C, RUST] {
        let host = language.start().await.expect("this guest is checked in");
        let status = host.status().await;
        let listed =
            status["modules"].as_array().unwrap().iter().find(|module| module["name"] == language.name).unwrap();
        assert_eq!(listed["serial"], json!(!language.concurrent), "{}", language.name);
    }
}
