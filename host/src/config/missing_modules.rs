//! Warnings about settings that name modules which do not exist.

use super::Config;
use crate::document::shape::did_you_mean;
use crate::document::source::shown;
use crate::document::{Fault, KeyPath};

impl Config {
    /// Warnings about the keys of `modules` that name no module. `existing` are the modules that
    /// exist.
    #[doc(hidden)]
    pub fn sections_without_module(&self, existing: &[&str]) -> Vec<Fault> {
        let named = self.modules.keys().map(|name| (KeyPath::of(&["modules", name]), name.as_str()));
        self.missing_modules(named, existing, "")
    }

    /// Warnings about the listeners of `websocket` whose module does not exist. `existing` are the
    /// modules that exist.
    #[doc(hidden)]
    pub fn listeners_without_module(&self, existing: &[&str]) -> Vec<Fault> {
        let place = |index| KeyPath::of(&["websocket", "listeners"]).index(index).key("module");
        let listeners = self.websocket.listeners.iter().enumerate();
        let named = listeners.map(|(index, listener)| (place(index), listener.module.as_str()));
        let effect = ", so the host rejects each client of this listener with 404: add the module, or name another one";
        self.missing_modules(named, existing, effect)
    }

    /// Warnings about the modules that this server of `cluster.servers` is to serve, and that do
    /// not exist. `existing` are the modules that exist.
    #[doc(hidden)]
    pub fn server_without_module(&self, existing: &[&str]) -> Vec<Fault> {
        let own = self.server.iter();
        let named =
            own.flat_map(|own| own.modules.iter().flatten().map(|name| (own.place.key("modules"), name.as_str())));
        self.missing_modules(named, existing, ", so this node does not serve it: add the module, or name another one")
    }

    /// Why no node has a module to which clients send messages, as far as the settings tell.
    /// `exists` says whether the module is in `modulesDir`.
    #[doc(hidden)]
    pub fn why_nowhere(&self, module: &str, exists: bool) -> Option<String> {
        match (exists, self.servers.as_slice()) {
            // Nodes that are not in `cluster.servers` may have folders with other modules.
            (false, []) if self.cluster.nats.is_some() => None,
            (false, _) => Some(format!("there is no module {module} in {}", shown(&self.modules_dir))),
            (true, servers) if servers.is_empty() || servers.iter().any(|server| server.serves(module)) => None,
            (true, _) => Some(format!("no server of cluster.servers has {module} in its `modules`")),
        }
    }

    /// Warnings at the places of the modules that do not exist, with what follows from it.
    pub(super) fn missing_modules<'a>(
        &self,
        named: impl Iterator<Item = (KeyPath, &'a str)>,
        existing: &[&str],
        effect: &str,
    ) -> Vec<Fault> {
        let dir = shown(&self.modules_dir);
        let warning = |(path, name): (KeyPath, &str)| {
            let near = did_you_mean(name, existing);
            Fault::new(&self.origin(&path), path, format!("there is no such module in {dir}{effect}{near}"))
        };
        named.filter(|(_, name)| !existing.contains(name)).map(warning).collect()
    }
}
