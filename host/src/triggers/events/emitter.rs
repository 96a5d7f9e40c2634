//! Emits the events of guests.

use std::sync::Arc;

use super::link::ServiceLink;
use crate::call::{CallError, Event};
use crate::hub::ServiceLog;

/// Emits events in this node, and to the event service of another process if the settings name one.
pub struct Emitter {
    log: Arc<ServiceLog>,
    link: Option<Arc<ServiceLink>>,
}

impl Emitter {
    pub fn new(log: Arc<ServiceLog>, link: Option<Arc<ServiceLink>>) -> Emitter {
        Emitter { log, link }
    }

    /// Emits an event of a module. After `unavailable` and `overloaded`, this node has the event,
    /// and only the way to the other process has failed.
    pub fn emit(&self, module: &Arc<str>, event: Event) -> Result<(), CallError> {
        match &self.link {
            Some(link) => link.emit(module, event),
            None => {
                self.log.emit(&Some(module.clone()), event);
                Ok(())
            }
        }
    }
}
