//! What a module does beyond its own affairs: asked for in `module.json`, granted in `fanfare.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formats::ModuleOrAll;
use super::unserved;

/// Stands for every module.
pub const ALL: &str = "*";

/// What a module asks for, or is granted. What it does with itself needs neither.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(extend("x-unserved" = unserved::CAPABILITIES))]
pub struct Capabilities {
    /// The modules whose broadcasts it may emit and gather, `*` for all. Default none.
    #[schemars(with = "Vec<ModuleOrAll>")]
    pub broadcast: Vec<String>,
    /// The modules whose routes it may call, `*` for all. Default none.
    #[schemars(with = "Vec<ModuleOrAll>")]
    pub rpc: Vec<String>,
    /// Whether it may reload modules. Default false.
    pub reload: bool,
}

impl Capabilities {
    /// Whether broadcasts of `module` are among them.
    pub fn allows_broadcast(&self, module: &str) -> bool {
        covers(&self.broadcast, module)
    }

    /// Whether calls of `module`'s routes are among them.
    pub fn allows_rpc(&self, module: &str) -> bool {
        covers(&self.rpc, module)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Capabilities::default()
    }

    /// What is asked for here and not in `granted`, as `broadcast: flags`, `rpc: chat`, `reload`.
    pub fn missing(&self, granted: &Capabilities) -> Vec<String> {
        let lacking = self.lacking(granted);
        let named = |kind: &'static str, modules: Vec<String>| {
            modules.into_iter().map(move |module| format!("{kind}: {module}"))
        };
        named("broadcast", lacking.broadcast)
            .chain(named("rpc", lacking.rpc))
            .chain(lacking.reload.then(|| "reload".to_owned()))
            .collect()
    }

    /// The same as capabilities: what would have to be granted besides.
    pub fn lacking(&self, granted: &Capabilities) -> Capabilities {
        let left = |asked: &[String], given: &[String]| {
            let mut left: Vec<String> = asked.iter().filter(|module| !covers(given, module)).cloned().collect();
            left.sort();
            left.dedup();
            left
        };
        Capabilities {
            broadcast: left(&self.broadcast, &granted.broadcast),
            rpc: left(&self.rpc, &granted.rpc),
            reload: self.reload && !granted.reload,
        }
    }
}

fn covers(list: &[String], module: &str) -> bool {
    list.iter().any(|entry| entry == ALL || entry == module)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broadcast(modules: &[&str]) -> Capabilities {
        Capabilities { broadcast: modules.iter().map(|name| (*name).to_owned()).collect(), ..Capabilities::default() }
    }

    #[test]
    fn a_star_covers_every_module_and_only_a_star_covers_a_star() {
        assert!(broadcast(&["flags"]).missing(&broadcast(&["*"])).is_empty());
        assert_eq!(broadcast(&["*"]).missing(&broadcast(&["flags"])), ["broadcast: *"]);
        assert!(broadcast(&["*"]).allows_broadcast("any"));
        assert!(!broadcast(&["flags"]).allows_broadcast("chat"));
        assert!(!broadcast(&["flags"]).allows_rpc("flags"));
    }

    #[test]
    fn what_is_missing_is_named_once() {
        let asked = Capabilities { rpc: vec!["chat".into(), "chat".into()], reload: true, ..broadcast(&["flags"]) };
        assert_eq!(asked.missing(&Capabilities::default()), ["broadcast: flags", "rpc: chat", "reload"]);
        assert!(asked.missing(&asked).is_empty());
    }
}
