//! Checks which part of the library and the program may use which. A file without a row in the
//! table fails the test.

mod dependencies;
mod loops;
mod pages;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::root;

/// Each part, and the parts below it that it may use. Many may use `call`, `config` and `ports`,
/// which are plain data and traits.
const ALLOWED: &[(&str, &[&str])] = &[
    ("blocking", &[]),
    ("call", &[]),
    ("api", &["call", "events"]),
    ("events", &["call", "journal"]),
    ("files", &["blocking"]),
    ("journal", &[]),
    ("config", &["call", "document"]),
    ("document", &["call", "files"]),
    ("ports", &["call", "config"]),
    ("bindings", &["stores"]),
    ("engine", &["blocking", "files"]),
    ("net", &["blocking"]),
    ("outgoing", &["blocking", "call", "config", "net"]),
    ("stores", &["config"]),
    ("registry", &["api", "blocking", "call", "config", "document", "engine", "files", "outgoing", "stores"]),
    (
        "isolate",
        &["bindings", "blocking", "call", "config", "engine", "events", "outgoing", "ports", "registry", "stores"],
    ),
    ("dispatch", &["call", "config", "isolate", "ports", "registry"]),
    ("hub", &["call", "config", "events", "journal"]),
    (
        "triggers",
        &["api", "blocking", "call", "config", "events", "hub", "journal", "net", "ports", "registry", "stores"],
    ),
    ("cluster", &["api", "blocking", "call", "config", "dispatch", "events", "isolate", "ports", "registry"]),
    ("worker", &["call", "config", "dispatch", "events", "hub", "isolate", "net", "registry", "triggers"]),
    (
        "swap",
        &[
            "api", "blocking", "call", "config", "dispatch", "document", "events", "files", "isolate", "ports",
            "registry",
        ],
    ),
    (
        "admin",
        &[
            "api", "call", "cluster", "config", "dispatch", "events", "hub", "isolate", "net", "registry", "swap",
            "triggers",
        ],
    ),
    (
        "host",
        &[
            "admin", "api", "blocking", "call", "cluster", "config", "dispatch", "document", "engine", "events",
            "files", "hub", "isolate", "journal", "net", "outgoing", "ports", "registry", "stores", "swap", "triggers",
            "worker",
        ],
    ),
    // The program uses only what the library makes public.
    ("cli", &["api", "settings", "tooling"]),
    (
        "tooling",
        &[
            "bindings", "blocking", "call", "config", "dispatch", "document", "engine", "files", "fuzzing", "host",
            "hub", "isolate", "net", "ports", "registry", "swap", "triggers",
        ],
    ),
    (
        "fuzzing",
        &["call", "config", "document", "engine", "events", "files", "hub", "net", "ports", "registry", "triggers"],
    ),
    ("lib", &["call", "config", "engine", "events", "isolate", "net", "registry", "swap"]),
];

/// Crates that only some parts may use.
const RESTRICTED_CRATES: &[(&str, &[&str])] = &[
    ("wasmtime", &["bindings", "engine", "registry", "isolate", "host"]),
    ("wasmtime_wasi", &["isolate"]),
    ("wasmtime_wasi_http", &["isolate"]),
    ("wasmparser", &["engine", "registry"]),
    ("hyper", &["triggers", "admin", "outgoing", "cli"]),
    ("rustls", &["net"]),
    ("clap", &["cli"]),
    ("tracing_subscriber", &["cli"]),
];

/// Finds all Rust files below a folder.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns the code of a file without its comments and unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Returns every file of both crates: its path in the repository, its part, its code, and the parts
/// that it uses. The program is a single part, and uses parts of the library.
fn files() -> Vec<(PathBuf, String, String, Vec<String>)> {
    let mut files = Vec::new();
    for (src, prefix) in [("host/src", "crate::"), ("cli/src", "fanfare::")] {
        let src = root().join(src);
        let mut found = Vec::new();
        sources(&src, &mut found);
        assert!(found.len() > 20, "there are too few source files");
        for path in found {
            let first = path.strip_prefix(&src).unwrap().components().next().unwrap();
            let part = first.as_os_str().to_str().unwrap().trim_end_matches(".rs");
            let part = if prefix == "crate::" { part } else { "cli" };
            let code = code(&path);
            let used = used(&code, prefix);
            files.push((path.strip_prefix(root()).unwrap().to_owned(), part.to_owned(), code, used));
        }
    }
    files
}

/// Returns the parts that a file names after a prefix such as `crate::`, also in nested groups.
fn used(code: &str, prefix: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        if !rest.starts_with('{') {
            used.push(name(rest));
            continue;
        }
        let mut depth = 0;
        for (index, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && matches!(c, '{' | ',') {
                used.push(name(&rest[index + 1..]));
            }
        }
    }
    used.retain(|name| !name.is_empty());
    used
}

/// Returns the identifier at the beginning of a text.
fn name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Whether a file uses a crate.
fn uses_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (code[..at].chars().next_back(), &code[at + name.len()..]);
        let whole = before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        whole && (after.starts_with("::") || after.starts_with(';'))
    })
}

#[test]
fn names_in_nested_groups_are_found() {
    let code = "use crate::{call::{Call, context::{A, B}}, host, isolate::Slot};\nfn f() { crate::worker::start(); }";
    assert_eq!(used(code, "crate::"), ["call", "host", "isolate", "worker"]);
    assert_eq!(used("use crate::{\n    call,\n};", "crate::"), ["call"]);
    assert_eq!(used("use fanfare::{call, host::Host};\nuse crate::client;", "fanfare::"), ["call", "host"]);
    assert!(uses_crate("use wasmtime::Store;", "wasmtime") && uses_crate("use hyper;", "hyper"));
    assert!(!uses_crate("use wasmtime_wasi::WasiCtx;", "wasmtime") && !uses_crate("use my_hyper::x;", "hyper"));
}

#[test]
fn a_part_uses_only_the_parts_below_it() {
    let table: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut faults = Vec::new();
    for (file, part, code, used) in files() {
        let Some(allowed) = table.get(part.as_str()) else {
            faults.push(format!("{} has no row in the table", file.display()));
            continue;
        };
        for used in used {
            if used != part && !allowed.contains(&used.as_str()) && table.contains_key(used.as_str()) {
                faults.push(format!("{}: {part} may not use {used}", file.display()));
            }
        }
        for (name, parts) in RESTRICTED_CRATES {
            if uses_crate(&code, name) && !parts.contains(&part.as_str()) {
                faults.push(format!("{}: {part} may not use the crate {name}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_net_knows_the_transport_of_a_stream() {
    // The commands of the program and a fuzz target are clients, which open their own streams.
    let served = files().into_iter().filter(|(_, part, ..)| !matches!(part.as_str(), "net" | "cli" | "fuzzing"));
    let served = served.filter(|(path, ..)| !path.to_string_lossy().contains("tests"));
    let kinds = ["TcpStream", "TcpListener", "UnixStream"];
    let named = served.filter(|(_, _, code, _)| kinds.iter().any(|kind| code.contains(kind)));
    let named: Vec<_> = named.map(|(path, ..)| path).collect();
    assert!(named.is_empty(), "these files name a transport: {named:?}");
}

#[test]
fn dispatch_uses_neither_wasm_nor_http_servers() {
    let files: Vec<_> = files().into_iter().filter(|(_, part, ..)| part == "dispatch").collect();
    assert!(files.len() > 3, "there are too few source files");
    for (file, _, code, used) in files {
        for name in ["wasmtime", "wasmtime_wasi", "wasmtime_wasi_http", "wasmparser", "hyper", "hyper_util"] {
            assert!(!uses_crate(&code, name), "{} uses the crate {name}", file.display());
        }
        for part in ["bindings", "engine", "triggers", "admin"] {
            assert!(!used.iter().any(|used| used == part), "{} uses {part}", file.display());
        }
    }
}

#[test]
fn serve_uses_only_what_embedders_use() {
    let code = code(&root().join("cli/src/serve.rs"));
    assert!(code.contains("fanfare::") && !code.contains("tooling"), "cli/src/serve.rs uses fanfare::tooling");
    let hidden = [".dispatch()", ".roster()", ".swapper()", ".probe(", ".places(", ".peers("];
    let used: Vec<_> = hidden.into_iter().filter(|name| code.contains(name)).collect();
    assert!(used.is_empty(), "cli/src/serve.rs uses hidden methods: {used:?}");
}

#[test]
fn the_library_neither_ends_the_process_nor_sets_what_all_hosts_in_it_share() {
    let library = files().into_iter().filter(|(_, part, ..)| part != "cli");
    let shared = ["process::exit", "process::abort", "set_hook", "set_global_default", "signal::", "env::set_"];
    let named = library.flat_map(|(file, _, code, _)| {
        let found = shared.into_iter().filter(move |name| code.contains(name));
        found.map(move |name| format!("{}: {name}", file.display())).collect::<Vec<_>>()
    });
    assert_eq!(named.collect::<Vec<_>>(), Vec::<String>::new());
}

/// The names that the library exports to embedders. The program and the tests also use `tooling`.
const PUBLIC: &[&str] = &[
    "BindError",
    "Builder",
    "CallError",
    "CallOptions",
    "ChannelItem",
    "ChannelMember",
    "ChannelMessage",
    "ChannelPage",
    "ChannelPosition",
    "ChannelReader",
    "Compiling",
    "Config",
    "EventItem",
    "EventReader",
    "Failure",
    "Fault",
    "Faults",
    "Flags",
    "GatherEntry",
    "GuestMessage",
    "Host",
    "IsolateId",
    "KillError",
    "LogProgress",
    "Module",
    "Payload",
    "Progress",
    "Pushed",
    "Receipt",
    "Recipient",
    "Reply",
    "RunningHost",
    "SessionInfo",
    "Skipped",
    "Sources",
    "StartError",
    "Stopped",
    "StreamEvent",
    "SwapError",
    "ValueOrigin",
    "api",
    "compile_if_asked",
    "errors",
    "raise_descriptor_limit",
    "settings",
    "tooling",
];

#[test]
fn the_library_exports_only_the_listed_names() {
    let code = code(&root().join("host/src/lib.rs"));
    let mut exported: Vec<String> =
        code.match_indices("\npub mod ").map(|(at, found)| name(&code[at + found.len()..])).collect();
    for (at, found) in code.match_indices("\npub use ") {
        let path = code[at + found.len()..].split(';').next().unwrap();
        let (_, leaves) = path.split_once("::").unwrap();
        exported.extend(leaves.trim_matches(['{', '}']).split(',').map(name).filter(|name| !name.is_empty()));
    }
    exported.sort();
    assert_eq!(exported, PUBLIC);
}
