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
    pub handler: bool,
    pub handler_sync: bool,
    /// The `wasi:http` interface through which it answers requests.
    pub http: Option<WasiHttp>,
    /// The name of the export of `wasi:cli/run`, which runs commands.
    pub command: Option<String>,
    pub snapshot: bool,
    pub describe: bool,
    /// Whether its exports block, so that an instance runs one call at a time.
    pub serial: bool,
    /// The capabilities that it imports, by their key in `capabilities`.
    pub imports: BTreeSet<&'static str>,
}

/// The `wasi:http` interface that a component exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WasiHttp {
    pub version: HttpVersion,
    /// The name of the export, such as `wasi:http/handler@0.3.0`.
    pub export: String,
}

/// A version of `wasi:http`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum HttpVersion {
    /// `incoming-handler@0.2.x`.
    V2,
    /// `handler@0.3.x`.
    V3,
}

impl WasiHttp {
    /// The versions that this host serves, in messages.
    pub const SERVED: &'static str = "wasi:http/handler@0.3.x or wasi:http/incoming-handler@0.2.x";

    /// Recognises the name of an export. Drafts, such as `0.3.0-rc-2025-09-16`, are not served.
    fn of_export(name: &str) -> Option<WasiHttp> {
        let version = match name.strip_prefix("wasi:http/handler@0.3.") {
            Some(patch) => (HttpVersion::V3, patch),
            None => (HttpVersion::V2, name.strip_prefix("wasi:http/incoming-handler@0.2.")?),
        };
        is_number(version.1).then(|| WasiHttp { version: version.0, export: name.to_owned() })
    }
}

/// Whether an export is `wasi:cli/run` of a version that this host runs. Drafts are not.
fn is_command(name: &str) -> bool {
    let patch = name.strip_prefix("wasi:cli/run@0.").and_then(|rest| rest.split_once('.'));
    patch.is_some_and(|(minor, patch)| matches!(minor, "2" | "3") && is_number(patch))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
}

impl Exports {
    /// Whether routes can run in it.
    pub fn has_handler(&self) -> bool {
        self.handler || self.handler_sync
    }

    /// Whether each call needs an instance of its own, because components for `wasi:http` 0.2 and
    /// commands are written for one.
    pub fn must_be_fresh(&self) -> bool {
        let for_one = self.http.as_ref().map_or(self.command.is_some(), |http| http.version == HttpVersion::V2);
        !self.has_handler() && for_one
    }
}

/// The most faults of one component that are reported.
const MOST_FAULTS: usize = 32;

/// The export of `wasi:keyvalue`, of any version.
const WATCHER: &str = "wasi:keyvalue/watcher@";

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
        "durable",
        "durable-blocking",
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
        "nodes",
        "sessions",
        "sessions-await",
        "sessions-blocking",
        "channels",
        "channels-await",
        "channels-blocking",
        "fetch",
        "fetch-blocking",
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
    let mut blocks = false;
    let blocking = |interface: &str, functions: &[&str]| {
        functions.iter().any(|function| !async_exports.contains(&format!("{interface}#{function}")))
    };
    for (name, export) in ty.exports(engine) {
        if let Some(http) = WasiHttp::of_export(name)
            && exports.http.as_ref().is_none_or(|known| known.version < http.version)
        {
            exports.http = Some(http);
            continue;
        }
        if is_command(name) && exports.command.as_deref().is_none_or(|known| known < name) {
            exports.command = Some(name.to_owned());
            continue;
        }
        let shown = line(name, NAME);
        if name.starts_with(WATCHER) {
            // Such a component waits for changes, which it would never hear of.
            faults.push(format!(
                "exports {shown}, which this host does not call: leave it out, and subscribe to events or to Redis"
            ));
            continue;
        }
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
            "handler-sync" => exports.handler_sync = true,
            "snapshot" => {
                exports.snapshot = true;
                blocks |= blocking(name, &["save", "load"]);
            }
            "describe" => exports.describe = true,
            _ => faults.push(format!("exports {shown}, which is not an export of the contract: see wit/handler.wit")),
        }
    }
    match (exports.handler, exports.handler_sync) {
        (false, false) if other_version.is_none() && exports.http.is_none() && exports.command.is_none() => {
            faults.push(no_handler(ty.exports(engine).map(|(name, _)| name)))
        }
        (true, true) => faults.push("exports both handler and handler-sync: leave one out".to_owned()),
        _ => {}
    }
    blocks |= match &exports.http {
        Some(WasiHttp { version: HttpVersion::V3, export }) => blocking(export, &["handle"]),
        Some(WasiHttp { version: HttpVersion::V2, .. }) => exports.has_handler(),
        None => false,
    };
    exports.serial = exports.handler_sync || blocks;
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

/// The most exports that a fault names.
const MOST_NAMES: usize = 8;

/// Returns the fault of a component that the host cannot call.
fn no_handler<'a>(exports: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<String> = exports.take(MOST_NAMES + 1).map(|name| line(name, NAME)).collect();
    if names.len() > MOST_NAMES {
        names.truncate(MOST_NAMES);
        names.push("..".to_owned());
    }
    let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    format!(
        "exports neither fanfare:module/handler@0.1.0 nor fanfare:module/handler-sync@0.1.0 nor {} nor \
         wasi:cli/run@0.2.x or 0.3.x, but {found}: build it for a world of wit/, for wasi:http or as a command",
        WasiHttp::SERVED
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
