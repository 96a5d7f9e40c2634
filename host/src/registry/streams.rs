//! The stream keys of all modules: which module declares the pattern of a key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use super::Manifest;
use crate::call::stream_key;
use crate::document::{Fault, Faults, KeyPath};

/// The patterns of all modules. Two modules never declare the same pattern.
#[derive(Default)]
pub struct StreamTable(RwLock<Table>);

#[derive(Default)]
struct Table {
    /// The patterns of the installed generations, with their modules.
    installed: HashMap<String, Arc<str>>,
    /// The modules that use live streams: they declare a pattern or have the capability `sse`.
    using: BTreeMap<Arc<str>, Vec<String>>,
    /// The patterns of generations that are being loaded, or that are a canary.
    claimed: HashMap<String, Claimants>,
}

#[derive(Default)]
struct Claimants {
    module: Arc<str>,
    count: usize,
    /// Whether a route of one of them admits readers.
    is_guarded: bool,
}

/// The module that decides who may read a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOwner {
    /// No module declares the key.
    Nobody,
    /// This installed module declares the key.
    Installed(Arc<str>),
    /// A generation of this module admits the readers of the key, but it is still being loaded, or
    /// it is a canary.
    Claimed(Arc<str>),
    /// The key begins with the name of this module, which is not installed.
    Absent(Arc<str>),
}

/// The claim of a module to the patterns of a manifest. While it exists, no other module can claim
/// one of them.
#[must_use]
pub struct StreamClaim {
    table: Arc<StreamTable>,
    patterns: Vec<String>,
}

impl StreamTable {
    /// Claims the patterns of a manifest. Fails with a fault for each one that another module
    /// declares.
    pub fn claim(self: &Arc<StreamTable>, manifest: &Manifest) -> Result<StreamClaim, Faults> {
        let mut table = self.0.write();
        let mut faults = Faults::default();
        for pattern in manifest.streams.patterns() {
            let claimed = table.claimed.get(pattern).map(|claimants| &claimants.module);
            let taken =
                table.installed.get(pattern).into_iter().chain(claimed).find(|module| ***module != *manifest.name);
            if let Some(module) = taken {
                let path = KeyPath::of(&["streams", pattern]);
                let message =
                    format!("the module {module} declares this pattern already: remove it from one of the two modules");
                faults.push(Fault::new(&manifest.source.nearest(&path).origin, path, message));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let module: Arc<str> = manifest.name.as_str().into();
        for (pattern, is_guarded) in manifest.streams.guarded() {
            let claimants = table.claimed.entry(pattern.to_owned()).or_default();
            claimants.module = module.clone();
            claimants.count += 1;
            claimants.is_guarded |= is_guarded;
        }
        Ok(StreamClaim { table: self.clone(), patterns: manifest.streams.patterns().map(str::to_owned).collect() })
    }

    /// Replaces the patterns of a module with those of its installed generation, or with none.
    pub(super) fn set(&self, module: &str, manifest: Option<&Manifest>) {
        let mut table = self.0.write();
        for pattern in table.using.remove(module).unwrap_or_default() {
            table.installed.remove(&pattern);
        }
        let Some(manifest) = manifest else { return };
        if manifest.streams.is_empty() && !manifest.capabilities.has("sse") {
            return;
        }
        let patterns: Vec<String> = manifest.streams.patterns().map(str::to_owned).collect();
        let module: Arc<str> = module.into();
        for pattern in &patterns {
            table.installed.insert(pattern.clone(), module.clone());
        }
        table.using.insert(module, patterns);
    }

    /// Whether an installed module declares a stream or has the capability `sse`.
    pub fn is_used(&self) -> bool {
        !self.0.read().using.is_empty()
    }

    /// Returns the module that declares the pattern of a key: the key itself, or else the longest
    /// prefix. `None` if no module declares one.
    pub(super) fn owner_of(&self, key: &str) -> Option<KeyOwner> {
        let table = self.0.read();
        if table.installed.is_empty() && table.claimed.is_empty() {
            return None;
        }
        table.owner_of(key).or_else(|| stream_key::prefixes(key).find_map(|pattern| table.owner_of(&pattern)))
    }
}

impl Table {
    fn owner_of(&self, pattern: &str) -> Option<KeyOwner> {
        let claimed = || self.claimed.get(pattern).filter(|claimants| claimants.is_guarded);
        match self.installed.get(pattern) {
            Some(module) => Some(KeyOwner::Installed(module.clone())),
            None => claimed().map(|claimants| KeyOwner::Claimed(claimants.module.clone())),
        }
    }
}

impl StreamClaim {
    /// Keeps the claim as long as the table.
    pub fn keep(mut self) {
        self.patterns.clear();
    }
}

impl Drop for StreamClaim {
    fn drop(&mut self) {
        let mut table = self.table.0.write();
        for pattern in &self.patterns {
            if let Some(claimants) = table.claimed.get_mut(pattern) {
                claimants.count -= 1;
                if claimants.count == 0 {
                    table.claimed.remove(pattern);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn manifest(module: &str, patterns: &[&str]) -> Manifest {
        let streams: Vec<String> = patterns.iter().map(|pattern| format!("\"{pattern}\": {{}}")).collect();
        let text = format!("{{ \"component\": \"a.wasm\", \"streams\": {{ {} }} }}", streams.join(", "));
        Manifest::from_text(&Path::new("/modules").join(module), &text).unwrap()
    }

    #[test]
    fn a_pattern_of_another_module_is_rejected_with_both_names_until_it_is_free() {
        let table = Arc::new(StreamTable::default());
        let first = table.claim(&manifest("chat", &["news", "orders/*"])).unwrap();
        let again = table.claim(&manifest("chat", &["news"])).unwrap();
        let error = table.claim(&manifest("flags", &["flags", "orders/*"])).err().unwrap().to_string();
        assert_eq!(
            error,
            "/modules/flags/module.json:1:64: streams.orders/*: the module chat declares this pattern already: remove it from one of the two modules"
        );
        assert!(table.claim(&manifest("flags", &["orders/1"])).is_ok(), "another pattern");
        drop(first);
        assert!(table.claim(&manifest("flags", &["news"])).is_err(), "the second claim of the same module remains");
        drop(again);
        assert!(table.claim(&manifest("flags", &["news", "orders/*"])).is_ok());
        assert!(table.0.read().claimed.is_empty());
    }

    #[test]
    fn a_claimed_pattern_has_an_owner_only_if_a_route_admits_its_readers() {
        let table = Arc::new(StreamTable::default());
        let text = r#"{ "component": "a.wasm", "routes": [{ "path": "admit", "handler": "admit" }],
            "streams": { "rooms/*": { "path": "admit" }, "rooms/open/*": {}, "news": { "path": "admit" } } }"#;
        let guarded = Manifest::from_text(Path::new("/modules/chat"), text).unwrap();
        assert_eq!(table.owner_of("news"), None);
        let claim = table.claim(&guarded).unwrap();
        let chat = || Some(KeyOwner::Claimed("chat".into()));
        for (key, owner) in [("news", chat()), ("rooms/1", chat()), ("rooms/", chat()), ("rooms", None), ("x", None)] {
            assert_eq!(table.owner_of(key), owner, "{key}");
        }
        // The longest pattern that some module guards decides, because no route admits the readers
        // of `rooms/open/*`.
        assert_eq!(table.owner_of("rooms/open/1"), chat());
        drop(claim);
        assert_eq!(table.owner_of("news"), None);
    }

    #[test]
    fn the_patterns_of_an_installed_module_are_taken_until_it_is_removed() {
        let table = Arc::new(StreamTable::default());
        let (old, new) = (manifest("chat", &["news", "orders/*"]), manifest("chat", &["orders/*"]));
        let refused = |patterns| table.claim(&manifest("flags", patterns)).is_err();
        assert!(!table.is_used());
        table.set("chat", Some(&old));
        assert_eq!((refused(&["news"]), refused(&["flags", "orders/*"]), refused(&["orders/1"])), (true, true, false));
        assert!(table.is_used() && table.claim(&new).is_ok(), "the same module may keep its patterns");
        table.set("chat", Some(&new));
        assert_eq!((refused(&["news"]), refused(&["orders/*"])), (false, true));
        table.set("chat", None);
        assert_eq!((refused(&["orders/*"]), table.is_used(), table.owner_of("orders/1")), (false, false, None));
    }

    #[test]
    fn a_key_belongs_to_the_module_that_declares_it_or_else_its_longest_prefix() {
        let table = StreamTable::default();
        for (module, patterns) in [("a", &["chat/*"][..]), ("b", &["chat/room/*"]), ("c", &["chat/room/1", "c"])] {
            table.set(module, Some(&manifest(module, patterns)));
        }
        for (key, module) in [
            ("chat/room/1", Some("c")),
            ("chat/room/2", Some("b")),
            ("chat/room/1/x", Some("b")),
            ("chat/room", Some("a")),
            ("chat/", Some("a")),
            ("c", Some("c")),
            ("chat", None),
            ("c/1", None),
            ("", None),
        ] {
            let owner = module.map(|module| KeyOwner::Installed(module.into()));
            assert_eq!(table.owner_of(key), owner, "{key}");
        }
    }
}
