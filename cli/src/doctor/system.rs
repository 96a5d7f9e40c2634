//! What the host needs of the system: ports, open files, memory mappings, threads and its folder.

use std::io::{ErrorKind, Result};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use super::{Finding, State};
use crate::client::AdminArgs;
use crate::config::SettingsArgs;
use crate::threads;
use fanfare::Config;
use fanfare::tooling::document::source::shown;
use fanfare::tooling::limits::{AddressSpace, Descriptors};

/// Whether the addresses of the listeners are free, or used by the host of this project.
pub async fn ports(config: &Config, settings: &SettingsArgs) -> Vec<Finding> {
    let listeners = [
        ("http.listen", Some(config.http.listen)),
        ("admin.listen", Some(config.admin.listen)),
        ("events.listen", config.events.listen),
    ];
    let own = own_host(config, settings).await;
    let mut findings = Vec::new();
    let mut free = Vec::new();
    for (key, address) in listeners {
        let Some(address) = address else { continue };
        match (TcpListener::bind(address), &own) {
            (Ok(_), _) => free.push(address.to_string()),
            (Err(error), Some(node)) if error.kind() == ErrorKind::AddrInUse => {
                let text = format!("{address} is in use by {node}, the host of this project");
                findings.push(Finding::new("ports", State::Ok, text));
            }
            (Err(error), _) => findings.push(Finding::new("ports", State::Fault, refused(key, address, &error))),
        }
    }
    if !free.is_empty() {
        findings.push(Finding::new("ports", State::Ok, format!("free: {}", free.join(", "))));
    }
    findings
}

/// The node of the host that serves this project, if it runs.
async fn own_host(config: &Config, settings: &SettingsArgs) -> Option<String> {
    let file = &settings.file;
    let admin = Some(config.admin.listen.to_string());
    let args = AdminArgs { admin, config: file.config.clone(), env: file.env.clone(), node: None, json: true };
    args.client(None).ok()?.node_of(&config.root).await
}

fn refused(key: &str, address: SocketAddr, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => {
            format!("{address} is in use by another program; stop it, or set {key} to another address")
        }
        ErrorKind::PermissionDenied => format!(
            "{address}: ports below 1024 need a right; set {key} to a higher port, or give the service \
             AmbientCapabilities=CAP_NET_BIND_SERVICE"
        ),
        ErrorKind::AddrNotAvailable => format!("{address} is no address of this machine; set {key} to one"),
        _ => format!("{address}: {error}; set {key} to another address"),
    }
}

/// Whether the limits of the process are enough for the settings.
pub fn limits(config: &Config, modules: usize) -> Vec<Finding> {
    vec![open_files(config), memories(config, modules), of_threads(), state_folder(&config.state_dir)]
}

fn open_files(config: &Config) -> Finding {
    // `serve` raises its limit in the same way.
    fanfare::raise_descriptor_limit();
    let descriptors = Descriptors::read();
    let (wanted, limit) = (config.http.max_connections, descriptors.limit);
    let possible = descriptors.max_connections(wanted, Descriptors::in_use());
    if possible < wanted {
        let text = format!(
            "the limit of {limit} allows {possible} connections, and http.maxConnections is {wanted}; raise the limit \
             (`ulimit -Hn`, or LimitNOFILE= of the service), or lower http.maxConnections"
        );
        return Finding::new("open files", State::Warning, text);
    }
    Finding::new("open files", State::Ok, format!("the limit of {limit} is enough for {wanted} connections"))
}

/// Each module has an instance in each worker. During a swap of all modules, it has two.
fn memories(config: &Config, modules: usize) -> Finding {
    let instances = 2 * config.workers as u64 * modules as u64;
    let space = Arc::new(AddressSpace::new(config.engine.address_space));
    match space.reserve(instances, 1, 0) {
        Ok(_) => Finding::new(
            "memory",
            State::Ok,
            format!("room for {instances} instances, which a swap of all modules needs"),
        ),
        Err(error) => Finding::new("memory", State::Warning, format!("a swap of all modules needs more: {error}")),
    }
}

fn of_threads() -> Finding {
    match threads::check() {
        Ok(()) => Finding::new("threads", State::Ok, "the host can start threads"),
        Err(error) => Finding::new("threads", State::Fault, error.to_string()),
    }
}

/// Whether the host can write its own files. Creates none.
fn state_folder(folder: &Path) -> Finding {
    let existing = folder.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("."));
    let written: Result<_> = tempfile::tempfile_in(existing);
    match written {
        Ok(_) => Finding::new("state", State::Ok, format!("{} can be written", shown(folder))),
        Err(error) => {
            let folder = shown(folder);
            Finding::new(
                "state",
                State::Fault,
                format!("{folder}: {error}; give the host the right to write there, or set stateDir"),
            )
        }
    }
}
