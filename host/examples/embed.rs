//! A program with a host inside: a module in memory, options, calls without a socket, and the
//! host's events. It compiles the module itself, so that it needs no other program.
//!
//! ```sh
//! cargo run --release --example embed
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fanfare::api::HostEvent;
use fanfare::{CallOptions, EventItem, Host, Module, RunningHost, Stopped};
use serde_json::{Value, json};

/// The module is part of the program.
const MANIFEST: &str = include_str!("../../modules/counter/module.json");
const COMPONENT: &[u8] = include_bytes!("../../modules/counter/counter.wasm");

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

/// Runs the host and returns what there is to say. `compiler` compiles the module, and `dir` has
/// the files of the host.
pub async fn run(compiler: PathBuf, dir: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let host = Host::builder()
        .text("{ \"workers\": 2 }", dir)
        .options(json!({ "greeting": "hello" }))
        .module(Module::new("counter", MANIFEST, COMPONENT))
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
    let total: Value = serde_json::from_str(&reply.payload.to_text())?;
    Ok(total["total"].as_u64().unwrap_or_default())
}

/// Collects the events that this program cares about.
async fn read(mut events: fanfare::EventReader) -> Vec<String> {
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
