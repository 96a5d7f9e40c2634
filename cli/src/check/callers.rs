//! `fanfare check --callers`: compares the `calls` of each module with the routes that they name.

use std::sync::Arc;

use super::fits::{Misfit, misfits};
use fanfare::Fault;
use fanfare::tooling::manifest::{Callee, Middleware, PayloadSchema};
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
        let module = callee.route.module.as_deref().unwrap_or(&caller.name);
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
    let name = callee.route.to_string();
    let key = KeyPath::of(&["calls", &name]);
    let mut fault = |message: String| faults.push(Fault::new(&callee.origin, &key, message));
    let target = match target {
        Ok(target) => target,
        Err(none) => return fault(none.of(module)),
    };
    if module != caller.name && !caller.capabilities.rpc.allow(module) {
        fault(format!("calls a route of {module}: add \"{module}\" to capabilities.rpc"));
    }
    let routes = &target.source.nearest(&KeyPath::of(&["routes"])).origin;
    let route = match target.route_named(&callee.route) {
        Ok(route) => route,
        Err(why) => return fault(format!("{why} (its routes: {routes})")),
    };
    if route.middlewares.contains(&Middleware::Session) {
        return fault(format!("only messages of connected clients reach it, because it is `session` ({routes})"));
    }
    let read = |schema: &Option<PayloadSchema>, manifest: &Manifest| schema.as_ref()?.read(&manifest.dir).ok();
    if let (Some(sent), Some(taken)) = (read(&callee.takes, caller), read(&route.takes, &target)) {
        for Misfit { path, sent, accepted, sender, receiver } in misfits(&sent, &taken) {
            let message =
                format!("the module sends {sent}, but {module} takes {accepted} ({receiver}): change one of them");
            faults.push(Fault::new(&sender, format!("{key}.takes{path}"), message));
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
