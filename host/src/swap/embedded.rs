//! The modules that the embedding program has in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::registry::Module;

/// The modules in memory, by name.
#[derive(Default)]
pub struct EmbeddedModules(Mutex<BTreeMap<String, Embedded>>);

/// A module that is in memory, or was.
#[derive(Clone)]
pub enum Embedded {
    Module(Arc<Module>),
    /// The program has removed it, and the reload that follows has not ended.
    Removed,
}

impl EmbeddedModules {
    pub fn get(&self, module: &str) -> Option<Embedded> {
        self.0.lock().get(module).cloned()
    }

    pub fn set(&self, module: Module) {
        self.0.lock().insert(module.name().to_owned(), Embedded::Module(Arc::new(module)));
    }

    /// Removes a module, and returns whether it was in memory. [`EmbeddedModules::forget`] follows.
    pub fn remove(&self, module: &str) -> bool {
        match self.0.lock().get_mut(module) {
            Some(embedded @ Embedded::Module(_)) => {
                *embedded = Embedded::Removed;
                true
            }
            Some(Embedded::Removed) | None => false,
        }
    }

    /// Forgets that a module was in memory, unless it is again.
    pub fn forget(&self, module: &str) {
        let mut modules = self.0.lock();
        if matches!(modules.get(module), Some(Embedded::Removed)) {
            modules.remove(module);
        }
    }

    /// The names of the modules, sorted.
    pub fn names(&self) -> Vec<String> {
        let modules = self.0.lock();
        let present = modules.iter().filter(|(_, module)| matches!(module, Embedded::Module(_)));
        present.map(|(name, _)| name.clone()).collect()
    }
}
