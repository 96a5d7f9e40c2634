//! A program with a host inside: modules in memory, options, calls without a socket, messages in
//! both directions, and the host's events. It compiles the modules itself, so that it needs no
//! other program.
//!
//! ```sh
//! cargo run --release --example embed
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fanfare::api::HostEvent;
use fanfare::{CallOptions, EventItem, EventReader, GuestMessage, Host, Module, Payload, RunningHost, Stopped};
use serde::Deserialize;
use serde_json::{Value, json};

/// A module that counts. It is part of the program.
const COUNTER: &str = include_str!("../../modules/counter/module.json");
const COUNTER_WASM: &[u8] = include_bytes!("../../modules/counter/counter.wasm");

/// A module that receives messages with its hook `masterMessage`, and sends some with its route
/// `send`.
const MESSENGER: &str = r#"{
  "component": "master.wasm",
  "routes": [
    { "path": "receive", "handler": "message", "middlewares": "inner" },
    { "path": "send", "handler": "send" }
  ],
  "hooks": { "masterMessage": { "path": "receive" } }
}"#;
const MESSENGER_WASM: &[u8] = include_bytes!("../../tests/guests/master/master.wasm");

/// The part of the counter's reply that this program needs.
#[derive(Deserialize)]
struct Total {
    total: u64,
}

/// The part of the messenger's reply that this program needs.
#[derive(Deserialize)]
struct Received {
    isolate: String,
    payload: Value,
}

fn main() -> ExitCode {
    // The host starts this program again to compile a component.
    if let Some(code) = fanfare::compile_if_asked() {
        return code;
    }
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn start() -> Result<(), Box<dyn Error>> {
    let this_program = std::env::current_exe()?;
    for line in run(this_program, Path::new("target/embed")).await? {
        println!("{line}");
    }
    Ok(())
}

/// Runs the host and returns what there is to say. `compiler` compiles the modules, and `dir` has
/// the files of the host.
pub async fn run(compiler: PathBuf, dir: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let host = Host::builder()
        .text("{ \"workers\": 2 }", dir)
        .options(json!({ "greeting": "hello" }))
        .module(Module::new("counter", COUNTER, COUNTER_WASM))
        .module(Module::new("messenger", MESSENGER, MESSENGER_WASM))
        .listen(([127, 0, 0, 1], 0))
        .admin_listen(([127, 0, 0, 1], 0))
        .compiler(compiler)
        .start()
        .await?;
    if let Some(reason) = host.not_ready().into_iter().next() {
        return Err(reason.into());
    }
    // A reader of events runs beside the host, and ends when the host has stopped.
    let events = tokio::spawn(read(host.events()));
    let total = visit(&host).await?;
    host.log(&format!("{total} visits"), None);
    // A reload keeps the counts.
    host.reload("counter").await?;
    assert_eq!(visit(&host).await?, total + 3);
    exchange(&host).await?;
    if host.shutdown().await == Stopped::CutOff {
        eprintln!("some calls still ran after shutdown.drain");
    }
    Ok(events.await?)
}

/// Counts three visits and returns the total of all workers.
async fn visit(host: &RunningHost) -> Result<u64, Box<dyn Error>> {
    for _ in 0..3 {
        host.call("counter", "home", (), CallOptions::default()).await?;
    }
    let reply = host.call("counter", "GET home", (), CallOptions::default()).await?;
    let Total { total } = serde_json::from_str(&reply.payload.to_text())?;
    Ok(total)
}

/// Exchanges messages with the module `messenger`.
async fn exchange(host: &RunningHost) -> Result<(), Box<dyn Error>> {
    // Messages of modules arrive here. The result is the reply.
    host.on_message(async |message: GuestMessage| {
        Ok(Payload::from(format!("{} says {}", message.module, message.data.to_text())))
    });
    let sent = host.call("messenger", "send", json!({ "data": "hello" }), CallOptions::default()).await?;
    host.log(&format!("the reply of the program: {}", sent.payload.to_text()), None);
    // And this is a message of the program to a module in worker 0.
    let reply = host.send_to_worker(0, Some("messenger"), json!({ "hello": "worker" })).await?;
    let Received { isolate, payload } = serde_json::from_str(&reply.to_text())?;
    host.log(&format!("{isolate} has received {payload}"), None);
    Ok(())
}

/// Collects the events that this program cares about.
async fn read(mut events: EventReader) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(item) = events.next().await {
        let record = match item {
            EventItem::Event(record) => record,
            EventItem::Missed(count) => {
                lines.push(format!("missed {count} events"));
                continue;
            }
        };
        match &record.event {
            HostEvent::HostReady { workers, .. } => lines.push(format!("ready with {workers} workers")),
            HostEvent::Info { message } => lines.push(message.clone()),
            HostEvent::SwapCommitted { module, .. } => lines.push(format!("{module} was reloaded")),
            HostEvent::Fail { message, .. } => lines.push(format!("failed: {message}")),
            HostEvent::WorkerClusterExit { .. } => lines.push("stopped".to_owned()),
            _ => {}
        }
    }
    lines
}
