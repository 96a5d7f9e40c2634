//! Opens the table of functions to a second core module, which puts one of its own there.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        println!("cargo::rustc-link-arg=--export-table");
        println!("cargo::rustc-link-arg=--growable-table");
    }
}
