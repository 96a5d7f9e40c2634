//! Two hosts in one process, each with its own module, settings and events. One stops while the
//! other keeps serving.
//!
//! ```sh
//! cargo build --release
//! cargo run --release --example two_hosts -- target/release/fanfare
//! ```
//!
//! The argument is the program `fanfare`, which the hosts start to compile components.

use std::error::Error;
use std::path::{Path, PathBuf};

use fanfare::{CallError, CallOptions, Host, Module, RunningHost};

const COUNTER: &[u8] = include_bytes!("../../modules/counter/counter.wasm");
const FLAGS: &[u8] = include_bytes!("../../modules/flags/flags.wasm");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let fanfare = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "target/release/fanfare".into()));
    println!("{}", run(&fanfare, Path::new("target/two_hosts")).await?);
    Ok(())
}

/// Runs both hosts with their files below `dir`. Returns the last reply.
pub async fn run(fanfare: &Path, dir: &Path) -> Result<String, Box<dyn Error>> {
    let counter = Module::new("counter", include_str!("../../modules/counter/module.json"), COUNTER);
    let flags = Module::new("flags", include_str!("../../modules/flags/module.json"), FLAGS);
    let counting = start(fanfare, &dir.join("counting"), counter).await?;
    let flagging = start(fanfare, &dir.join("flagging"), flags).await?;
    println!("http://{} counts, http://{} has flags", counting.addr(), flagging.addr());

    counting.call("counter", "home", (), CallOptions::default()).await?;
    counting.shutdown().await;
    // A stopped host refuses calls. The other one serves.
    let refused = counting.call("counter", "home", (), CallOptions::default()).await;
    assert!(matches!(refused, Err(CallError::Unavailable(_))));
    flagging.call("flags", "PUT beta", "true", CallOptions::default()).await?;
    let reply = flagging.call("flags", "GET beta", (), CallOptions::default()).await?;
    flagging.shutdown().await;
    Ok(reply.payload.to_text().into_owned())
}

/// Starts a host. The folder of its settings also has its state, so that it shares no file with
/// the other host.
async fn start(fanfare: &Path, dir: &Path, module: Module) -> Result<RunningHost, Box<dyn Error>> {
    let any_port = ([127, 0, 0, 1], 0);
    let builder = Host::builder().text("{ \"workers\": 1 }", dir).module(module).compiler(fanfare);
    let host = builder.listen(any_port).admin_listen(any_port).start().await?;
    // A module that cannot be loaded does not stop the start.
    host.not_ready().into_iter().next().map_or(Ok(host), |reason| Err(reason.into()))
}
