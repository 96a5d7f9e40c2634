//! The stream keys of all modules: which module declares the pattern of a key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;

use super::{Generation, Manifest};
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
        let patterns: Vec<String> = manifest.streams.patterns().map(str::to_owned).collect();
        let module: Arc<str> = manifest.name.as_str().into();
        for pattern in &patterns {
            let claimants = table.claimed.entry(pattern.clone()).or_default();
            *claimants = Claimants { module: module.clone(), count: claimants.count + 1 };
        }
        Ok(StreamClaim { table: self.clone(), patterns })
    }

    /// Replaces the patterns of a module with those of an installed generation, or with none.
    pub(super) fn set(&self, module: &str, generation: Option<&Generation>) {
        let mut table = self.0.write();
        for pattern in table.using.remove(module).unwrap_or_default() {
            table.installed.remove(&pattern);
        }
        let Some(generation) = generation else { return };
        let manifest = &generation.manifest;
        if manifest.streams.is_empty() && !manifest.capabilities.has("sse") {
            return;
        }
        let patterns: Vec<String> = manifest.streams.patterns().map(str::to_owned).collect();
        for pattern in &patterns {
            table.installed.insert(pattern.clone(), generation.module.clone());
        }
        table.using.insert(generation.module.clone(), patterns);
    }

    /// Whether an installed module declares a stream or has the capability `sse`.
    pub fn is_used(&self) -> bool {
        !self.0.read().using.is_empty()
    }

    /// Returns the installed module that declares the pattern of a key: the key itself, or else the
    /// longest prefix.
    pub fn module_of(&self, key: &str) -> Option<Arc<str>> {
        let installed = &self.0.read().installed;
        if installed.is_empty() {
            return None;
        }
        let by_prefix = || stream_key::prefixes(key).find_map(|pattern| installed.get(&pattern));
        installed.get(key).or_else(by_prefix).cloned()
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
}
