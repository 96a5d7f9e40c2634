//! The route functions that `cluster.routers` names.

use std::sync::Arc;

use fanfare::tooling::manifest::Middleware;
use fanfare::tooling::{KeyPath, Manifest, NoManifest, RouteName};
use fanfare::{Config, Fault};

/// Warnings about the route functions that their modules do not have, or that clients keep for
/// themselves. `find` returns the manifest of a module.
pub fn without_route(config: &Config, find: impl Fn(&str) -> Result<Arc<Manifest>, NoManifest>) -> Vec<Fault> {
    let mut warnings = Vec::new();
    for (server, router) in &config.cluster.routers {
        let Some((module, path)) = router.module.as_deref().zip(router.path.as_deref()) else { continue };
        let (Ok(manifest), Ok(name)) = (find(module), RouteName::within(module, path)) else { continue };
        let routes = &manifest.source.nearest(&KeyPath::of(&["routes"])).origin;
        let why = match manifest.route_named(&name) {
            Ok(route) if !route.middlewares.contains(&Middleware::Session) => continue,
            Ok(_) => "only messages of connected clients reach this route, because it is `session`".to_owned(),
            Err(why) => why,
        };
        let path = KeyPath::of(&["cluster", "routers", server, "path"]);
        let message =
            format!("{why} ({routes}), so no message of a client finds a node of this type: name another route");
        warnings.push(Fault::new(&config.origin(&path), path, message));
    }
    warnings
}
