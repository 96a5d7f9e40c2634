//! Warnings about entries of `cluster.routers` that cannot work.

use super::{Config, RouterConfig, ServerConfig};
use crate::document::shape::list;
use crate::document::{Fault, KeyPath};

impl Config {
    /// Warnings about the entries of `cluster.routers` that find no node, if clients connect to
    /// this node. `existing` are the modules that exist.
    #[doc(hidden)]
    pub fn routers_in_vain(&self, existing: &[&str]) -> Vec<Fault> {
        if self.server.as_ref().is_some_and(|own| !own.frontend) {
            return Vec::new();
        }
        let routers = &self.cluster.routers;
        let named = routers.iter().filter_map(|(server, router)| Some((module_of(server), router.module.as_deref()?)));
        let effect = ", so no message of a client finds a node of this type: add the module, or name another one";
        let mut warnings = self.missing_modules(named, existing, effect);
        warnings.extend(routers.keys().filter_map(|server| self.type_without_modules(server)));
        let existing =
            routers.iter().filter(|(_, router)| router.module.as_deref().is_some_and(|name| existing.contains(&name)));
        warnings.extend(existing.filter_map(|(server, router)| self.frontends_without_module(server, router)));
        warnings
    }

    fn type_without_modules(&self, server: &str) -> Option<Fault> {
        let mut servers = self.servers.iter().filter(|other| other.server == *server).peekable();
        servers.peek()?;
        let path = KeyPath::of(&["cluster", "routers", server]);
        let message = "the servers of this type serve no modules (their `modules` are empty), so no message of a client \
                       is sent to them: add modules to them, or remove this entry";
        servers
            .all(|server| server.modules.as_ref().is_some_and(Vec::is_empty))
            .then(|| Fault::new(&self.origin(&path), path, message))
    }

    /// The route function of an entry runs on the node of the client.
    fn frontends_without_module(&self, server: &str, router: &RouterConfig) -> Option<Fault> {
        let module = router.module.as_deref()?;
        let lacks = |frontend: &&ServerConfig| !frontend.serves(module) && self.may_forward(frontend, server);
        let frontends: Vec<&ServerConfig> =
            self.servers.iter().filter(|server| server.frontend).filter(lacks).collect();
        let first = frontends.first()?;
        let ids: Vec<&str> = frontends.iter().map(|frontend| frontend.id.as_str()).collect();
        let path = module_of(server);
        let message = format!(
            "{} {} not serve this module ({}), so no message of {} clients finds a node of this type: add the module \
             to the `modules` there, or name another one",
            list(&ids),
            if ids.len() == 1 { "does" } else { "do" },
            first.origin("modules"),
            if ids.len() == 1 { "its" } else { "their" },
        );
        Some(Fault::new(&self.origin(&path), path, message))
    }

    /// Whether a server type has a module that a frontend lacks.
    fn may_forward(&self, frontend: &ServerConfig, server: &str) -> bool {
        let mut servers = self.servers.iter().filter(|other| other.server == *server);
        servers.any(|other| match &other.modules {
            Some(modules) => modules.iter().any(|module| !frontend.serves(module)),
            None => frontend.modules.is_some(),
        })
    }
}

fn module_of(server: &str) -> KeyPath {
    KeyPath::of(&["cluster", "routers", server, "module"])
}
