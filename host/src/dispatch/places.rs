//! The isolates of a node, by their kinds.

use std::sync::Arc;

use crate::call::IsolateId;
use crate::isolate::{Isolate, Slot};
use crate::registry::PlaceKinds;

/// Every place of a node that can hold a module.
#[derive(Default)]
pub struct Places {
    /// In index order, as `brokers` are.
    pub workers: Vec<Arc<Isolate>>,
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

    /// Workers, then brokers, then the master.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Isolate>> {
        self.of(PlaceKinds { brokers: true, master: true })
    }

    /// Those that hold a generation which lives in these kinds.
    pub fn of(&self, kinds: PlaceKinds) -> impl Iterator<Item = &Arc<Isolate>> {
        let brokers = self.brokers.iter().filter(move |_| kinds.brokers);
        self.workers.iter().chain(brokers).chain(self.master.iter().filter(move |_| kinds.master))
    }

    /// A module's slots, wherever they are.
    pub fn slots(&self, module: &str) -> Vec<Arc<Slot>> {
        self.all().filter_map(|isolate| isolate.slot(module)).collect()
    }
}
