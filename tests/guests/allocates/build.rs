//! Exports the function table, so that a second core module can add a function to it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        println!("cargo::rustc-link-arg=--export-table");
        println!("cargo::rustc-link-arg=--growable-table");
    }
}
