//! Decides from a module's manifest which kinds of isolates install the module.

use super::Manifest;
use crate::call::hook;
use crate::document::Node;

/// The kinds of isolates that install a generation, besides the workers. Every worker installs
/// every module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlaceKinds {
    pub brokers: bool,
    pub master: bool,
}

impl Manifest {
    /// Brokers install modules that declare a channel with a route, or that receive messages there.
    /// The master installs modules with a hook that runs nowhere else.
    pub fn places(&self) -> PlaceKinds {
        let hooks = || self.hooks.values().map(|hook| hook.places).filter(|places| !places.workers);
        let receives = self.hooks.get(hook::MASTER_MESSAGE).is_some_and(|hook| hook.places.brokers);
        PlaceKinds {
            brokers: receives || declares_routed_channel(&self.source),
            master: hooks().any(|places| places.master),
        }
    }
}

fn declares_routed_channel(manifest: &Node) -> bool {
    let channels = manifest.get("channels").map(Node::members).unwrap_or_default();
    channels.iter().any(|channel| channel.node.get("path").is_some())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::document::source;

    fn places(hooks: &str) -> PlaceKinds {
        let routes = r#"[{ "path": "a", "handler": "a", "middlewares": "inner" }]"#;
        let text = format!(r#"{{ "component": "a.wasm", "routes": {routes}, "hooks": {hooks} }}"#);
        Manifest::from_text(Path::new("/modules/a"), &text).unwrap().places()
    }

    #[test]
    fn brokers_install_channels_with_a_route() {
        let declares = |text: &str| {
            let (tree, faults) = source::parse(text, &"module.json".into());
            assert!(faults.is_empty(), "{faults}");
            declares_routed_channel(&tree)
        };
        assert!(!declares("{}") && !declares(r#"{ "channels": { "room/*": { "history": 1 } } }"#));
        assert!(declares(r#"{ "channels": { "a": {}, "b": { "path": "b" } } }"#));
    }

    #[test]
    fn brokers_and_the_master_install_modules_with_hooks_there() {
        let (brokers, master) = (true, true);
        let none = PlaceKinds::default();
        for hooks in ["{}", r#"{ "stop": { "path": "a" } }"#, r#"{ "masterMessage": { "path": "a", "in": "worker" } }"#]
        {
            assert_eq!(places(hooks), none, "{hooks}");
        }
        for hook in ["workerExit", "workerMessage", "brokerMessage", "fail"] {
            let hooks = format!(r#"{{ "{hook}": {{ "path": "a" }} }}"#);
            assert_eq!(places(&hooks), PlaceKinds { brokers: false, master }, "{hook}");
        }
        for receivers in [r#""broker""#, r#"["worker", "broker"]"#] {
            let hooks = format!(r#"{{ "masterMessage": {{ "path": "a", "in": {receivers} }} }}"#);
            assert_eq!(places(&hooks), PlaceKinds { brokers, master: false }, "{receivers}");
        }
    }
}
