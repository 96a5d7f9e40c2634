//! Checks sockets whose messages are for another module.

use std::sync::Arc;

use super::access::Access;
use super::chain::NoManifest;
use super::manifest::Manifest;
use crate::call::{RouteName, TriggerKind};
use crate::document::fault::Fault;
use crate::document::tree::Path as KeyPath;

impl Manifest {
    /// Warnings about the sockets whose messages cannot reach their route of another module. `find`
    /// returns the manifest of a module. `nowhere` says why no node has a module, given whether it
    /// exists here.
    pub fn check_sockets(
        &self,
        find: impl Fn(&str) -> Result<Arc<Manifest>, NoManifest>,
        nowhere: impl Fn(&str, bool) -> Option<String>,
    ) -> Vec<Fault> {
        let others = self.sockets.iter().filter_map(|(pattern, socket)| Some((pattern, socket.route.other()?)));
        let warning = |(pattern, name): (&str, &RouteName)| {
            let module = name.module.as_deref()?;
            let found = find(module);
            let exists = !matches!(found, Err(NoManifest::Missing));
            let (key, why, remedy) = match nowhere(module, exists) {
                Some(why) => ("module", why, "add the module, or name another one"),
                None => ("path", found.ok()?.check_socket(name).err()?, "name a route with the middleware `session`"),
            };
            let path = KeyPath::of(&["sockets", pattern, key]);
            let message = format!("{why}, so every message to this socket fails: {remedy}");
            Some(Fault::new(&self.source.nearest(&path).origin, path, message))
        };
        others.filter_map(warning).collect()
    }

    /// Whether messages of clients reach a route of this module. The error says why not.
    fn check_socket(&self, name: &RouteName) -> Result<(), String> {
        let access = Access::of(&self.route_named(name)?.middlewares, true);
        access.admits(TriggerKind::Client).map_err(|why| format!("`{name}`: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn manifest(name: &str, parts: &str) -> Manifest {
        let text = format!(r#"{{ "component": "a.wasm", {parts} }}"#);
        Manifest::from_text(&Path::new("/modules").join(name), &text).unwrap()
    }

    fn warnings(module: &str, path: &str, nowhere: Option<&str>) -> Vec<String> {
        let chat = r#""routes": [{ "path": "say", "handler": "a", "middlewares": "session" },
            { "path": "say", "method": "get", "handler": "b" }, { "path": "open/{id}", "handler": "c" },
            { "path": "room/{id}", "handler": "d", "middlewares": "session" }]"#;
        let chat = Arc::new(manifest("chat", chat));
        let gate = format!(r#""sockets": {{ "room/{{id}}": {{ "module": "{module}", "path": "{path}" }} }}"#);
        let gate = manifest("gate", &gate);
        let find = |name: &str| match name {
            "chat" => Ok(chat.clone()),
            "bad" => Err(NoManifest::Refused),
            _ => Err(NoManifest::Missing),
        };
        let nowhere = |module: &str, exists: bool| {
            assert_eq!(exists, module != "absent");
            nowhere.map(str::to_owned)
        };
        let faults = gate.check_sockets(find, nowhere);
        faults.iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect()
    }

    #[test]
    fn a_socket_names_a_route_of_another_module_that_clients_reach() {
        for path in ["say", "post say", "room/{id}", "room/{other}", "room/7"] {
            assert_eq!(warnings("chat", path, None), [""; 0], "{path}");
        }
        let told = |key: &str, why: &str, remedy: &str| {
            [format!("sockets[\"room/{{id}}\"].{key}: {why}, so every message to this socket fails: {remedy}")]
        };
        let remedy = "name a route with the middleware `session`";
        let near = "chat has no such route; did you mean \"say\"?";
        assert_eq!(warnings("chat", "sya", None), told("path", near, remedy));
        let closed = "messages of connected clients reach only routes with the middleware `session`";
        for (path, name) in [("GET say", "GET chat/say"), ("open/{id}", "chat/open/{id}")] {
            let why = format!("`{name}`: {closed}");
            assert_eq!(warnings("chat", path, None), told("path", &why, remedy));
        }
        let absent = "there is no module absent";
        let told = told("module", absent, "add the module, or name another one");
        assert_eq!(warnings("absent", "say", Some(absent)), told);
        assert_eq!(warnings("absent", "say", None), [""; 0], "another node may have it");
        assert_eq!(warnings("bad", "say", None), [""; 0], "it has faults of its own");
    }
}
