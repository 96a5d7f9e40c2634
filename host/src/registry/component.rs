//! Checks the exports and imports of a component against the contract, before the host links it.

use std::collections::{BTreeSet, HashSet};

use wasmparser::Parser;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::served_imports;
use crate::call::text::{NAME, line};
use crate::config::capabilities::of_import;
use crate::engine::Engine;

/// The interfaces of the contract that a component exports and imports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exports {
    /// Whether it exports `handler`. Otherwise it exports `handler-sync`.
    pub handler: bool,
    pub snapshot: bool,
    pub describe: bool,
    /// Whether its exports block, so that an instance runs one call at a time.
    pub serial: bool,
    /// The capabilities that it imports, by their key in `capabilities`.
    pub imports: BTreeSet<&'static str>,
}

/// The most faults of one component that are reported.
const MOST_FAULTS: usize = 32;

/// The package that every version of the contract belongs to.
const PACKAGE: &str = "fanfare:module/";

/// The versions of the contract that this host serves, each with its interfaces for import. A later
/// version adds a row here, and an adapter.
const VERSIONS: &[(&str, &[&str])] = &[(
    "0.1.0",
    &[
        "types",
        "broadcast",
        "broadcast-blocking",
        "rpc",
        "rpc-blocking",
        "http",
        "host",
        "config",
        "master",
        "master-await",
        "master-blocking",
        "sse",
        "events",
        "messages",
        "sessions",
        "sessions-await",
        "sessions-blocking",
        "channels",
        "channels-await",
        "channels-blocking",
    ],
)];

/// Whether the bytes are a complete component. A file that is still being written is not.
pub fn is_whole(bytes: &[u8]) -> bool {
    Parser::new(0).parse_all(bytes).all(|payload| payload.is_ok())
}

/// Returns the exports and imports of a component, or every fault in them. `async_exports` comes
/// from [`analyse`](super::instantiation::analyse).
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
    let names = || ty.imports(engine).map(|(name, _)| name).chain(ty.exports(engine).map(|(name, _)| name));
    // Once, because all interfaces of a component usually have the same version.
    let other_version = names().find_map(other_version);
    faults.extend(other_version.clone());
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
            continue;
        }
        if !matches!(export.ty, ComponentItem::ComponentInstance(_)) {
            faults.push(format!("exports {shown}, which is not an interface: see wit/handler.wit"));
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
            _ => faults.push(format!("exports {shown}, which is not an export of the contract: see wit/handler.wit")),
        }
    }
    match (exports.handler, handler_sync) {
        (false, false) if other_version.is_none() => faults.push(no_handler(ty.exports(engine).map(|(name, _)| name))),
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

/// Returns the fault of a name that belongs to a version of the contract that this host does not
/// serve.
fn other_version(name: &str) -> Option<String> {
    let (_, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
    let is_served = VERSIONS.iter().any(|(served, _)| *served == version);
    (!is_served).then(|| {
        format!(
            "uses {}, but this host serves version {} of the contract: build it with the files that `fanfare wit` writes",
            line(name, NAME),
            served_versions()
        )
    })
}

/// The exports of components that other hosts run, and the names of these components.
const FOREIGN: &[(&str, &str)] = &[
    ("wasi:http/handler@", "a wasi:http component"),
    ("wasi:http/incoming-handler@", "a wasi:http component"),
    ("wasi:cli/run@", "a command"),
];

/// Returns the fault of a component without a handler.
fn no_handler<'a>(exports: impl Iterator<Item = &'a str>) -> String {
    let foreign = exports
        .filter_map(|name| FOREIGN.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|found| (name, found.1)));
    let found = foreign
        .map(|(name, kind)| format!("is {kind} (exports {}), which fanfare does not serve: it ", line(name, NAME)))
        .next();
    format!(
        "{}exports neither fanfare:module/handler@0.1.0 nor fanfare:module/handler-sync@0.1.0: build it for a world of wit/",
        found.unwrap_or_default()
    )
}

/// Returns why the host cannot satisfy an import, if so. Linking checks the types later.
fn refuse_import(name: &str) -> Option<String> {
    let shown = line(name, NAME);
    if let Some(rest) = name.strip_prefix(PACKAGE) {
        let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
        let served = VERSIONS.iter().find(|(served, _)| *served == version);
        return match served {
            // See `other_version`.
            None if !version.is_empty() => None,
            None => Some(format!("imports {shown} without a version: this host serves {}", served_versions())),
            Some((_, interfaces)) if !interfaces.contains(&interface) => Some(format!(
                "imports {shown}, which is not an interface of the contract: it has {}",
                interfaces.join(", ")
            )),
            Some(_) => None,
        };
    }
    if name.starts_with("wasi:") {
        return served_imports::refuse(name);
    }
    Some(format!("imports {shown}: only fanfare:module and wasi interfaces are served"))
}
