//! The refusals of one generation, so that the log has each of them once.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::call::text::{NAME, line};

/// The most refusals of a generation that are logged, because guests choose their texts.
const MOST: usize = 64;

/// The refusals of a generation that were logged.
#[derive(Debug, Default)]
pub struct Denials(Mutex<HashSet<(String, String)>>);

impl Denials {
    /// Whether this refusal is the first of its kind. Always `false` after the first [`MOST`].
    pub fn is_first(&self, capability: &str, target: &str) -> bool {
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
