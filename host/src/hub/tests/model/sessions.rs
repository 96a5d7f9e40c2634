//! Sessions as far as channels know them.

use std::sync::Arc;

use super::channels::Joined;
use super::namespace::Addressee;

pub struct Session {
    pub id: Arc<str>,
    pub worker: u32,
    pub topic: u64,
    pub joined: Joined,
}

impl Session {
    pub fn topic(&self) -> u64 {
        self.topic
    }

    pub fn uid(&self) -> Option<Arc<str>> {
        None
    }

    pub fn addressee(&self) -> Addressee {
        Addressee { name: self.id.clone(), topic: self.topic, worker: self.worker }
    }
}
