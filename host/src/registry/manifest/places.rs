//! Decides from a module's manifest which kinds of isolates install the module. No setting starts
//! brokers or the master yet.

use super::Manifest;
use crate::document::Node;

/// The kinds of isolates that install a generation, besides the workers. Every worker installs
/// every module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlaceKinds {
    pub brokers: bool,
    pub master: bool,
}

impl Manifest {
    /// Brokers install modules that declare a channel with a route. The master installs modules
    /// that declare a hook.
    pub fn places(&self) -> PlaceKinds {
        declared(&self.source)
    }
}

fn declared(manifest: &Node) -> PlaceKinds {
    let members = |key: &str| manifest.get(key).map(Node::members).unwrap_or_default();
    PlaceKinds {
        brokers: members("channels").iter().any(|channel| channel.node.get("path").is_some()),
        master: !members("hooks").is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::source;

    fn places(text: &str) -> PlaceKinds {
        let (tree, faults) = source::parse(text, &"module.json".into());
        assert!(faults.is_empty(), "{faults}");
        declared(&tree)
    }

    #[test]
    fn a_channel_with_a_route_selects_brokers_and_a_hook_selects_the_master() {
        let (brokers, master) = (true, true);
        assert_eq!(places(r#"{ "channels": {}, "hooks": {} }"#), PlaceKinds::default());
        assert_eq!(places(r#"{ "channels": { "room/*": { "history": 1 } } }"#), PlaceKinds::default());
        let routed = r#"{ "channels": { "a": {}, "b": { "path": "b" } } }"#;
        assert_eq!(places(routed), PlaceKinds { brokers, master: false });
        let hooked = r#"{ "hooks": { "workerExit": { "path": "exit" } } }"#;
        assert_eq!(places(hooked), PlaceKinds { brokers: false, master });
    }
}
