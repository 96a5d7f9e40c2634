//! Decides from a module's manifest which kinds of isolates install the module.

use super::Manifest;
use crate::call::hook;

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
            brokers: receives || self.routed_channels().next().is_some(),
            master: hooks().any(|places| places.master),
        }
    }

    /// The patterns of channels whose route runs in brokers.
    pub(super) fn routed_channels(&self) -> impl Iterator<Item = &str> {
        self.channels.iter().filter(|(_, channel)| channel.route.is_some()).map(|(pattern, _)| pattern)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn manifest(section: &str, value: &str) -> PlaceKinds {
        let routes = r#"[{ "path": "a", "handler": "a", "middlewares": "inner" }]"#;
        let text = format!(r#"{{ "component": "a.wasm", "routes": {routes}, "{section}": {value} }}"#);
        Manifest::from_text(Path::new("/modules/a"), &text).unwrap().places()
    }

    fn places(hooks: &str) -> PlaceKinds {
        manifest("hooks", hooks)
    }

    #[test]
    fn brokers_install_channels_with_a_route() {
        let is_in_brokers = |channels: &str| manifest("channels", channels).brokers;
        assert!(!is_in_brokers("{}") && !is_in_brokers(r#"{ "room/*": { "history": 1, "presence": true } }"#));
        assert!(is_in_brokers(r#"{ "a": {}, "b": { "path": "a" } }"#));
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
