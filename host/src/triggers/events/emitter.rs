//! Emits the events of guests.

use std::sync::Arc;

use super::link::ServiceLink;
use crate::call::{CallError, Event, Post};
use crate::hub::ServiceLog;
use crate::ports::{Acted, Topics};

/// Emits events in this node and in the others: through the event service of another process if
/// the settings name one, else through the cluster.
pub struct Emitter {
    log: Arc<ServiceLog>,
    link: Option<Arc<ServiceLink>>,
    topics: Arc<dyn Topics>,
}

impl Emitter {
    pub fn new(log: Arc<ServiceLog>, link: Option<Arc<ServiceLink>>, topics: Arc<dyn Topics>) -> Emitter {
        Emitter { log, link, topics }
    }

    /// Emits an event of a module. After `unavailable` and `overloaded`, this node has the event,
    /// and only the way to the other process has failed.
    pub fn emit(&self, module: &Arc<str>, event: Event) -> Result<(), CallError> {
        if let Some(link) = &self.link {
            return link.emit(module, event);
        }
        if !self.topics.is_alone() {
            let prepared = self.topics.prepare(vec![Post::event(Some(module), &event)])?;
            prepared.send(&mut || {
                self.log.emit(&Some(module.clone()), event.clone());
                Acted::Done
            });
            return Ok(());
        }
        self.log.emit(&Some(module.clone()), event);
        Ok(())
    }
}
