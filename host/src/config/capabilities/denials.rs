//! The refusals of one generation, so that the log has each of them once.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::forbidden;
use crate::call::CallError;
use crate::call::text::{NAME, line};

/// The most refusals of a generation that are logged, because guests choose their texts.
const MOST: usize = 64;

/// The refusals of a generation that were logged. Its clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Denials(Arc<Mutex<HashSet<(String, String)>>>);

impl Denials {
    /// The error when `module` uses a capability that it does not have. Logs the first one for each
    /// target with the line that grants it, because a call that ends as forbidden counts as its
    /// client's fault, so that nobody would see it in a schedule or a broadcast.
    pub fn forbidden(&self, module: &str, key: &str, target: Option<&str>) -> CallError {
        let error = forbidden(module, key, target);
        if self.is_first(key, target.unwrap_or_default()) {
            tracing::warn!(%module, capability = key, "an import was refused: {error}");
        }
        error
    }

    /// Logs a warning about a target of `module`, the first time for each kind and target.
    pub fn warn_once(&self, module: &str, kind: &str, target: &str, warning: impl FnOnce() -> String) {
        if self.is_first(kind, target) {
            tracing::warn!(%module, "{}", warning());
        }
    }

    /// Whether this refusal is the first of its kind. Always `false` after the first [`MOST`].
    fn is_first(&self, capability: &str, target: &str) -> bool {
        let mut logged = self.0.lock();
        logged.len() < MOST && logged.insert((capability.to_owned(), line(target, NAME)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_first_once_and_a_number_of_them_are() {
        let denials = Denials::default();
        assert!(denials.is_first("http", "https://a.test") && denials.is_first("tcp", "https://a.test"));
        assert!(!denials.is_first("http", "https://a.test"));
        let first = (0..1_000).filter(|index| denials.is_first("http", &index.to_string())).count();
        assert_eq!(first, MOST - 2);
    }
}
