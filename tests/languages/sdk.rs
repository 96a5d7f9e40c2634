//! The modules of `sdk/cases`, which each SDK implements in its language.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::cli::project::Project;
use crate::harness::{Connection, EventStream, Started, TestHost, WebSocket, eventually, json_of, not_run, root};

/// The calls that are in flight at once.
const AT_ONCE: usize = 64;

/// The swaps while calls are in flight.
const SWAPS: usize = 8;

/// What the manifest of the cases asks for.
fn grants() -> Value {
    json!({ "sessions": true, "publish": ["redis:news"], "sse": ["*"], "reload": true })
}

/// The SDK of one language.
pub struct Sdk {
    /// The folder of its component.
    component: &'static str,
    /// The source of its module. The log has the place of an error there.
    source: &'static str,
    /// If an instance runs one call at a time: the file of what cases expect that call the module
    /// itself.
    serial: Option<&'static str>,
}

/// Runs every test for the SDK of each language.
macro_rules! every_language {
    ($($language:ident: $sdk:expr;)*) => {$(
        pub mod $language {
            use super::Sdk;

            pub const SDK: Sdk = $sdk;

            #[tokio::test]
            async fn passes_the_cases() {
                SDK.passes_the_cases().await;
            }

            #[tokio::test]
            async fn is_called_by_every_trigger_also_after_a_swap_and_a_crash() {
                SDK.is_called_by_every_trigger().await;
            }

            #[tokio::test]
            async fn keeps_its_state_over_a_swap_and_loses_it_in_a_crash() {
                SDK.keeps_its_state_over_a_swap().await;
            }

            #[tokio::test]
            async fn no_call_fails_in_swaps_and_each_counts_once() {
                SDK.swaps_while_calls_are_in_flight().await;
            }

            #[tokio::test]
            async fn calls_interleave_and_keep_their_callers() {
                SDK.calls_interleave().await;
            }

            #[tokio::test]
            async fn each_instance_has_its_own_random_numbers() {
                SDK.has_random_numbers().await;
            }

            #[tokio::test]
            async fn writes_to_the_log_of_its_own_call() {
                SDK.writes_to_the_log().await;
            }

            #[tokio::test]
            async fn learns_that_nobody_listens_to_messages_for_the_master() {
                SDK.has_no_master().await;
            }
        }
    )*};
}

every_language! {
    rust: Sdk {
        component: "tests/guests/conformance",
        source: "tests/guests/conformance/src/lib.rs",
        serial: None,
    };
    javascript: Sdk {
        component: "target/languages/javascript-sdk",
        source: "sdk/js/conformance/conformance.js",
        serial: None,
    };
    python: Sdk {
        component: "target/languages/python-sdk",
        source: "sdk/python/conformance/conformance.py",
        serial: None,
    };
    c: Sdk {
        component: "target/languages/c-sdk",
        source: "sdk/c/conformance/conformance.c",
        serial: Some("sdk/c/conformance/serial.json"),
    };
}

/// A component that `tests/guests/languages/build` has made.
pub fn built(language: &str, name: &str) -> Option<Vec<u8>> {
    let path = root().join(format!("target/languages/{language}/{name}.wasm"));
    if !path.exists() {
        not_run(&format!("{language}: build it with tests/guests/languages/build {language}"));
        return None;
    }
    Some(fs::read(path).unwrap())
}

fn case_file(name: &str) -> String {
    fs::read_to_string(root().join("sdk/cases").join(name)).unwrap()
}

impl Sdk {
    fn built(&self) -> Option<Vec<u8>> {
        match self.component.strip_prefix("target/languages/") {
            Some(language) => built(language, language),
            None => Some(fs::read(root().join(self.component).join("conformance.wasm")).unwrap()),
        }
    }

    /// A trace that no other SDK and no other test of this run has.
    fn trace(&self, number: usize) -> String {
        let language = self.component.bytes().fold(0, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        format!("{number:08x}{language:08x}{:016x}", std::process::id())
    }

    /// Starts a host with one worker and the module of the cases, if it is built.
    pub async fn start(&self, change: impl FnOnce(TestHost) -> TestHost) -> Option<Started> {
        let component = self.built()?;
        let host = TestHost::empty()
            .workers(1)
            .file("modules/conformance/module.json", case_file("module.json"))
            .file("modules/conformance/conformance.wasm", component)
            .grant("conformance", grants())
            .config(json!({ "sse": {}, "limits": { "max": { "timeout": "60s", "startup": "60s" } } }))
            .limit("conformance", "memory", "128MiB")
            .limit("conformance", "timeout", "30s");
        let host = change(host).start().await;
        let slot = host.slot("conformance", 0).await;
        assert_eq!(slot["state"], "ready", "{slot:?}");
        Some(host)
    }

    /// The line of the module's source with this text, as the log names it.
    fn place(&self, text: &str) -> String {
        let file = PathBuf::from(self.source);
        let source = fs::read_to_string(root().join(&file)).unwrap();
        let line = source.lines().position(|line| line.contains(text)).unwrap() + 1;
        format!("{}:{line}", file.file_name().unwrap().to_str().unwrap())
    }

    fn cases(&self) -> String {
        let text = case_file("conformance.test.json");
        let Some(serial) = self.serial else { return text };
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let mut cases: Value = serde_json::from_str(&lines.join("\n")).unwrap();
        let mut serial: Value = serde_json::from_slice(&fs::read(root().join(serial)).unwrap()).unwrap();
        for case in cases["cases"].as_array_mut().unwrap() {
            if let Some(expected) = serial.as_object_mut().unwrap().remove(case["name"].as_str().unwrap()) {
                case["expect"] = expected;
            }
        }
        assert_eq!(serial, json!({}), "there are no such cases");
        cases.to_string()
    }

    async fn passes_the_cases(&self) {
        let Some(component) = self.built() else { return };
        let project = Project::with(&[])
            .file("modules/conformance/module.json", case_file("module.json"))
            .file("modules/conformance/conformance.test.json", self.cases())
            .file("modules/conformance/conformance.wasm", component);
        let ran = project.run(&["test", "conformance"]).await;
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    }

    /// Swaps to a generation with another config, and then loses the memory in a crash.
    async fn keeps_its_state_over_a_swap(&self) {
        let Some(host) = self.start(|host| host).await else { return };
        for calls in 1..=2 {
            assert_eq!(calls_of(&host).await, calls);
        }
        host.rewrite("conformance", json!({ "config": { "word": "next", "list": [1, 2, 3] } }));
        let swapped = host.reload("conformance").await;
        assert_eq!(swapped["outcome"], "swapped", "{swapped}");
        assert_eq!(host.post("/api/conformance/config", "").await.json()["word"], "next");
        assert_eq!(calls_of(&host).await, 3, "the state was handed over");
        assert_eq!(started(&host).await, json!({ "name": "warm", "reason": "swap" }));

        let crashed = host.post("/api/conformance/spin", "").await;
        assert_eq!((crashed.status, crashed.code().as_str()), (500, "crashed"), "{}", crashed.text());
        let restarted = || async { host.slot("conformance", 0).await["state"] == "ready" };
        eventually("the instance starts again", restarted).await;
        assert_eq!(started(&host).await, json!({ "name": "warm", "reason": "restart" }));
        assert_eq!(calls_of(&host).await, 1, "a crash loses the memory");
    }

    /// Calls wait in the instance whenever a swap begins. The last one hands over the count of all
    /// calls that were answered.
    async fn swaps_while_calls_are_in_flight(&self) {
        let Some(host) = self.start(|host| host).await else { return };
        // The route `later` calls the module itself.
        let paths: &[&str] = match self.serial {
            Some(_) => &["/api/conformance/state"],
            None => &["/api/conformance/state", "/api/conformance/later"],
        };
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (http, stop) = (host.http, stop.clone());
            clients.spawn(async move {
                let (mut client, mut answered) = (Connection::open(http).await, 0);
                while !stop.load(Ordering::Acquire) {
                    for path in paths {
                        let answer = client.send("POST", path, &[], "").await;
                        assert_eq!(answer.status, 200, "{}", answer.text());
                    }
                    answered += 1;
                }
                answered
            });
        }
        for _ in 0..SWAPS {
            let busy = || async { host.slot("conformance", 0).await["inFlight"].as_u64() > Some(0) };
            eventually("calls are in flight", busy).await;
            let swapped = host.reload("conformance").await;
            assert_eq!((&swapped["outcome"], &swapped["running"]), (&json!("swapped"), &json!(0)), "{swapped}");
        }
        stop.store(true, Ordering::Release);
        let answered: u64 = clients.join_all().await.into_iter().sum();
        assert!(answered >= AT_ONCE as u64, "{answered}");
        assert_eq!(calls_of(&host).await, answered + 1);
        assert_eq!(started(&host).await, json!({ "name": "warm", "reason": "swap" }));
        assert_eq!(host.slot("conformance", 0).await["restarts"], 0);
    }

    /// A stream and a client stay connected over the swap and the crash.
    async fn is_called_by_every_trigger(&self) {
        let rights = json!({ "rpc": ["conformance"], "broadcast": [] });
        let changed = |host: TestHost| {
            host.and("waits")
                .manifest("waits", json!({ "capabilities": rights }))
                .grant("waits", rights)
                .manifest("conformance", json!({ "schedules": { "tick": { "interval": "100ms" } } }))
        };
        let Some(host) = self.start(changed).await else { return };
        let mut stream = EventStream::open(host.http, "/stream?connectKey=conformance").await;
        let mut client = WebSocket::open(host.http, "/api/conformance/room/7?as=ada").await;
        triggers(&host, &mut stream, &mut client).await;
        assert_eq!(host.reload("conformance").await["outcome"], "swapped");
        triggers(&host, &mut stream, &mut client).await;
        assert_eq!(host.post("/api/conformance/spin", "").await.code(), "crashed");
        triggers(&host, &mut stream, &mut client).await;
        assert_eq!(host.slot("conformance", 0).await["restarts"], 1);
    }

    /// A component may not carry the seed that it was built with.
    async fn has_random_numbers(&self) {
        let Some(host) = self.start(|host| host.workers(2)).await else { return };
        let random = async |worker: &str| {
            let answer = host.call(worker, "conformance", "random", "").await;
            assert_eq!(answer["status"], 200, "{answer}");
            json_of(&answer).to_string()
        };
        let mut seen = BTreeSet::from([random("worker-0").await, random("worker-0").await]);
        seen.insert(random("worker-1").await);
        assert_eq!(host.reload("conformance").await["outcome"], "swapped");
        seen.extend([random("worker-0").await, random("worker-1").await]);
        assert_eq!(seen.len(), 5, "{seen:?}");
    }

    /// Many calls wait in one instance for another call, or for their turn. Each gets its own
    /// answer, and its imports carry its id.
    async fn calls_interleave(&self) {
        let more = AT_ONCE + 8;
        // Some log more than one line for a call.
        let limits =
            |host: TestHost| host.limit("conformance", "concurrency", more).limit("conformance", "logRate", 1000);
        let Some(host) = self.start(limits).await else { return };
        let path = if self.serial.is_some() { "/api/conformance/log" } else { "/api/conformance/hold" };
        let mut held = JoinSet::new();
        for number in 0..AT_ONCE {
            let (address, parent) = (host.http, parent(&self.trace(number)));
            held.spawn(async move {
                let headers = [("traceparent", parent.as_str())];
                let mut connection = Connection::open(address).await;
                (number, connection.send("POST", path, &headers, number.to_string()).await)
            });
        }
        if self.serial.is_none() {
            let holding = || async { host.slot("conformance", 0).await["inFlight"] == AT_ONCE };
            eventually("the calls wait", holding).await;
            assert_eq!(host.post("/api/conformance/release", "").await.text(), AT_ONCE.to_string());
        }
        while let Some(answer) = held.join_next().await {
            let (number, answer) = answer.unwrap();
            let expected = match self.serial {
                Some(_) => (204, String::new()),
                None => (200, number.to_string()),
            };
            assert_eq!((answer.status, answer.text().to_owned()), expected);
        }
        for number in 0..AT_ONCE {
            let text = if self.serial.is_some() { "sold a hat".to_owned() } else { format!("released {number} ") };
            let logged = || async { host.log.contains(&["module=conformance", &text, &self.trace(number)]) };
            eventually(&format!("the line of call {number}, with its trace"), logged).await;
        }
        assert_eq!(host.slot("conformance", 0).await["restarts"], 0);
    }

    /// Lines of the module's own functions, and of failures with status 500: an error that nothing
    /// caught, and a result that cannot be sent.
    async fn writes_to_the_log(&self) {
        let Some(host) = self.start(|host| host).await else { return };
        let trace = self.trace(AT_ONCE);
        let parent = parent(&trace);
        let headers = [("traceparent", parent.as_str())];
        for path in ["log", "throw", "unsendable", "fail"] {
            host.request("POST", &format!("/api/conformance/{path}"), &headers, "").await;
        }
        let place = self.place("out of cheese");
        let mut lines = vec![vec!["INFO", "sold a hat", "shop=main", "left=3"], vec!["INFO", "printed"]];
        // The SDK for C does not name the handler.
        let handler = if self.serial.is_some() { "" } else { "fault" };
        lines.push(vec!["ERROR", "out of cheese", &place, handler]);
        lines.push(vec!["ERROR", "invalid-result: "]);
        for words in &mut lines {
            words.extend(["module=conformance", &*trace]);
            let logged = || async { host.log.contains(words) };
            eventually(&format!("a line with {words:?}"), logged).await;
        }
        // Each once, and none about the failure with status 404.
        let errors = host.log.lines(&["ERROR", "module=conformance", &trace]);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert_eq!(host.slot("conformance", 0).await["restarts"], 0);
    }
}

impl Sdk {
    /// Without the hook that receives the messages in the cases.
    async fn has_no_master(&self) {
        let unhooked = |host: TestHost| {
            host.manifest_text("conformance", |text| {
                let mut manifest: Value = serde_json::from_str(&text).unwrap();
                manifest["hooks"].as_object_mut().unwrap().remove("workerMessage").unwrap();
                manifest.to_string()
            })
        };
        let Some(host) = self.start(unhooked).await else { return };
        let sent = host.post("/api/conformance/master", json!({ "word": "hi" }).to_string()).await;
        let expected = json!({ "send": "unavailable", "reply": null, "failure": null, "post": "unavailable" });
        assert_eq!(sent.json(), expected);
    }
}

/// Calls the module by HTTP, broadcast, RPC, event, schedule, stream and client message.
async fn triggers(host: &Started, stream: &mut EventStream, client: &mut WebSocket) {
    let echoed = host.post("/api/conformance/echo", "grüße").await;
    assert_eq!((echoed.status, echoed.text()), (200, "grüße"));

    let entries = host.gather("conformance", "told", json!({ "word": "hi" }).to_string()).await;
    let told = json_of(&entries[0]["reply"]);
    assert_eq!((&told["kind"], &told["body"]), (&json!("broadcast"), &json!({ "word": "hi" })), "{told}");

    let called = host.nested(0, json!({ "route": "conformance/inner/origin" })).await;
    let origin = json!({ "kind": "guest", "module": "waits", "isolate": "worker-0", "trigger": "rpc" });
    assert_eq!(json_of(&called["ok"]), origin, "{called}");

    let event = json!({ "type": "conformance/said", "value": ["grüße"] }).to_string();
    assert_eq!(host.post("/api/conformance/tell", event).await.status, 204);
    let heard = stream.event().await.unwrap();
    let value = serde_json::from_str::<Value>(heard.text()).unwrap()["value"].clone();
    assert_eq!((heard.name(), value), ("heard", json!(["grüße"])));

    let ticks = host.ended("conformance", 0, "schedule", "ok").await;
    let ticked = || async { host.ended("conformance", 0, "schedule", "ok").await > ticks };
    eventually("the schedule runs", ticked).await;

    let address = host.http;
    let request = format!(
        "GET /stream?connectKey=conformance/private HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\nx-user: ada\r\n\r\n"
    );
    assert_eq!(EventStream::send(address, &request).await.status, 200);
    let admitted = stream.event().await.unwrap();
    assert_eq!(admitted.name(), "admitted", "{admitted:?}");

    client.send(&json!({ "do": "values" }).to_string()).await;
    assert_eq!(client.json().await, json!({ "note": "first" }));
    let reply = client.json().await;
    let facts = (&reply["kind"], &reply["mine"], &reply["uid"], &reply["id"]);
    assert_eq!(facts, (&json!("client"), &json!(true), &json!("user-1"), &json!("7")), "{reply}");
}

fn parent(trace: &str) -> String {
    format!("00-{trace}-00f067aa0ba902b7-01")
}

pub async fn calls_of(host: &Started) -> u64 {
    let answer = host.post("/api/conformance/state", "").await;
    answer.json()["calls"].as_u64().unwrap_or_else(|| panic!("{}", answer.text()))
}

/// The last startup that the module saw.
async fn started(host: &Started) -> Value {
    host.post("/api/conformance/warmed", "").await.json()
}
