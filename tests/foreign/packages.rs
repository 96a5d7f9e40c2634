//! Components that people build for other hosts, from packages of registries
//! (`tests/guests/packages`).

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use super::Raw;
use crate::harness::{Started, TestHost, eventually, not_run, program, root};

const SWAPS: usize = 20;

/// Programs that send requests for a while: over HTTP/1.1, and over HTTP/2 without TLS.
const LOADS: [(&str, &[&str]); 2] =
    [("wrk", &["-t1", "-c1", "-d1s", "--timeout", "20s"]), ("h2load", &["-n40", "-c1", "-m2"])];

/// A component that was built from a package.
struct Package {
    name: &'static str,
    /// The path that the load requests.
    path: &'static str,
    /// The bytes of memory that its instance may have in this test.
    memory: &'static str,
    /// One for interpreters, whose start for each request would occupy both processors of a CI
    /// machine and slow down the swaps.
    workers: u32,
}

const WSTD: Package = Package { name: "wstd", path: "", memory: "64MiB", workers: 2 };
const WASIP3: Package = Package { name: "wasip3", path: "", memory: "64MiB", workers: 2 };
const ECHO: Package = Package { name: "echo", path: "", memory: "64MiB", workers: 2 };
const FILES: Package = Package { name: "files", path: "visit", memory: "256MiB", workers: 2 };
const JAVASCRIPT: Package = Package { name: "javascript", path: "", memory: "256MiB", workers: 1 };
const PYTHON: Package = Package { name: "python", path: "", memory: "256MiB", workers: 1 };

impl Package {
    /// Starts a host with this component. Returns `None` if it is not built.
    async fn start(&self) -> Option<Started> {
        let name = self.name;
        let Ok(component) = std::fs::read(root().join(format!("target/foreign/{name}.wasm"))) else {
            not_run(&format!("{name}: build it with tests/guests/packages/build {name}"));
            return None;
        };
        let dirs = match name {
            "files" => json!({ "/data": "rw" }),
            _ => json!({}),
        };
        let (asked, limits) = (json!({ "dirs": dirs }), self.limits(json!({})));
        let manifest = json!({ "component": "component.wasm", "capabilities": asked, "limits": limits });
        let host = TestHost::empty()
            .workers(self.workers)
            .file(&format!("modules/{name}/module.json"), manifest.to_string())
            .file(&format!("modules/{name}/component.wasm"), component)
            .grant(name, asked)
            .config(json!({ "http": { "maxBody": "16MiB" } }))
            .start()
            .await;
        assert_eq!(host.slot(name, 0).await["state"], "ready", "{}", host.slot(name, 0).await);
        Some(host)
    }

    /// The limits of the module, some of which the test lowers.
    fn limits(&self, lowered: Value) -> Value {
        let mut limits = json!({ "memory": self.memory, "cpu": "5s", "timeout": "20s" });
        limits.as_object_mut().unwrap().extend(lowered.as_object().unwrap().clone());
        limits
    }

    fn url(&self, path: &str) -> String {
        format!("/api/{}/{path}", self.name)
    }

    async fn replies(&self, host: &Started, path: &str, expected: &str) {
        let answer = host.get(&self.url(path)).await;
        assert_eq!((answer.status, answer.text()), (200, expected), "{path}");
    }

    /// The body returns, and its first part before the client has sent the second one.
    async fn streams_back(&self, host: &Started, path: &str) {
        let body = "x".repeat(300_000);
        assert_eq!(host.post(&self.url(path), body.clone()).await.text(), body);
        let head = format!("POST {} HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfirst", self.url(path));
        let mut raw = Raw::send(host.http, &head).await;
        raw.until("first").await;
        raw.write("later").await;
        raw.until("later").await;
    }

    async fn reload(&self, host: &Started, patch: Value) {
        host.rewrite(self.name, patch);
        let reload = host.reload(self.name).await;
        assert_eq!(reload["outcome"], "swapped", "{reload}");
    }

    /// Swaps the module while both programs for load request it. Returns the number of requests.
    async fn survives_swaps(&self, host: &Started) -> u64 {
        let stop = Arc::new(AtomicBool::new(false));
        let mut loads = Vec::new();
        for (name, arguments) in LOADS {
            let Some(program) = program(&[name]) else {
                not_run(&format!("{name} is not installed (the packages wrk and nghttp2-client)"));
                continue;
            };
            let (requests, url) = (Arc::new(AtomicU64::new(0)), format!("http://{}{}", host.http, self.url(self.path)));
            let load = tokio::spawn(repeat(program, arguments, url, requests.clone(), stop.clone()));
            loads.push((load, requests));
        }
        for (load, requests) in &loads {
            let begun = || async { load.is_finished() || requests.load(Ordering::Relaxed) > 0 };
            eventually("the first requests succeed", begun).await;
        }
        for swap in 0..SWAPS {
            self.reload(host, json!({ "config": { "swap": swap } })).await;
        }
        stop.store(true, Ordering::Relaxed);
        let mut total = 0;
        for (load, requests) in loads {
            load.await.unwrap();
            total += requests.load(Ordering::Relaxed);
        }
        total
    }

    /// Sends a request that exceeds a limit, which crashes. The next instance serves `still`, a
    /// path that is within the limit, without a reload. After the limit is lifted, the same request
    /// succeeds.
    async fn is_limited(&self, host: &Started, path: &str, body: &[u8], limits: Value, still: Option<&str>) {
        self.reload(host, json!({ "limits": self.limits(limits) })).await;
        self.crashes(host, path, body, "", still).await;
        self.reload(host, json!({ "limits": self.limits(json!({})) })).await;
        let answer = host.post(&self.url(path), body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Sends a request that spins until `limits.cpu` ends it. The next instance serves `still`.
    async fn is_interrupted(&self, host: &Started, still: &str) {
        self.reload(host, json!({ "limits": self.limits(json!({ "cpu": "500ms", "timeout": "10s" })) })).await;
        self.crashes(host, "spin", b"", "limits.cpu", Some(still)).await;
        self.reload(host, json!({ "limits": self.limits(json!({})) })).await;
    }

    /// Sends a request that crashes, with this word in the reason. The next instance serves
    /// `still`.
    async fn crashes(&self, host: &Started, path: &str, body: &[u8], why: &str, still: Option<&str>) {
        let crashed = host.post(&self.url(path), body).await;
        assert_eq!((crashed.status, crashed.code()), (500, "crashed".to_owned()), "{path}: {}", crashed.text());
        assert!(crashed.text().contains(why), "{path}: {}", crashed.text());
        for worker in 0..self.workers {
            host.until(self.name, worker as usize, "state", "ready").await;
        }
        if let Some(path) = still {
            // More than one, so that each worker has to serve.
            for _ in 0..4 {
                let answer = host.get(&self.url(path)).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            }
        }
    }
}

/// Runs a program that sends requests again and again. Counts the requests, all of which must
/// succeed.
async fn repeat(
    program: PathBuf,
    arguments: &'static [&'static str],
    url: String,
    requests: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::Relaxed) {
        requests.fetch_add(once(&program, arguments, &url).await.unwrap(), Ordering::Relaxed);
    }
}

/// Runs a program that sends requests. Returns their number, or its output if one has failed.
async fn once(program: &Path, arguments: &[&str], url: &str) -> Result<u64, String> {
    let output = Command::new(program).args(arguments).arg(url).stdin(Stdio::null()).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    match succeeded(&text) {
        Some(requests) if output.status.success() => Ok(requests),
        _ => Err(text),
    }
}

/// Reads the output of `wrk` or `h2load`. Returns the number of requests if none has failed.
pub fn succeeded(output: &str) -> Option<u64> {
    let number = |text: &str| text.trim().split(' ').next().and_then(|number| number.parse::<u64>().ok());
    let line = |start: &str| output.lines().find_map(|line| line.trim().strip_prefix(start));
    // h2load: "requests: 200 total, 200 started, 200 done, 200 succeeded, 0 failed, .."
    if let Some(counts) = line("requests: ") {
        let count = |name: &str| counts.split(',').find(|count| count.ends_with(name)).and_then(number);
        let total = count(" total")?;
        let all = count(" succeeded") == Some(total) && count(" failed") == Some(0);
        return (all && line("status codes: ").and_then(number) == Some(total)).then_some(total);
    }
    // wrk prints these lines only if a request has failed.
    if line("Socket errors").or(line("Non-2xx")).is_some() {
        return None;
    }
    // wrk: "120 requests in 1.00s, 24.00KB read"
    output.lines().find(|line| line.contains(" requests in ")).and_then(number).filter(|total| *total > 0)
}

#[tokio::test]
async fn the_programs_for_load_report_failed_requests() {
    let host = TestHost::with("http-2").start().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for (name, arguments) in LOADS {
        let Some(program) = program(&[name]) else {
            not_run(&format!("{name} is not installed (the packages wrk and nghttp2-client)"));
            continue;
        };
        let run = async |url: String| once(&program, arguments, &url).await;
        assert!(run(format!("http://{}/api/none/", host.http)).await.is_err(), "{name}: every answer is 404");
        assert!(run(format!("http://{nobody}/")).await.is_err(), "{name}: every connection is refused");
        assert!(run(format!("http://{}/api/http-2/", host.http)).await.unwrap() > 0, "{name}: all requests succeed");
    }
}

#[tokio::test]
async fn the_example_of_wstd_serves() {
    let Some(host) = WSTD.start().await else { return };
    WSTD.replies(&host, "", "Hello, wasi:http/proxy world!\n").await;
    WSTD.streams_back(&host, "echo").await;
    assert_eq!(host.get("/api/wstd/response-fail").await.status, 500);
    let failed = Raw::get(host.http, "/api/wstd/response-body-fail").await.rest().await;
    assert!(!failed.contains("0\r\n\r\n"), "the response broke off: {failed}");
    WSTD.survives_swaps(&host).await;
    WSTD.is_limited(&host, "echo-trailers", &[b'x'; 8 << 20], json!({ "memory": "4MiB" }), Some("")).await;
}

#[tokio::test]
async fn the_example_of_wasip3_serves() {
    let Some(host) = WASIP3.start().await else { return };
    WASIP3.replies(&host, "", "Hello, WASI!").await;
    WASIP3.survives_swaps(&host).await;
    // The example has one path, which needs more handles.
    WASIP3.is_limited(&host, "", b"", json!({ "handles": 1 }), None).await;
}

#[tokio::test]
async fn an_echo_of_wasip3_streams() {
    let Some(host) = ECHO.start().await else { return };
    ECHO.streams_back(&host, "").await;
    ECHO.survives_swaps(&host).await;
    ECHO.is_limited(&host, "", b"back", json!({ "handles": 1 }), None).await;
    ECHO.crashes(&host, "trap", b"", "wasm", Some("")).await;
    ECHO.is_interrupted(&host, "").await;
}

#[tokio::test]
async fn a_program_with_files_counts_every_visit() {
    let Some(host) = FILES.start().await else { return };
    FILES.replies(&host, "visit", "1").await;
    FILES.replies(&host, "outside", "Err(NotFound)").await;
    let visits = FILES.survives_swaps(&host).await + 1;
    // wrk does not count the requests that are under way when it ends.
    let counted = FILES.visits(&host).await;
    assert!(counted >= visits, "{counted} of {visits}");
    assert_eq!(std::fs::metadata(host.dir.path().join("state/dirs/files/data/visits")).unwrap().len(), counted);
    FILES.is_limited(&host, "large", b"", json!({ "memory": "16MiB" }), Some("visits")).await;
    FILES.crashes(&host, "trap", b"", "wasm", Some("visits")).await;
    FILES.is_interrupted(&host, "visits").await;
    assert_eq!(FILES.visits(&host).await, counted);
}

impl Package {
    async fn visits(&self, host: &Started) -> u64 {
        host.get(&self.url("visits")).await.text().parse().unwrap()
    }
}

/// A component with an interpreter serves, is limited and is interrupted. `too_much` is a path that
/// exceeds these limits, unlike `still`.
async fn interpreter_serves(package: &Package, hello: &str, too_much: &str, limits: Value, still: Option<&str>) {
    let Some(host) = package.start().await else { return };
    package.replies(&host, "", hello).await;
    assert_eq!(host.get(&package.url("other")).await.status, 404);
    package.survives_swaps(&host).await;
    package.is_limited(&host, too_much, b"", limits, still).await;
    package.is_interrupted(&host, "").await;
}

#[tokio::test]
async fn a_fetch_handler_of_componentize_js_serves() {
    interpreter_serves(&JAVASCRIPT, "hello from JavaScript\n", "", json!({ "handles": 1 }), None).await;
}

#[tokio::test]
async fn a_body_passes_through_a_fetch_handler() {
    let Some(host) = JAVASCRIPT.start().await else { return };
    assert_eq!(host.post("/api/javascript/echo", "grüße").await.text(), "grüße");
}

#[tokio::test]
async fn a_handler_of_componentize_py_serves() {
    interpreter_serves(&PYTHON, "hello from Python\n", "large", json!({ "memory": "48MiB" }), Some("")).await;
}
