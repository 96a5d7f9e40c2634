//! Events of the event service, as plain data.

use std::sync::Arc;

/// A typed message that guests and processes outside exchange. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The type: 1 to 256 bytes without control characters.
    pub kind: Arc<str>,
    /// JSON text.
    pub value: Arc<str>,
    /// Who has emitted it, if the emitter says so.
    pub source: Option<Arc<str>>,
}

impl Event {
    /// The type of a value that is emitted without one.
    pub const DEFAULT_KIND: &str = "message";

    /// The size of all its text in bytes.
    pub fn size(&self) -> u64 {
        let source = self.source.as_ref().map_or(0, |source| source.len());
        (self.kind.len() + self.value.len() + source) as u64
    }
}
