//! Lists the files of the SDKs, which the program carries for modules outside a checkout.

use std::io;
use std::path::{Path, PathBuf};

/// Files, and folders with all that is in them, by their paths in the checkout.
const CARRIED: &[&str] = &[
    "LICENSE",
    "sdk/c/README.md",
    "sdk/c/bindings",
    "sdk/c/build",
    "sdk/c/include",
    "sdk/c/src",
    "sdk/c/test",
    "sdk/c/testing",
    "sdk/c/vendor",
    "sdk/go/README.md",
    "sdk/go/build",
    "sdk/go/clients.go",
    "sdk/go/exports.go",
    "sdk/go/fanfare.go",
    "sdk/go/go.mod",
    "sdk/go/host.go",
    "sdk/go/memory.go",
    "sdk/go/requests.go",
    "sdk/go/wasi.wat",
    "sdk/go/wit",
    "sdk/js/README.md",
    "sdk/js/bin",
    "sdk/js/build",
    "sdk/js/build.d.ts",
    "sdk/js/index.d.ts",
    "sdk/js/package-lock.json",
    "sdk/js/package.json",
    "sdk/js/src",
    "sdk/js/testing.d.ts",
    "sdk/js/wit/wasi",
    "sdk/python/README.md",
    "sdk/python/fanfare",
    "sdk/python/pyproject.toml",
    "sdk/rust/Cargo.toml",
    "sdk/rust/fanfare-sdk/Cargo.toml",
    "sdk/rust/fanfare-sdk/src",
    "sdk/rust/macros",
    "wit",
];

fn main() -> io::Result<()> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for path in CARRIED {
        list(&checkout, Path::new(path), &mut files)?;
    }
    files.sort();
    let mut code = String::from("&[\n");
    for path in &files {
        println!("cargo::rerun-if-changed={}", checkout.join(path).display());
        let content = format!("include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/../{path}\"))");
        code += &format!("    (\"{path}\", {content}),\n");
    }
    code += "]\n";
    let folder = std::env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    std::fs::write(folder.join("carried.rs"), code)
}

/// Adds a file, or the files of a folder without those that Python writes when it runs.
fn list(checkout: &Path, path: &Path, files: &mut Vec<String>) -> io::Result<()> {
    if !checkout.join(path).is_dir() {
        files.push(path.to_string_lossy().into_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(checkout.join(path))? {
        let name = entry?.file_name();
        if name != "__pycache__" {
            list(checkout, &path.join(name), files)?;
        }
    }
    Ok(())
}
