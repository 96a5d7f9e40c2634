//! What a module does beyond its own affairs: asked for in `module.json`, granted in `fanfare.json`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::formats::ModuleOrAll;
use super::unserved;
use crate::call::CallError;
use crate::call::text::{NAME, line};

/// Stands for every module.
pub const ALL: &str = "*";

/// One kind of capability: a row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its key in `capabilities` and `grants`.
    pub key: &'static str,
    /// What it allows, such as `reload modules`, or `call routes of`, which a name follows.
    pub verb: &'static str,
    /// The beginnings of imports that need it.
    pub imports: &'static [&'static str],
}

/// The value of a capability: what is asked for, or granted.
trait Shape: Sized {
    /// The part that `granted` does not cover.
    fn lacking(&self, granted: &Self) -> Self;

    /// Its names; one `None` where it has none and is asked for.
    fn asks(&self) -> Vec<Option<String>>;

    /// Removes what needs no grant because it is the module's own.
    fn remove_own(&mut self, module: &str);
}

/// Writes [`Capabilities`] and [`TABLE`] from one list.
macro_rules! capabilities {
    ($($(#[$doc:meta])* $name:ident: $shape:ty, $verb:literal, imports $imports:expr;)*) => {
        /// What a module asks for, or is granted. What it does with itself needs neither.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
        #[schemars(extend("x-unserved" = unserved::CAPABILITIES))]
        pub struct Capabilities {
            $($(#[$doc])* pub $name: $shape,)*
        }

        /// All kinds.
        pub const TABLE: &[Capability] = &[
            $(Capability { key: stringify!($name), verb: $verb, imports: &$imports },)*
        ];

        impl Capabilities {
            /// What is asked for here and not in `granted`.
            pub fn lacking(&self, granted: &Capabilities) -> Capabilities {
                Capabilities { $($name: self.$name.lacking(&granted.$name),)* }
            }

            /// Without what the module does with itself, which needs no grant.
            #[must_use]
            pub fn foreign(mut self, module: &str) -> Capabilities {
                $(self.$name.remove_own(module);)*
                self
            }

            fn values(&self) -> Vec<Vec<Option<String>>> {
                vec![$(self.$name.asks(),)*]
            }
        }
    };
}

capabilities! {
    /// The modules whose broadcasts it may emit and gather, `*` for all. Default none.
    broadcast: Modules, "emit broadcasts of", imports ["fanfare:module/broadcast"];
    /// The modules whose routes it may call, `*` for all. Default none.
    rpc: Modules, "call routes of", imports ["fanfare:module/rpc"];
    /// Whether it may reload modules. Default false.
    reload: bool, "reload modules", imports [];
}

/// Imports that no capability of [`TABLE`] opens yet, and the key of the one that will.
const UNSERVED_IMPORTS: &[(&str, &str)] =
    &[("wasi:http/outgoing-handler", "http"), ("wasi:http/client", "http"), ("wasi:sockets/", "network")];

/// The key of the capability that an import needs beyond the module itself.
pub fn of_import(name: &str) -> Option<&'static str> {
    let served = TABLE.iter().flat_map(|row| row.imports.iter().map(|prefix| (*prefix, row.key)));
    served.chain(UNSERVED_IMPORTS.iter().copied()).find(|(prefix, _)| name.starts_with(prefix)).map(|(_, key)| key)
}

impl Capabilities {
    /// Each ask by itself: its kind, and its name where it has one.
    pub fn asks(&self) -> impl Iterator<Item = (&'static Capability, Option<String>)> {
        TABLE.iter().zip(self.values()).flat_map(|(kind, asks)| asks.into_iter().map(move |name| (kind, name)))
    }

    /// Whether anything of a kind is asked for.
    pub fn has(&self, key: &str) -> bool {
        self.asks().any(|(kind, _)| kind.key == key)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.asks().next().is_none()
    }

    /// What is asked for here and not in `granted`, as `broadcast: flags`, `rpc: chat`, `reload`.
    pub fn missing(&self, granted: &Capabilities) -> Vec<String> {
        let named = |(kind, name): (&Capability, Option<String>)| match name {
            Some(name) => format!("{}: {name}", kind.key),
            None => kind.key.to_owned(),
        };
        self.lacking(granted).asks().map(named).collect()
    }
}

/// The error of a use that was not granted: of `target` where the capability has names.
pub fn forbidden(module: &str, key: &str, target: Option<&str>) -> CallError {
    CallError::Forbidden(match target {
        Some(target) => format!(
            "{module} may not use `{key}` of {}: name it in capabilities.{key} of its module.json, then run `fanfare grant {module}`",
            line(target, NAME)
        ),
        None => {
            let verb = TABLE.iter().find(|row| row.key == key).map_or(key, |row| row.verb);
            format!(
                "{module} may not {verb}: write `\"{key}\": true` in capabilities of its module.json, then run `fanfare grant {module}`"
            )
        }
    })
}

/// Names of modules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Modules(pub Vec<String>);

impl Modules {
    /// Whether a module is among them.
    pub fn allow(&self, module: &str) -> bool {
        self.0.iter().any(|entry| entry == ALL || entry == module)
    }
}

impl JsonSchema for Modules {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Modules".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<ModuleOrAll>::json_schema(generator)
    }
}

impl Shape for Modules {
    fn lacking(&self, granted: &Modules) -> Modules {
        let mut lacking: Vec<String> = self.0.iter().filter(|module| !granted.allow(module)).cloned().collect();
        lacking.sort();
        lacking.dedup();
        Modules(lacking)
    }

    fn asks(&self) -> Vec<Option<String>> {
        self.0.iter().cloned().map(Some).collect()
    }

    fn remove_own(&mut self, module: &str) {
        self.0.retain(|entry| entry != module);
    }
}

impl Shape for bool {
    fn lacking(&self, granted: &bool) -> bool {
        *self && !granted
    }

    fn asks(&self) -> Vec<Option<String>> {
        if *self { vec![None] } else { Vec::new() }
    }

    fn remove_own(&mut self, _: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(modules: &[&str]) -> Modules {
        Modules(modules.iter().map(|name| (*name).to_owned()).collect())
    }

    fn broadcast(modules: &[&str]) -> Capabilities {
        Capabilities { broadcast: named(modules), ..Capabilities::default() }
    }

    #[test]
    fn a_star_covers_every_module_and_only_a_star_covers_a_star() {
        assert!(broadcast(&["flags"]).missing(&broadcast(&["*"])).is_empty());
        assert_eq!(broadcast(&["*"]).missing(&broadcast(&["flags"])), ["broadcast: *"]);
        assert!(broadcast(&["*"]).broadcast.allow("any"));
        assert!(!broadcast(&["flags"]).broadcast.allow("chat"));
        assert!(!broadcast(&["flags"]).rpc.allow("flags"));
    }

    #[test]
    fn what_is_missing_is_named_once() {
        let asked = Capabilities { rpc: named(&["chat", "chat"]), reload: true, ..broadcast(&["flags"]) };
        assert_eq!(asked.missing(&Capabilities::default()), ["broadcast: flags", "rpc: chat", "reload"]);
        assert!(asked.missing(&asked).is_empty());
    }

    #[test]
    fn an_import_needs_the_capability_of_its_row() {
        assert_eq!(of_import("fanfare:module/rpc-blocking@0.1.0"), Some("rpc"));
        assert_eq!(of_import("wasi:http/client@0.3.0"), Some("http"));
        assert_eq!(of_import("fanfare:module/host@0.1.0"), None);
    }

    #[test]
    fn what_is_the_modules_own_needs_no_grant() {
        let own = Capabilities { rpc: named(&["chat", "flags"]), ..broadcast(&["flags"]) }.foreign("flags");
        assert_eq!(own, Capabilities { rpc: named(&["chat"]), ..Capabilities::default() });
    }
}
