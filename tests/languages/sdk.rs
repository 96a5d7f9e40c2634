//! The modules of `sdk/cases`, which each SDK implements in its language.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::cli::project::Project;
use crate::harness::{Connection, Started, TestHost, eventually, not_run, root, section, vector};

/// The calls that wait at once in one instance.
const AT_ONCE: usize = 64;

/// What the manifest of the cases asks for.
fn grants() -> Value {
    json!({ "sessions": true, "publish": ["redis:news"], "sse": ["*"], "reload": true })
}

/// The SDK of one language.
pub struct Sdk {
    name: &'static str,
    /// The source of its module, below the root of the repository.
    source: &'static str,
}

pub const JAVASCRIPT: Sdk = Sdk { name: "javascript-sdk", source: "sdk/js/conformance/conformance.js" };

pub const PYTHON: Sdk = Sdk { name: "python-sdk", source: "sdk/python/conformance/conformance.py" };

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
    /// Starts a host with one worker and the module of the cases, if it is built.
    async fn start(&self, change: impl FnOnce(TestHost) -> TestHost) -> Option<Started> {
        let component = built(self.name, self.name)?;
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
        let source = fs::read_to_string(root().join(self.source)).unwrap();
        let line = source.lines().position(|line| line.contains(text)).unwrap() + 1;
        let file = PathBuf::from(self.source);
        format!("{}:{line}", file.file_name().unwrap().to_str().unwrap())
    }

    pub async fn passes_the_cases(&self) {
        let Some(component) = built(self.name, self.name) else { return };
        let project = Project::with(&[])
            .file("modules/conformance/module.json", case_file("module.json"))
            .file("modules/conformance/conformance.test.json", case_file("conformance.test.json"))
            .file("modules/conformance/conformance.wasm", component);
        let ran = project.run(&["test", "conformance"]).await;
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    }

    /// Swaps to another component with the same code, and then loses the memory in a crash.
    pub async fn keeps_its_state_over_a_swap(&self) {
        let Some(host) = self.start(|host| host).await else { return };
        for calls in 1..=2 {
            assert_eq!(calls_of(&host).await, calls);
        }
        let mut component = built(self.name, self.name).unwrap();
        let name = vector(b"next".iter().map(|byte| [*byte]));
        component.extend(section(0, [name, b"generation".to_vec()].concat()));
        host.dir.write("modules/conformance/conformance.wasm", component);
        let swapped = host.reload("conformance").await;
        assert_eq!(swapped["outcome"], "swapped", "{swapped}");
        assert_eq!(calls_of(&host).await, 3, "the state was handed over");
        assert_eq!(started(&host).await, json!({ "name": "warm", "reason": "swap" }));

        let crashed = host.post("/api/conformance/spin", "").await;
        assert_eq!((crashed.status, crashed.code().as_str()), (500, "crashed"), "{}", crashed.text());
        let restarted = || async { host.slot("conformance", 0).await["state"] == "ready" };
        eventually("the instance starts again", restarted).await;
        assert_eq!(started(&host).await, json!({ "name": "warm", "reason": "restart" }));
        assert_eq!(calls_of(&host).await, 1, "a crash loses the memory");
    }

    /// Many calls wait in one instance for another call. Each gets its own answer, and its imports
    /// carry its id.
    pub async fn calls_interleave(&self) {
        let more = AT_ONCE + 8;
        let Some(host) = self.start(|host| host.limit("conformance", "concurrency", more)).await else { return };
        let trace = |number: usize| format!("{number:08x}{:024x}", std::process::id());
        let mut held = JoinSet::new();
        for number in 0..AT_ONCE {
            let (address, parent) = (host.http, format!("00-{}-00f067aa0ba902b7-01", trace(number)));
            held.spawn(async move {
                let headers = [("traceparent", parent.as_str())];
                let mut connection = Connection::open(address).await;
                (number, connection.send("POST", "/api/conformance/hold", &headers, number.to_string()).await)
            });
        }
        let holding = || async { host.slot("conformance", 0).await["inFlight"] == AT_ONCE };
        eventually("the calls wait", holding).await;
        assert_eq!(host.post("/api/conformance/release", "").await.text(), AT_ONCE.to_string());
        while let Some(answer) = held.join_next().await {
            let (number, answer) = answer.unwrap();
            assert_eq!((answer.status, answer.text()), (200, number.to_string().as_str()));
        }
        for number in 0..AT_ONCE {
            let text = format!("released {number} ");
            let logged = || async { host.log.contains(&["module=conformance", &text, &trace(number)]) };
            eventually(&format!("the line of call {number}, with its trace"), logged).await;
        }
        assert_eq!(host.slot("conformance", 0).await["restarts"], 0);
    }

    /// Lines of the module's own functions, and of an error that nothing caught.
    pub async fn writes_to_the_log(&self) {
        let Some(host) = self.start(|host| host).await else { return };
        let trace = format!("{:032x}", u128::from(std::process::id()) << 64 | 7);
        let parent = format!("00-{trace}-00f067aa0ba902b7-01");
        let headers = [("traceparent", parent.as_str())];
        for path in ["log", "throw"] {
            host.request("POST", &format!("/api/conformance/{path}"), &headers, "").await;
        }
        let place = self.place("out of cheese");
        for words in [
            &["INFO", "sold a hat", "shop=main", "left=3"][..],
            &["INFO", "printed"],
            &["ERROR", "out of cheese", &place, "fault"],
        ] {
            let words = [words, &["module=conformance", &trace]].concat();
            let logged = || async { host.log.contains(&words) };
            eventually(&format!("a line with {words:?}"), logged).await;
        }
        assert_eq!(host.slot("conformance", 0).await["restarts"], 0);
    }
}

async fn calls_of(host: &Started) -> u64 {
    let answer = host.post("/api/conformance/state", "").await;
    answer.json()["calls"].as_u64().unwrap_or_else(|| panic!("{}", answer.text()))
}

/// The last startup that the module saw.
async fn started(host: &Started) -> Value {
    host.post("/api/conformance/warmed", "").await.json()
}

#[tokio::test]
async fn javascript_passes_the_cases() {
    JAVASCRIPT.passes_the_cases().await;
}

#[tokio::test]
async fn python_passes_the_cases() {
    PYTHON.passes_the_cases().await;
}

#[tokio::test]
async fn python_keeps_its_state_over_a_swap_and_loses_it_in_a_crash() {
    PYTHON.keeps_its_state_over_a_swap().await;
}

#[tokio::test]
async fn calls_of_python_interleave_and_keep_their_callers() {
    PYTHON.calls_interleave().await;
}

#[tokio::test]
async fn python_writes_to_the_log_with_the_place_of_an_error() {
    PYTHON.writes_to_the_log().await;
}

#[tokio::test]
async fn javascript_keeps_its_state_over_a_swap_and_loses_it_in_a_crash() {
    JAVASCRIPT.keeps_its_state_over_a_swap().await;
}

#[tokio::test]
async fn calls_of_javascript_interleave_and_keep_their_callers() {
    JAVASCRIPT.calls_interleave().await;
}

#[tokio::test]
async fn javascript_writes_to_the_log_with_the_place_of_an_error() {
    JAVASCRIPT.writes_to_the_log().await;
}
