//! `fanfare check --callers`: compares the `calls` of each module with the routes and broadcasts
//! that they name.

use std::sync::Arc;

use super::fits::{Misfit, misfits};
use fanfare::Fault;
use fanfare::tooling::manifest::{Callee, CalleeName, Middleware, PayloadSchema};
use fanfare::tooling::{KeyPath, Manifest, NoManifest};

/// The faults of a module's calls. `find` returns the manifest of a module. With `only`, of the
/// calls from and to this module.
pub fn faults(
    caller: &Manifest,
    only: Option<&str>,
    find: impl Fn(&str) -> Result<Arc<Manifest>, NoManifest>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    for callee in &caller.calls {
        let module = callee.name.module().unwrap_or(&caller.name);
        if only.is_none_or(|only| only == caller.name || only == module) {
            check(caller, callee, module, find(module), &mut faults);
        }
    }
    faults
}

fn check(
    caller: &Manifest,
    callee: &Callee,
    module: &str,
    target: Result<Arc<Manifest>, NoManifest>,
    faults: &mut Vec<Fault>,
) {
    let key = KeyPath::of(&["calls", &callee.name.to_string()]);
    let mut fault = |message: String| faults.push(Fault::new(&callee.origin, &key, message));
    let target = match target {
        Ok(target) => target,
        Err(none) => return fault(none.of(module)),
    };
    let (is_allowed, lacks) = match callee.name {
        CalleeName::Route(_) => (caller.capabilities.rpc.allow(module), ("calls a route", "rpc")),
        CalleeName::Broadcast { .. } => {
            (caller.capabilities.broadcast.allow(module), ("emits a broadcast", "broadcast"))
        }
    };
    if module != caller.name && !is_allowed {
        fault(format!("{} of {module}: add \"{module}\" to capabilities.{}", lacks.0, lacks.1));
    }
    let place = |section: &str| &target.source.nearest(&KeyPath::of(&[section])).origin;
    let (found, section) = match &callee.name {
        CalleeName::Route(name) => (target.route_named(name), "routes"),
        CalleeName::Broadcast { name, .. } => (target.broadcast_named(name), "broadcasts"),
    };
    let route = match found {
        Ok(route) => route,
        Err(why) => return fault(format!("{why} (its {section}: {})", place(section))),
    };
    if route.middlewares.contains(&Middleware::Session) {
        let routes = place("routes");
        return fault(format!("only messages of connected clients reach it, because it is `session` ({routes})"));
    }
    let read = |schema: &Option<PayloadSchema>, manifest: &Manifest| schema.as_ref()?.read(&manifest.dir).ok();
    for (what, sent, taken) in [("takes", &callee.takes, &route.takes), ("query", &callee.query, &route.query)] {
        let (Some(sent), Some(taken)) = (read(sent, caller), read(taken, &target)) else { continue };
        for Misfit { path, sent, accepted, sender, receiver } in misfits(&sent, &taken) {
            let message =
                format!("the module sends {sent}, but {module} takes {accepted} ({receiver}): change one of them");
            faults.push(Fault::new(&sender, format!("{key}.{what}{path}"), message));
        }
    }
    if let (Some(given), Some(expected)) = (read(&route.gives, &target), read(&callee.gives, caller)) {
        for Misfit { path, sent, accepted, sender, receiver } in misfits(&given, &expected) {
            let message =
                format!("the module expects {accepted}, but {module} gives {sent} ({sender}): change one of them");
            faults.push(Fault::new(&receiver, format!("{key}.gives{path}"), message));
        }
    }
}
