//! Which part may use which: the whole table. A file of the host without a row fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::root;

/// A part, and the parts below it that it may name. `call`, `config` and `ports` are plain data and traits for all.
const TABLE: &[(&str, &[&str])] = &[
    ("call", &[]),
    ("files", &[]),
    ("config", &["call", "files"]),
    ("ports", &["call", "config"]),
    ("bindings", &[]),
    ("engine", &["files"]),
    ("net", &[]),
    ("registry", &["call", "config", "engine", "files"]),
    ("isolate", &["bindings", "call", "config", "engine", "ports", "registry"]),
    ("dispatch", &["call", "config", "isolate", "ports", "registry"]),
    ("triggers", &["call", "config", "net", "registry"]),
    ("worker", &["call", "config", "dispatch", "isolate", "registry", "triggers"]),
    ("swap", &["call", "config", "dispatch", "files", "isolate", "ports", "registry"]),
    ("admin", &["call", "config", "dispatch", "isolate", "net", "registry", "swap"]),
    (
        "host",
        &[
            "admin", "call", "config", "dispatch", "engine", "isolate", "net", "ports", "registry", "swap", "triggers",
            "worker",
        ],
    ),
    ("cli", &["call", "config", "engine", "files", "host", "registry"]),
    ("fuzzing", &["call", "config", "engine", "files", "registry", "triggers"]),
    ("main", &[]),
    ("lib", &[]),
];

/// Crates that only some parts may know.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("wasmtime", &["bindings", "engine", "registry", "isolate", "host"]),
    ("wasmtime_wasi", &["isolate"]),
    ("wasmtime_wasi_http", &["isolate"]),
    ("wasmparser", &["engine", "registry"]),
    ("hyper", &["triggers", "admin", "cli"]),
    ("clap", &["cli", "engine"]),
];

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

fn part(source: &Path) -> String {
    let first = source.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The parts that a file names with `crate::`, groups within groups too.
fn used(code: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
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
    assert_eq!(used(code), ["call", "host", "isolate", "worker"]);
    assert_eq!(used("use crate::{\n    call,\n};"), ["call"]);
    assert!(knows("use wasmtime::Store;", "wasmtime") && knows("use hyper;", "hyper"));
    assert!(!knows("use wasmtime_wasi::WasiCtx;", "wasmtime") && !knows("use my_hyper::x;", "hyper"));
}

#[test]
fn arrows_go_down_only() {
    let table: BTreeMap<&str, &[&str]> = TABLE.iter().copied().collect();
    let src = root().join("host/src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 30, "the sources are found");
    let mut faults = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&src).unwrap();
        let part = part(relative);
        let Some(allowed) = table.get(part.as_str()) else {
            faults.push(format!("{} has no row in the table", relative.display()));
            continue;
        };
        let code = code(&file);
        for used in used(&code) {
            if used != part && !allowed.contains(&used.as_str()) && table.contains_key(used.as_str()) {
                faults.push(format!("{}: {part} may not use {used}", relative.display()));
            }
        }
        for (outside, parts) in OUTSIDE {
            if knows(&code, outside) && !parts.contains(&part.as_str()) {
                faults.push(format!("{}: {part} may not know {outside}", relative.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn dispatch_knows_neither_wasm_nor_http_servers() {
    let src = root().join("host/src");
    let mut files = vec![src.join("dispatch.rs")];
    sources(&src.join("dispatch"), &mut files);
    assert!(files.len() > 3, "the sources are found");
    for file in files {
        let code = code(&file);
        for outside in ["wasmtime", "wasmtime_wasi", "wasmtime_wasi_http", "wasmparser", "hyper", "hyper_util"] {
            assert!(!knows(&code, outside), "{} names {outside}", file.display());
        }
        for part in ["bindings", "engine", "triggers", "admin"] {
            assert!(!used(&code).iter().any(|used| used == part), "{} names {part}", file.display());
        }
    }
}
