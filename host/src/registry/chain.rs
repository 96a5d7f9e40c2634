//! Checks middlewares that are routes against the modules that have them.

use std::sync::Arc;

use super::access::Access;
use super::manifest::{Manifest, Middleware, Route};
use super::router::{RouteLookup, RouteSpec, Router};
use crate::call::{self, RouteName};
use crate::document::fault::Fault;
use crate::document::shape::did_you_mean;
use crate::document::tree::Path as KeyPath;

/// Why a module has no manifest to check middlewares against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoManifest {
    Missing,
    /// It has faults of its own.
    Refused,
}

impl NoManifest {
    /// Says why there is no manifest of this module.
    pub fn of(self, module: &str) -> String {
        match self {
            NoManifest::Missing => format!("there is no module {module}"),
            NoManifest::Refused => format!("{module} is refused: correct its own faults first"),
        }
    }
}

impl Manifest {
    /// Checks the middlewares that are routes. `find` returns the manifest of another module. The
    /// faults are those of this manifest.
    pub fn check_chains(&self, find: impl Fn(&str) -> Result<Arc<Manifest>, NoManifest>) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (index, name) in self.chained() {
            let module = name.module.as_deref().unwrap_or(&self.name);
            let checked = if module == self.name {
                self.check_middleware(name)
            } else {
                find(module).map_err(|why| why.of(module)).and_then(|it| it.check_middleware(name))
            };
            if let Err(why) = checked {
                let path = KeyPath::of(&["routes"]).index(index).key("middlewares");
                let message = format!("the middleware `{name}`: {why}");
                faults.push(Fault::new(&self.source.nearest(&path).origin, path, message));
            }
        }
        faults
    }

    /// Checks the routes of this manifest that are middlewares of `other`. The faults are those of
    /// this manifest.
    pub fn check_dependent(&self, other: &Manifest) -> Vec<Fault> {
        let named = other.chained().filter(|(_, name)| name.module.as_ref() == Some(&self.name));
        let fault = |(index, name): (usize, &RouteName)| {
            let why = self.check_middleware(name).err()?;
            let path = KeyPath::of(&["routes"]).index(index).key("middlewares");
            let place = &other.source.nearest(&path).origin;
            let message = format!("`{name}` is a middleware of {} ({place}): {why}", other.name);
            Some(Fault::new(&self.source.origin, KeyPath::of(&["routes"]), message))
        };
        named.filter_map(fault).collect()
    }

    /// The middlewares that are routes, each with the index of its route.
    pub fn chained(&self) -> impl Iterator<Item = (usize, &RouteName)> {
        self.routes.iter().enumerate().flat_map(|(index, route)| route.chain.iter().map(move |name| (index, name)))
    }

    /// Whether a route of this module can be a middleware. The error says what is wrong.
    fn check_middleware(&self, name: &RouteName) -> Result<(), String> {
        let route = self.route_named(name)?;
        let has = |middleware| route.middlewares.contains(&middleware);
        if !has(Middleware::Inner) {
            return Err("its route must have the middleware `inner`: otherwise clients could call it".to_owned());
        }
        if has(Middleware::Test) {
            return Err("its route must not have the middleware `test`: it runs in every environment".to_owned());
        }
        if !route.chain.is_empty() {
            return Err("its route has middlewares that are routes: list those before it instead".to_owned());
        }
        Ok(())
    }

    /// The route that a call from inside finds under this name.
    pub fn route_named(&self, name: &RouteName) -> Result<&Route, String> {
        let route = |route: &Route| call::Route {
            deployment: 0,
            handler: route.handler.as_str().into(),
            text: route.text.as_str().into(),
            chain: Vec::new(),
        };
        let routes: Vec<Arc<call::Route>> = self.routes.iter().map(route).map(Arc::new).collect();
        let spec = |(declared, route): (&Route, &Arc<call::Route>)| RouteSpec {
            method: declared.method.clone(),
            path: declared.path.clone(),
            route: route.clone(),
            access: Access::default(),
        };
        let router = Router::new(self.routes.iter().zip(&routes).map(spec));
        let found = match router.find_inside(name.method.as_ref(), &name.path) {
            RouteLookup::Route(matched) => routes.iter().position(|route| Arc::ptr_eq(route, &matched.route)),
            _ => None,
        };
        found.and_then(|index| self.routes.get(index)).ok_or_else(|| {
            let texts: Vec<&str> = self.routes.iter().map(|route| route.text.as_str()).collect();
            format!("{} has no such route{}", self.name, did_you_mean(&name.path, &texts))
        })
    }

    /// The route of the broadcast with this name.
    pub fn broadcast_named(&self, name: &str) -> Result<&Route, String> {
        let route = self.broadcasts.get(name).and_then(|index| self.routes.get(*index));
        route.ok_or_else(|| {
            let names: Vec<&str> = self.broadcasts.keys().map(String::as_str).collect();
            format!("{} has no such broadcast{}", self.name, did_you_mean(name, &names))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn manifest(name: &str, routes: &str) -> Manifest {
        let rpc = r#""capabilities": { "rpc": ["*"] }"#;
        let text = format!(r#"{{ "component": "a.wasm", {rpc}, "routes": [{routes}] }}"#);
        Manifest::from_text(&Path::new("/modules").join(name), &text).unwrap()
    }

    fn limiter(routes: &str) -> Arc<Manifest> {
        Arc::new(manifest("limiter", routes))
    }

    fn faults(chain: &str, limiter: Result<&Arc<Manifest>, NoManifest>) -> Vec<String> {
        let own = r#"{ "path": "own", "handler": "a", "middlewares": "inner" }"#;
        let route = format!(r#"{{ "path": "buy", "handler": "b", "middlewares": {chain} }}"#);
        let faults = manifest("shop", &format!("{own}, {route}")).check_chains(|name| {
            assert_eq!(name, "limiter");
            limiter.cloned()
        });
        faults.iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect()
    }

    const MISSING: Result<&Arc<Manifest>, NoManifest> = Err(NoManifest::Missing);

    const CHECK: &str = r#"{ "path": "check", "handler": "a", "middlewares": "inner" }"#;

    #[test]
    fn a_middleware_is_an_inner_route_without_middlewares_of_its_own() {
        let good = limiter(CHECK);
        assert!(faults(r#"["limiter/check?by=peer", "limiter.check", "/own", "inner"]"#, Ok(&good)).is_empty());
        // The route is the one that a call finds.
        let get = r#"{ "method": "get", "path": "check", "handler": "a" }"#;
        let post = r#"{ "path": "{name}", "handler": "b", "middlewares": "inner" }"#;
        let both = limiter(&format!("{get}, {post}"));
        assert!(faults(r#"["limiter/check", "limiter/other", "POST limiter/check"]"#, Ok(&both)).is_empty());
        assert!(faults(r#""GET limiter/check""#, Ok(&both))[0].contains("must have the middleware `inner`"));
        let open = limiter(r#"{ "path": "check", "handler": "a" }"#);
        let test = limiter(r#"{ "path": "check", "handler": "a", "middlewares": ["inner", "test"] }"#);
        let chained = limiter(r#"{ "path": "check", "handler": "a", "middlewares": ["inner", "limiter/check"] }"#);
        for (chain, limiter, why) in [
            (r#""limiter/chekc""#, Ok(&good), "limiter has no such route"),
            (r#""GET limiter/check""#, Ok(&good), "limiter has no such route"),
            (r#""/none""#, MISSING, "shop has no such route"),
            (r#""limiter/check""#, MISSING, "there is no module limiter"),
            (r#""limiter/check""#, Err(NoManifest::Refused), "limiter is refused: correct its own faults first"),
            (r#""limiter/check""#, Ok(&open), "must have the middleware `inner`"),
            (r#""limiter/check""#, Ok(&test), "must not have the middleware `test`"),
            (r#""limiter/check""#, Ok(&chained), "list those before it instead"),
            (r#""/buy""#, MISSING, "must have the middleware `inner`"),
        ] {
            let found = faults(chain, limiter);
            let [fault] = found.as_slice() else { panic!("{chain}: {found:?}") };
            assert!(fault.starts_with("routes[1].middlewares: the middleware `") && fault.contains(why), "{fault}");
        }
    }

    #[test]
    fn a_module_may_not_lose_a_route_that_is_a_middleware_of_another() {
        let shop = manifest("shop", r#"{ "path": "buy", "handler": "b", "middlewares": "limiter/check" }"#);
        assert!(limiter(CHECK).check_dependent(&shop).is_empty());
        let faults = limiter("").check_dependent(&shop);
        let message = &faults[0].message;
        assert!(
            message.starts_with("`limiter/check` is a middleware of shop (/modules/shop/module.json:1"),
            "{message}"
        );
        assert!(message.contains("limiter has no such route"), "{message}");
    }

    #[test]
    fn a_manifest_shows_what_is_wrong_with_its_own_middlewares() {
        let load = |routes: &str, rest: &str| {
            let text = format!(r#"{{ "component": "a.wasm", "routes": [{routes}]{rest} }}"#);
            let faults = Manifest::from_text(Path::new("/modules/shop"), &text).unwrap_err().faults;
            faults.list().iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect::<Vec<_>>()
        };
        let route = |chain: &str| format!(r#"{{ "path": "buy", "handler": "b", "middlewares": {chain} }}"#);
        assert_eq!(
            load(&route(r#"["inner", "limiter/check"]"#), ""),
            [r#"routes[0].middlewares[1]: calls a route of limiter: add "limiter" to capabilities.rpc"#]
        );
        let many = format!("[{}]", [r#""/own""#; 9].join(","));
        assert_eq!(
            load(&route(&many), ""),
            ["routes[0].middlewares: must have at most 8 routes, found 9: remove some"]
        );
        let unknown = load(&route(r#""innner""#), "");
        assert!(
            unknown[0]
                .starts_with("routes[0].middlewares: must be \"inner\", \"session\", \"test\", \"cors\", or a route"),
            "{unknown:?}"
        );
        let chained = route(r#"["inner", "/own"]"#);
        for (rest, key) in [
            (r#", "startups": { "warm": { "path": "buy" } }"#, "startups.warm.path"),
            (r#", "hooks": { "stop": { "path": "buy" } }"#, "hooks.stop.path"),
            (r#", "filters": { "before": ["buy"] }"#, "filters.before[0]"),
        ] {
            let found = load(&chained, rest);
            assert!(
                found.len() == 1 && found[0].starts_with(key) && found[0].contains("without middlewares"),
                "{found:?}"
            );
        }
    }
}
