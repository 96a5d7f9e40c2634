//! The isolates of a node: workers, brokers and the master.

use std::sync::Arc;

use crate::call::IsolateId;
use crate::isolate::{Isolate, Slot};
use crate::registry::PlaceKinds;

/// All isolates of a node.
#[derive(Default)]
pub struct Places {
    /// In index order.
    pub workers: Vec<Arc<Isolate>>,
    /// In index order.
    pub brokers: Vec<Arc<Isolate>>,
    pub master: Option<Arc<Isolate>>,
}

impl Places {
    pub fn get(&self, id: IsolateId) -> Option<&Arc<Isolate>> {
        match id {
            IsolateId::Worker(index) => self.workers.get(index as usize),
            IsolateId::Broker(index) => self.brokers.get(index as usize),
            IsolateId::Master => self.master.as_ref(),
        }
    }

    /// All isolates: workers, then brokers, then the master.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Isolate>> {
        self.of(PlaceKinds { brokers: true, master: true })
    }

    /// The isolates of a generation that lives in these kinds of places, and in every worker.
    pub fn of(&self, kinds: PlaceKinds) -> impl Iterator<Item = &Arc<Isolate>> {
        let brokers = self.brokers.iter().filter(move |_| kinds.brokers);
        self.workers.iter().chain(brokers).chain(self.master.iter().filter(move |_| kinds.master))
    }

    /// The slots of a module, in all isolates.
    pub fn slots(&self, module: &str) -> Vec<Arc<Slot>> {
        self.all().filter_map(|isolate| isolate.slot(module)).collect()
    }
}
