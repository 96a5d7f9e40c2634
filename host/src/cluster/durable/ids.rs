//! The ids of the broadcasts that this process has begun, so that it begins each once.

use std::collections::{HashSet, VecDeque};

/// The ids that this process remembers of a module.
const MOST_IDS: usize = 1_024;

/// The last ids.
#[derive(Default)]
pub(super) struct Ids {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Ids {
    pub(super) fn len(&self) -> u64 {
        self.order.len() as u64
    }

    /// Whether an id is new.
    pub(super) fn is_new(&mut self, id: &str) -> bool {
        if !self.known.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > MOST_IDS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_once_and_the_number_of_ids_is_limited() {
        let mut ids = Ids::default();
        assert!(ids.is_new("a") && !ids.is_new("a"));
        (0..MOST_IDS * 2).for_each(|number| _ = ids.is_new(&number.to_string()));
        assert_eq!((ids.known.len(), ids.order.len()), (MOST_IDS, MOST_IDS));
        assert!(ids.is_new("a"));
    }
}
