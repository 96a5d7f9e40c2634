//! Writes the Rust SDK's bindings of `wit/`: cargo run --manifest-path sdk/generate/Cargo.toml
//!
//! With the argument `check`, compares them instead, and fails with the names of those that differ.
//! Modules build the bindings without the generator, which takes longer to compile than everything
//! else in the SDK.

use std::path::Path;

use anyhow::{Context, Result, bail};
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::{Opts, WithOption};

/// The types of the imports, which the worlds of the exports use.
const TYPES: &str = "fanfare:module/types@0.1.0";

/// The interfaces that a module exports. Each has a world of its own, so that a component exports
/// only what its module declares.
const EXPORTS: [&str; 3] = ["handler", "describe", "snapshot"];

fn main() -> Result<()> {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("check") => true,
        Some(other) => bail!("{other}: write nothing, or check"),
    };
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut differing = Vec::new();
    for (name, text) in bindings(&sdk.join("../wit"))? {
        let file = sdk.join("rust/fanfare-sdk/src/wit/bindings").join(format!("{name}.rs"));
        if std::fs::read_to_string(&file).is_ok_and(|old| old == text) {
            continue;
        }
        if check {
            differing.push(name);
        } else {
            std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        }
    }
    if !differing.is_empty() {
        let names = differing.join(", ");
        bail!("the SDK's bindings differ from wit/: {names}; run cargo run --manifest-path sdk/generate/Cargo.toml");
    }
    Ok(())
}

/// The files and their texts.
fn bindings(wit: &Path) -> Result<Vec<(&'static str, String)>> {
    let imports =
        Opts { generate_all: true, additional_derive_attributes: vec!["PartialEq".to_owned()], ..Opts::default() };
    let mut bindings = vec![("imports", generate(wit, None, "fanfare:module/imports@0.1.0", imports)?)];
    for export in EXPORTS {
        let interface = format!("fanfare:module/{export}@0.1.0");
        let mut with = vec![(interface.clone(), WithOption::Generate)];
        if export != "describe" {
            with.push((TYPES.to_owned(), WithOption::Path("crate::wit::types".to_owned())));
        }
        let options = Opts {
            with,
            export_macro_name: Some(format!("__export_{export}")),
            pub_export_macro: true,
            default_bindings_module: Some(format!("fanfare_sdk::wit::{export}")),
            ..Opts::default()
        };
        let world = format!("package fanfare:sdk-{export}; world sdk-{export} {{ export {interface}; }}");
        bindings.push((export, generate(wit, Some(&world), &format!("sdk-{export}"), options)?));
    }
    Ok(bindings)
}

/// Generates the bindings of a world of the contract, or of a text that uses the contract.
fn generate(wit: &Path, text: Option<&str>, world: &str, options: Opts) -> Result<String> {
    let mut resolve = Resolve::default();
    let (mut package, _) = resolve.push_path(wit)?;
    if let Some(text) = text {
        package = resolve.push_str("world.wit", text)?;
    }
    let world = resolve.select_world(&[package], Some(world))?;
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let (_, source) = files.iter().next().context("the generator wrote no file")?;
    Ok(std::str::from_utf8(source)?.to_owned())
}
