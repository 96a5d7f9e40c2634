//! What a component exports and imports, checked against the contract before anything is linked.

use std::collections::{BTreeSet, HashSet};

use wasmparser::Parser;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::call::text::{NAME, line};
use crate::config::capabilities::of_import;
use crate::engine::Engine;

/// The part of the contract that a component has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exports {
    /// `handler`; else it is `handler-sync`.
    pub handler: bool,
    pub snapshot: bool,
    pub describe: bool,
    /// It takes one call at a time, by the way it is made.
    pub serial: bool,
    /// What it imports that the operator grants, as keys of `capabilities`, or of none.
    pub imports: BTreeSet<&'static str>,
}

/// The most faults of one component that are told.
const MOST_FAULTS: usize = 32;

/// The package every version of the contract belongs to.
const PACKAGE: &str = "fanfare:module/";
/// The versions served, each with the interfaces it has. A later version adds a row, and an adapter beside it.
const VERSIONS: &[(&str, &[&str])] =
    &[("0.1.0", &["types", "broadcast", "broadcast-blocking", "rpc", "rpc-blocking", "http", "host", "config"])];

/// Whether the bytes end where the component does, and not before: a file that is being written does.
pub fn is_whole(bytes: &[u8]) -> bool {
    Parser::new(0).parse_all(bytes).all(|payload| payload.is_ok())
}

/// Finds every fault in what a component imports and exports. `async_exports` are those of its bytes
/// (`super::lifts`).
pub fn exports(
    engine: &Engine,
    component: &Component,
    async_exports: &HashSet<String>,
) -> Result<Exports, Vec<String>> {
    let ty = component.component_type();
    let engine = engine.wasmtime();
    let mut faults: Vec<String> = ty.imports(engine).filter_map(|(name, _)| refuse_import(name)).collect();
    let imports = ty.imports(engine).filter_map(|(name, _)| of_import(name)).collect();
    let mut exports = Exports { imports, ..Exports::default() };
    let (mut handler_sync, mut blocks) = (false, false);
    let blocking = |interface: &str, functions: &[&str]| {
        functions.iter().any(|function| !async_exports.contains(&format!("{interface}#{function}")))
    };
    for (name, export) in ty.exports(engine) {
        let shown = line(name, NAME);
        let Some((interface, version)) = name.strip_prefix(PACKAGE).and_then(|name| name.split_once('@')) else {
            continue;
        };
        if !VERSIONS.iter().any(|(served, _)| *served == version) {
            faults.push(format!("exports {shown}: this host serves {}", served_versions()));
            continue;
        }
        if !matches!(export.ty, ComponentItem::ComponentInstance(_)) {
            faults.push(format!("exports {shown}, which is no interface: see wit/handler.wit"));
            continue;
        }
        match interface {
            "handler" => {
                exports.handler = true;
                blocks |= blocking(name, &["handle"]);
            }
            "handler-sync" => handler_sync = true,
            "snapshot" => {
                exports.snapshot = true;
                blocks |= blocking(name, &["save", "load"]);
            }
            "describe" => exports.describe = true,
            _ => faults.push(format!("exports {shown}, which the contract has no export of")),
        }
    }
    match (exports.handler, handler_sync) {
        (false, false) => faults.push(
            "exports neither fanfare:module/handler@0.1.0 nor fanfare:module/handler-sync@0.1.0: build it for a world of wit/".to_owned(),
        ),
        (true, true) => faults.push("exports both handler and handler-sync: leave one out".to_owned()),
        _ => {}
    }
    exports.serial = handler_sync || blocks;
    faults.truncate(MOST_FAULTS);
    if faults.is_empty() { Ok(exports) } else { Err(faults) }
}

fn served_versions() -> String {
    VERSIONS.iter().map(|(version, _)| *version).collect::<Vec<_>>().join(", ")
}

/// Why an import cannot be satisfied, if so. Whether its types fit is seen when it is linked.
fn refuse_import(name: &str) -> Option<String> {
    let shown = line(name, NAME);
    if let Some(rest) = name.strip_prefix(PACKAGE) {
        let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
        let served = VERSIONS.iter().find(|(served, _)| *served == version);
        return match served {
            None => Some(format!("imports {shown}: this host serves {}", served_versions())),
            Some((_, interfaces)) if !interfaces.contains(&interface) => {
                Some(format!("imports {shown}: there is no such interface; there are {}", interfaces.join(", ")))
            }
            Some(_) => None,
        };
    }
    // All of WASI that a toolchain links on its own is there, with nothing behind it.
    (!name.starts_with("wasi:")).then(|| format!("imports {shown}: only fanfare:module and wasi interfaces are served"))
}
