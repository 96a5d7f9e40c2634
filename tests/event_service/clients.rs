//! The clients in docs/events.md: curl, JavaScript and Python.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::fake::FakeService;
use super::process::Service;
use super::{Client, next};
use crate::harness::{Proxy, TempDir, eventually, not_run, program, root, spawn};

/// Returns the first block of a language in the page.
fn block(language: &str) -> String {
    let page = std::fs::read_to_string(root().join("docs/events.md")).unwrap();
    let (_, rest) = page.split_once(&format!("\n```{language}\n")).expect("the page has the block");
    rest.split_once("\n```\n").unwrap().0.to_owned()
}

fn run(program: &Path, args: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = Command::new(program);
    let mut child = spawn(command.args(args).stdout(Stdio::piped()).stdin(Stdio::null()));
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = tokio::time::timeout(std::time::Duration::from_secs(15), lines.next_line()).await;
    let line = line.expect("a line in time").unwrap().expect("the client runs");
    serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"))
}

/// The client of the page for JavaScript, which prints each event as a line, and `"missed"` for a
/// reset. Its argument is the URL of the service.
fn javascript(dir: &TempDir) -> PathBuf {
    dir.write("events.mjs", block("js"));
    dir.write(
        "main.mjs",
        "import { Events } from './events.mjs';\n\
         const events = new Events(process.argv[2]);\n\
         const print = (value) => console.log(JSON.stringify(value));\n\
         await events.emit('hello', 'node');\n\
         await events.subscribe(['order/*'], print, () => print('missed'));\n",
    )
}

/// The client of the page for Python, which does the same.
fn python(dir: &TempDir, service: SocketAddr) -> PathBuf {
    let code = block("python").replace("http://127.0.0.1:14440", &format!("http://{service}"));
    dir.write(
        "main.py",
        format!(
            "{code}\n\nimport sys\nemit('hello', 'python')\nfor event in subscribe('order/*'):\n    \
             print(json.dumps(event or 'missed'), flush=True)\n"
        ),
    )
}

/// Cuts the connection of a client within an event.
async fn split(program: &Path, args: &[&str], service: &Service, proxy: &Proxy) {
    let subscribers = async || service.ask("GET", "/", &[], "").await.json()["subscribers"].clone();
    eventually("the previous client has left", || async { subscribers().await == 0 }).await;
    let (_child, mut lines) = run(program, args);
    eventually("the client has subscribed", || async { subscribers().await == 1 }).await;
    service.event("order/paid", json!(1)).await;
    assert_eq!(line(&mut lines).await["value"], 1);
    let large = json!(["x".repeat(50_000), "the middle", "y".repeat(50_000)]);
    proxy.cut_after("the middle");
    service.event("order/paid", large.clone()).await;
    eventually("the connection is cut", || async { proxy.has_cut() }).await;
    service.event("order/paid", json!(3)).await;
    assert_eq!(line(&mut lines).await["value"], large);
    assert_eq!(line(&mut lines).await["value"], 3);
}

/// Starts a client that prints each event as a line, and `"missed"` for a reset. It emits
/// `{"type": "hello", "value": <name>}` first. Then kills the service under it.
async fn exchange(program: &Path, args: &[&str], service: Service, name: &str) {
    let mut own = service.subscribe("type=hello").await;
    let (_child, mut lines) = run(program, args);
    assert_eq!(next(&mut own).await, json!({ "type": "hello", "value": name }));
    // Its subscription may begin later than its first event is emitted.
    let ready = async {
        loop {
            service.event("order/ready", json!(0)).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        never = ready => never,
        first = line(&mut lines) => assert_eq!(first["type"], "order/ready"),
    }
    for index in 0..50 {
        service.send_json(format!("{{\"type\":\"order/paid\",\"value\":{{\n\"index\": {index}}}}}")).await;
        service.event("other", json!(index)).await;
    }
    let mut expected = 0;
    while expected < 50 {
        let event = line(&mut lines).await;
        if event["type"] == "order/paid" {
            assert_eq!(event["value"]["index"], expected);
            expected += 1;
        }
    }
    let service = service.kill_and_restart().await;
    service.event("order/after", json!(1)).await;
    assert_eq!(line(&mut lines).await, "missed");
    assert_eq!(line(&mut lines).await, json!({ "type": "order/after", "value": 1 }));
}

#[tokio::test]
async fn the_javascript_client_of_the_page_exchanges_events_and_survives_the_service() {
    let Some(node) = program(&["node"]) else { return not_run("the JavaScript client: install node") };
    let (service, dir) = (Service::start(json!({})).await, TempDir::new());
    let main = javascript(&dir);
    let address = format!("http://{}", service.events());
    exchange(&node, &[main.to_str().unwrap(), &address], service, "node").await;
}

#[tokio::test]
async fn the_javascript_client_of_the_page_tries_again_after_an_error() {
    let Some(node) = program(&["node"]) else { return not_run("the JavaScript client: install node") };
    let (mut fake, dir) = (FakeService::start().await, TempDir::new());
    let main = javascript(&dir);
    let (_child, mut lines) = run(&node, &[main.to_str().unwrap(), &format!("http://{}", fake.address)]);
    fake.next().await.answer(200, "application/json", r#"{"position":"1-0"}"#).await;
    // What looks like an event in it must not count.
    let body = "data: {\"type\":\"order/no\",\"value\":0}\n\n";
    fake.next().await.answer(503, "application/problem+json", body).await;
    let event = "id: 1-1\ndata: {\"type\":\"order/paid\",\"value\":1}\n\n";
    let _stream = fake.next().await.stream(event).await;
    assert_eq!(line(&mut lines).await, json!({ "type": "order/paid", "value": 1 }));
}

#[tokio::test]
async fn the_clients_of_the_page_resume_within_an_event() {
    let (service, dir) = (Service::start(json!({})).await, TempDir::new());
    match program(&["node"]) {
        None => not_run("the JavaScript client: install node"),
        Some(node) => {
            let proxy = Proxy::to(service.events()).await;
            let url = format!("http://{}", proxy.address);
            split(&node, &[javascript(&dir).to_str().unwrap(), &url], &service, &proxy).await;
        }
    }
    match program(&["python3"]) {
        None => not_run("the Python client: install python3"),
        Some(program) => {
            let proxy = Proxy::to(service.events()).await;
            split(&program, &[python(&dir, proxy.address).to_str().unwrap()], &service, &proxy).await;
        }
    }
}

#[tokio::test]
async fn the_python_client_of_the_page_exchanges_events_and_survives_the_service() {
    let Some(python3) = program(&["python3"]) else { return not_run("the Python client: install python3") };
    let (service, dir) = (Service::start(json!({})).await, TempDir::new());
    let main = python(&dir, service.events());
    exchange(&python3, &[main.to_str().unwrap()], service, "python").await;
}

#[tokio::test]
async fn curl_emits_and_subscribes() {
    let Some(curl) = program(&["curl"]) else { return not_run("curl: install it with apt-get install curl") };
    let service = Service::start(json!({})).await;
    let url = format!("http://{}/events", service.events());
    let (_child, mut lines) = run(&curl, &["-sN", &format!("{url}?type=order/*")]);
    assert_eq!(lines.next_line().await.unwrap().unwrap(), ": connected");
    let body = r#"{"type": "order/paid", "value": {"id": 7}}"#;
    let emit = ["-s", "-f", &url, "-H", "Content-Type: application/json", "-d", body];
    let (_emitting, mut emitted) = run(&curl, &emit);
    let position = line(&mut emitted).await["position"].as_str().unwrap().to_owned();
    let mut text = Vec::new();
    while text.last().is_none_or(|line: &String| !line.starts_with("data: ")) {
        text.push(lines.next_line().await.unwrap().unwrap());
    }
    assert!(text.contains(&format!("id: {position}")), "{text:?}");
    assert_eq!(text.last().unwrap(), r#"data: {"type":"order/paid","value":{"id": 7}}"#);
}
