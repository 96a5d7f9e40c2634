//! Checks what the library `fanfare` makes its embedders compile: no crates of a command line, and
//! of HTTP clients only that of hyper.

use std::collections::BTreeMap;
use std::process::Command;

use crate::harness::root;

/// Crates that the library must not depend on, directly or through another crate.
const FORBIDDEN_CRATES: &[&str] =
    &["clap", "clap_builder", "hyper-rustls", "hyper-tls", "reqwest", "tracing-appender", "tracing-subscriber", "ureq"];

/// Crates of the program that must not become dependencies of the library.
const PROGRAM_ONLY: &[&str] = &["clap", "tracing-appender", "tracing-subscriber"];

/// Features that no crate may enable when an embedder builds the library: the syntax tree that
/// edits JSON, and proxies for client connections.
const FORBIDDEN_FEATURES: &[(&str, &str)] = &[("hyper-util", "client-proxy"), ("jsonc-parser", "cst")];

fn cargo(args: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let output = command.current_dir(root()).args(args).args(["--offline", "--locked"]).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {args:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the crates that a package is built with as a normal dependency, with their features.
fn crates_of(package: &str) -> BTreeMap<String, Vec<String>> {
    let tree = cargo(&["tree", "--package", package, "--edges", "normal", "--prefix", "none", "--format", "{p}|{f}"]);
    let mut crates = BTreeMap::<String, Vec<String>>::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let (name, features) = line.split_once('|').unwrap();
        let name = name.split(' ').next().unwrap().to_owned();
        let features = features.trim_end_matches(" (*)").split(',').map(str::to_owned);
        crates.entry(name).or_default().extend(features);
    }
    crates
}

#[test]
fn the_library_has_no_command_line_crate_and_no_http_client_but_hyper() {
    let (library, program) = (crates_of("fanfare"), crates_of("fanfare-cli"));
    assert!(library.len() > 50 && library.contains_key("hyper"), "too few crates: {library:?}");
    for name in FORBIDDEN_CRATES {
        assert!(!library.contains_key(*name), "the library depends on {name}");
    }
    for name in PROGRAM_ONLY {
        assert!(program.contains_key(*name), "the program does not use {name}: remove it from this test");
    }
    for (name, feature) in FORBIDDEN_FEATURES {
        let mut features = library.get(*name).into_iter().flatten();
        assert!(!features.any(|enabled| enabled == feature), "the library is built with {feature} of {name}");
    }
    // Proves that this test reads features correctly.
    assert!(program["jsonc-parser"].iter().any(|enabled| enabled == "cst"), "the program does not edit JSON");
}
