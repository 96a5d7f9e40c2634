//! Serves the modules of a folder until you press Enter.
//!
//! ```sh
//! cargo build --release
//! cargo run --release --example serve -- . target/release/fanfare
//! ```
//!
//! The first argument is the folder of `fanfare.json`. The second one is the program `fanfare`,
//! which the host starts to compile components.

use std::error::Error;
use std::path::PathBuf;

use fanfare::{Config, Host, Sources, Stopped};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let dir = PathBuf::from(arguments.next().unwrap_or_else(|| ".".into()));
    let fanfare = PathBuf::from(arguments.next().unwrap_or_else(|| "target/release/fanfare".into()));

    // The error lists every fault of fanfare.json, each with its line and how to fix it.
    let config = Config::load(Sources { dir, ..Sources::default() })?;
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }

    let host = Host::builder().config(config).compiler(fanfare).start().await?;
    println!("http://{} serves the modules, http://{} the operator", host.addr(), host.admin_addr());

    // A module that cannot be loaded never stops the host. The status has the reason.
    for module in host.status().modules {
        println!("{}: {}", module.name, module.reason.unwrap_or_else(|| module.state.to_string()));
    }

    println!("press Enter to stop");
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    if host.shutdown().await == Stopped::CutOff {
        println!("some calls still ran after shutdown.drain");
    }
    Ok(())
}
