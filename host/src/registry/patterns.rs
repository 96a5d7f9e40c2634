//! The stream keys and channels of all modules: which module declares the pattern of a name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Manifest, PatternKind};
use crate::call::stream_key;
use crate::document::{Fault, Faults, KeyPath};

/// The patterns of all modules. Two modules never declare the same pattern of a kind.
#[derive(Default)]
pub struct PatternTable(RwLock<Tables>);

#[derive(Default)]
struct Tables {
    streams: Table,
    channels: Table,
}

/// The patterns of one kind.
#[derive(Default)]
struct Table {
    /// The patterns of the installed generations, with their modules.
    installed: HashMap<String, Arc<str>>,
    /// The modules that use such names: they declare a pattern or have the capability.
    using: BTreeMap<Arc<str>, Vec<String>>,
    /// The patterns of generations that are being loaded, or that are a canary.
    claimed: HashMap<String, Claimants>,
}

#[derive(Default)]
struct Claimants {
    module: Arc<str>,
    count: usize,
    /// Whether a route of one of them decides about clients.
    is_guarded: bool,
}

/// The module that decides about the clients of a stream key or a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOwner {
    /// No module declares the name.
    Nobody,
    /// This installed module declares the name.
    Installed(Arc<str>),
    /// A generation of this module decides about the name, but it is still being loaded, or it is a
    /// canary.
    Claimed(Arc<str>),
    /// The name begins with that of this module, which is not installed.
    Absent(Arc<str>),
}

/// The claim of a module to the patterns of a manifest. While it exists, no other module can claim
/// one of them.
#[must_use]
pub struct PatternClaim {
    table: Arc<PatternTable>,
    patterns: Vec<(PatternKind, String)>,
}

impl PatternTable {
    /// Claims the patterns of a manifest. Fails with a fault for each one that another module
    /// declares.
    pub fn claim(self: &Arc<PatternTable>, manifest: &Manifest) -> Result<PatternClaim, Faults> {
        let mut tables = self.0.write();
        let mut faults = Faults::default();
        for kind in PatternKind::ALL {
            for (pattern, _) in manifest.patterns(kind) {
                let Some(module) = tables.of(kind).other_module(pattern, &manifest.name) else { continue };
                let path = KeyPath::of(&[kind.section(), pattern]);
                let message =
                    format!("the module {module} declares this pattern already: remove it from one of the two modules");
                faults.push(Fault::new(&manifest.source.nearest(&path).origin, path, message));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let module: Arc<str> = manifest.name.as_str().into();
        let mut patterns = Vec::new();
        for kind in PatternKind::ALL {
            for (pattern, is_guarded) in manifest.patterns(kind) {
                let claimants = tables.of_mut(kind).claimed.entry(pattern.to_owned()).or_default();
                claimants.module = module.clone();
                claimants.count += 1;
                claimants.is_guarded |= is_guarded;
                patterns.push((kind, pattern.to_owned()));
            }
        }
        Ok(PatternClaim { table: self.clone(), patterns })
    }

    /// Replaces the patterns of a module with those of its installed generation, or with none.
    pub(super) fn set(&self, module: &str, manifest: Option<&Manifest>) {
        let mut tables = self.0.write();
        for kind in PatternKind::ALL {
            tables.of_mut(kind).set(module, kind, manifest);
        }
    }

    /// Whether an installed module declares a pattern of this kind or has the capability for it.
    pub fn is_used(&self, kind: PatternKind) -> bool {
        !self.0.read().of(kind).using.is_empty()
    }

    /// Returns the module that declares the pattern of a name: the name itself, or else the longest
    /// prefix. `None` if no module declares one.
    pub(super) fn owner_of(&self, kind: PatternKind, name: &str) -> Option<KeyOwner> {
        let tables = self.0.read();
        let table = tables.of(kind);
        if table.installed.is_empty() && table.claimed.is_empty() {
            return None;
        }
        table.owner_of(name).or_else(|| stream_key::prefixes(name).find_map(|pattern| table.owner_of(&pattern)))
    }
}

impl Tables {
    fn of(&self, kind: PatternKind) -> &Table {
        match kind {
            PatternKind::Stream => &self.streams,
            PatternKind::Channel => &self.channels,
        }
    }

    fn of_mut(&mut self, kind: PatternKind) -> &mut Table {
        match kind {
            PatternKind::Stream => &mut self.streams,
            PatternKind::Channel => &mut self.channels,
        }
    }
}

impl Table {
    /// The other module that has a pattern.
    fn other_module(&self, pattern: &str, module: &str) -> Option<Arc<str>> {
        let claimed = self.claimed.get(pattern).map(|claimants| &claimants.module);
        self.installed.get(pattern).into_iter().chain(claimed).find(|other| ***other != *module).cloned()
    }

    fn set(&mut self, module: &str, kind: PatternKind, manifest: Option<&Manifest>) {
        for pattern in self.using.remove(module).unwrap_or_default() {
            self.installed.remove(&pattern);
        }
        let Some(manifest) = manifest else { return };
        let patterns: Vec<String> =
            manifest.patterns(kind).into_iter().map(|(pattern, _)| pattern.to_owned()).collect();
        if patterns.is_empty() && !manifest.capabilities.has(kind.capability()) {
            return;
        }
        let module: Arc<str> = module.into();
        for pattern in &patterns {
            self.installed.insert(pattern.clone(), module.clone());
        }
        self.using.insert(module, patterns);
    }

    fn owner_of(&self, pattern: &str) -> Option<KeyOwner> {
        let claimed = || self.claimed.get(pattern).filter(|claimants| claimants.is_guarded);
        match self.installed.get(pattern) {
            Some(module) => Some(KeyOwner::Installed(module.clone())),
            None => claimed().map(|claimants| KeyOwner::Claimed(claimants.module.clone())),
        }
    }
}

impl PatternClaim {
    /// Keeps the claim as long as the table.
    pub fn keep(mut self) {
        self.patterns.clear();
    }
}

impl Drop for PatternClaim {
    fn drop(&mut self) {
        let mut tables = self.table.0.write();
        for (kind, pattern) in &self.patterns {
            let claimed = &mut tables.of_mut(*kind).claimed;
            if let Some(claimants) = claimed.get_mut(pattern) {
                claimants.count -= 1;
                if claimants.count == 0 {
                    claimed.remove(pattern);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::PatternKind::{Channel, Stream};
    use super::*;

    fn manifest(module: &str, patterns: &[&str]) -> Manifest {
        let streams: Vec<String> = patterns.iter().map(|pattern| format!("\"{pattern}\": {{}}")).collect();
        let text = format!("{{ \"component\": \"a.wasm\", \"streams\": {{ {} }} }}", streams.join(", "));
        Manifest::from_text(&Path::new("/modules").join(module), &text).unwrap()
    }

    #[test]
    fn a_pattern_of_another_module_is_rejected_with_both_names_until_it_is_free() {
        let table = Arc::new(PatternTable::default());
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
        assert!(table.0.read().streams.claimed.is_empty());
    }

    #[test]
    fn a_claimed_pattern_has_an_owner_only_if_a_route_admits_its_readers() {
        let table = Arc::new(PatternTable::default());
        let text = r#"{ "component": "a.wasm", "routes": [{ "path": "admit", "handler": "admit" }],
            "streams": { "rooms/*": { "path": "admit" }, "rooms/open/*": {}, "news": { "path": "admit" } } }"#;
        let guarded = Manifest::from_text(Path::new("/modules/chat"), text).unwrap();
        assert_eq!(table.owner_of(Stream, "news"), None);
        let claim = table.claim(&guarded).unwrap();
        let chat = || Some(KeyOwner::Claimed("chat".into()));
        for (key, owner) in [("news", chat()), ("rooms/1", chat()), ("rooms/", chat()), ("rooms", None), ("x", None)] {
            assert_eq!(table.owner_of(Stream, key), owner, "{key}");
        }
        // The longest pattern that some module guards decides, because no route admits the readers
        // of `rooms/open/*`.
        assert_eq!(table.owner_of(Stream, "rooms/open/1"), chat());
        drop(claim);
        assert_eq!(table.owner_of(Stream, "news"), None);
    }

    #[test]
    fn the_patterns_of_an_installed_module_are_taken_until_it_is_removed() {
        let table = Arc::new(PatternTable::default());
        let (old, new) = (manifest("chat", &["news", "orders/*"]), manifest("chat", &["orders/*"]));
        let refused = |patterns| table.claim(&manifest("flags", patterns)).is_err();
        assert!(!table.is_used(Stream));
        table.set("chat", Some(&old));
        assert_eq!((refused(&["news"]), refused(&["flags", "orders/*"]), refused(&["orders/1"])), (true, true, false));
        assert!(table.is_used(Stream) && table.claim(&new).is_ok(), "the same module may keep its patterns");
        table.set("chat", Some(&new));
        assert_eq!((refused(&["news"]), refused(&["orders/*"])), (false, true));
        table.set("chat", None);
        assert_eq!(
            (refused(&["orders/*"]), table.is_used(Stream), table.owner_of(Stream, "orders/1")),
            (false, false, None)
        );
    }

    #[test]
    fn a_key_belongs_to_the_module_that_declares_it_or_else_its_longest_prefix() {
        let table = PatternTable::default();
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
            assert_eq!(table.owner_of(Stream, key), owner, "{key}");
        }
    }

    #[test]
    fn a_channel_and_a_stream_key_with_the_same_name_may_belong_to_different_modules() {
        let table = Arc::new(PatternTable::default());
        let channels = |module: &str, channels: &str| {
            let text = format!(
                r#"{{ "component": "a.wasm", "routes": [{{ "path": "ask", "handler": "a" }}], "channels": {channels} }}"#
            );
            Manifest::from_text(&Path::new("/modules").join(module), &text).unwrap()
        };
        table.set("news", Some(&manifest("news", &["news", "rooms/*"])));
        let chat = channels("chat", r#"{ "news": {}, "rooms/*": { "path": "ask" } }"#);
        let claim = table.claim(&chat).unwrap();
        let error = table.claim(&channels("flags", r#"{ "rooms/*": {} }"#)).err().unwrap().to_string();
        assert!(error.contains("channels.rooms/*: the module chat declares this pattern already"), "{error}");
        assert_eq!(table.owner_of(Channel, "rooms/1"), Some(KeyOwner::Claimed("chat".into())));
        assert_eq!(table.owner_of(Channel, "news"), None, "no route decides about it");
        assert_eq!(table.owner_of(Stream, "rooms/1"), Some(KeyOwner::Installed("news".into())));
        table.set("chat", Some(&chat));
        drop(claim);
        assert_eq!(table.owner_of(Channel, "news"), Some(KeyOwner::Installed("chat".into())));
        table.set("chat", None);
        assert_eq!((table.owner_of(Channel, "news"), table.is_used(Channel)), (None, false));
        assert!(table.is_used(Stream));
    }
}
