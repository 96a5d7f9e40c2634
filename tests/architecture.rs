//! Which part may use which: the whole table. A file of the library or the program without a row fails.

mod loops;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::root;

/// A part, and the parts below it that it may name. `call`, `config` and `ports` are plain data and traits for all.
const TABLE: &[(&str, &[&str])] = &[
    ("call", &[]),
    ("api", &["call"]),
    ("files", &[]),
    ("config", &["call", "document"]),
    ("document", &["call", "files"]),
    ("ports", &["call", "config"]),
    ("bindings", &[]),
    ("engine", &["files"]),
    ("net", &[]),
    ("registry", &["call", "config", "document", "engine", "files"]),
    ("isolate", &["bindings", "call", "config", "engine", "ports", "registry"]),
    ("dispatch", &["call", "config", "isolate", "ports", "registry"]),
    ("triggers", &["call", "config", "net", "registry"]),
    ("worker", &["call", "config", "dispatch", "isolate", "net", "registry", "triggers"]),
    ("swap", &["api", "call", "config", "dispatch", "document", "files", "isolate", "ports", "registry"]),
    ("admin", &["api", "call", "config", "dispatch", "isolate", "net", "registry", "swap"]),
    (
        "host",
        &[
            "admin", "api", "call", "config", "dispatch", "engine", "isolate", "net", "ports", "registry", "swap",
            "triggers", "worker",
        ],
    ),
    // The program has what the library makes public.
    ("cli", &["api", "settings", "tooling"]),
    (
        "tooling",
        &[
            "bindings", "call", "config", "dispatch", "document", "engine", "files", "fuzzing", "host", "isolate",
            "net", "ports", "registry", "swap",
        ],
    ),
    ("fuzzing", &["call", "config", "document", "engine", "files", "registry", "triggers"]),
    ("lib", &["config"]),
];

/// Crates that only some parts may know.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("wasmtime", &["bindings", "engine", "registry", "isolate", "host"]),
    ("wasmtime_wasi", &["isolate"]),
    ("wasmtime_wasi_http", &["isolate"]),
    ("wasmparser", &["engine", "registry"]),
    ("hyper", &["triggers", "admin", "cli"]),
    ("clap", &["cli"]),
    ("tracing_subscriber", &["cli"]),
];

/// Crates of the command line, which an embedder of the library must not inherit.
const PROGRAM_ONLY: [&str; 3] = ["clap", "tracing-appender", "tracing-subscriber"];

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

/// The code of a file without comments and without its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Every file of both crates: its path in the checkout, its part, its code, and the parts that it
/// names. The program is one part, which names those of the library.
fn files() -> Vec<(PathBuf, String, String, Vec<String>)> {
    let mut files = Vec::new();
    for (src, prefix) in [("host/src", "crate::"), ("cli/src", "fanfare::")] {
        let src = root().join(src);
        let mut found = Vec::new();
        sources(&src, &mut found);
        assert!(found.len() > 20, "the sources are found");
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

/// The parts that a file names behind a prefix such as `crate::`, groups within groups too.
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

/// The name that a text begins with.
fn name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Whether a file names a crate.
fn knows(code: &str, outside: &str) -> bool {
    code.match_indices(outside).any(|(at, _)| {
        let (before, after) = (code[..at].chars().next_back(), &code[at + outside.len()..]);
        let whole = before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        whole && (after.starts_with("::") || after.starts_with(';'))
    })
}

#[test]
fn groups_are_read_to_their_end() {
    let code = "use crate::{call::{Call, context::{A, B}}, host, isolate::Slot};\nfn f() { crate::worker::start(); }";
    assert_eq!(used(code, "crate::"), ["call", "host", "isolate", "worker"]);
    assert_eq!(used("use crate::{\n    call,\n};", "crate::"), ["call"]);
    assert_eq!(used("use fanfare::{call, host::Host};\nuse crate::client;", "fanfare::"), ["call", "host"]);
    assert!(knows("use wasmtime::Store;", "wasmtime") && knows("use hyper;", "hyper"));
    assert!(!knows("use wasmtime_wasi::WasiCtx;", "wasmtime") && !knows("use my_hyper::x;", "hyper"));
}

#[test]
fn arrows_go_down_only() {
    let table: BTreeMap<&str, &[&str]> = TABLE.iter().copied().collect();
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
        for (outside, parts) in OUTSIDE {
            if knows(&code, outside) && !parts.contains(&part.as_str()) {
                faults.push(format!("{}: {part} may not know {outside}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_net_knows_what_kind_a_stream_is() {
    // The program's commands are clients.
    let served = files().into_iter().filter(|(_, part, ..)| !matches!(part.as_str(), "net" | "cli"));
    let served = served.filter(|(path, ..)| !path.to_string_lossy().contains("tests"));
    let kinds = ["TcpStream", "TcpListener", "UnixStream"];
    let named = served.filter(|(_, _, code, _)| kinds.iter().any(|kind| code.contains(kind)));
    let named: Vec<_> = named.map(|(path, ..)| path).collect();
    assert!(named.is_empty(), "{named:?} name a kind of stream");
}

#[test]
fn dispatch_knows_neither_wasm_nor_http_servers() {
    let files: Vec<_> = files().into_iter().filter(|(_, part, ..)| part == "dispatch").collect();
    assert!(files.len() > 3, "the sources are found");
    for (file, _, code, used) in files {
        for outside in ["wasmtime", "wasmtime_wasi", "wasmtime_wasi_http", "wasmparser", "hyper", "hyper_util"] {
            assert!(!knows(&code, outside), "{} names {outside}", file.display());
        }
        for part in ["bindings", "engine", "triggers", "admin"] {
            assert!(!used.iter().any(|used| used == part), "{} names {part}", file.display());
        }
    }
}

#[test]
fn the_library_depends_on_no_crate_of_the_command_line() {
    let dependencies = |manifest: &str| -> Vec<String> {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let names = text.lines().filter_map(|line| line.split_once(" = "));
        names.map(|(name, _)| name.to_owned()).collect()
    };
    let (library, program) = (dependencies("host/Cargo.toml"), dependencies("cli/Cargo.toml"));
    for name in PROGRAM_ONLY {
        assert!(program.iter().any(|dependency| dependency == name), "the program does not use {name}");
        assert!(!library.iter().any(|dependency| dependency == name), "the library depends on {name}");
    }
}

/// The names that the library exports to embedders. What the program and the tests need besides is in `tooling`.
const PUBLIC: &[&str] = &[
    "BindError",
    "Config",
    "Fault",
    "Faults",
    "Flags",
    "Host",
    "Origin",
    "RunningHost",
    "Sources",
    "StartError",
    "Stopped",
    "SwapError",
    "api",
    "settings",
    "tooling",
];

#[test]
fn the_library_exports_what_an_embedder_needs_and_nothing_else() {
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
