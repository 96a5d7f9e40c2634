//! How the users of a bounded queue share it.
//!
//! A user may have four times the room that is left: four fifths of the queue if nobody else uses
//! it, less otherwise. So the burst of one user leaves room for all others.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};

/// How many times the room that is left a user may have.
const GREED: u64 = 4;

/// A number of entries, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub entries: u64,
    pub bytes: u64,
}

/// What is in a queue, in all and for each user.
#[derive(Debug)]
pub struct Shares<K, S = RandomState> {
    all: Amount,
    /// A user without entries has none here.
    of: HashMap<K, Amount, S>,
}

impl Amount {
    pub const MAX: Amount = Amount { entries: u64::MAX, bytes: u64::MAX };

    fn add(&mut self, bytes: u64) {
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn remove(&mut self, bytes: u64) {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

impl<K, S: Default> Default for Shares<K, S> {
    fn default() -> Shares<K, S> {
        Shares { all: Amount::default(), of: HashMap::default() }
    }
}

impl<K: Hash + Eq, S: BuildHasher> Shares<K, S> {
    /// Whether an entry of a user fits into a queue that holds `most`. An empty queue accepts an
    /// entry of any size.
    pub fn has_room(&self, user: &K, bytes: u64, most: &Amount) -> bool {
        let own = self.of.get(user).copied().unwrap_or_default();
        let fits = |size: u64, own: u64, all: u64, most: u64| {
            let left = most.saturating_sub(all);
            size <= left && own < left.saturating_mul(GREED)
        };
        let fits_all =
            fits(1, own.entries, self.all.entries, most.entries) && fits(bytes, own.bytes, self.all.bytes, most.bytes);
        fits_all || self.all.entries == 0
    }

    /// Counts an entry, if it fits.
    pub fn try_add(&mut self, user: &K, bytes: u64, most: &Amount) -> bool
    where
        K: Clone,
    {
        let has_room = self.has_room(user, bytes, most);
        if has_room {
            self.add(user.clone(), bytes);
        }
        has_room
    }

    /// Counts an entry.
    pub fn add(&mut self, user: K, bytes: u64) {
        self.all.add(bytes);
        self.of.entry(user).or_default().add(bytes);
    }

    /// An entry was removed.
    pub fn remove(&mut self, user: &K, bytes: u64) {
        self.all.remove(bytes);
        if let Some(own) = self.of.get_mut(user) {
            own.remove(bytes);
            if own.entries == 0 {
                self.of.remove(user);
            }
        }
    }

    /// What is in the queue.
    pub fn all(&self) -> Amount {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries of a size that a user can add.
    fn fill(shares: &mut Shares<&'static str>, user: &'static str, bytes: u64, most: &Amount) -> u64 {
        let mut count = 0;
        while shares.try_add(&user, bytes, most) {
            count += 1;
        }
        count
    }

    #[test]
    fn a_user_has_four_fifths_of_a_queue_and_the_next_ones_of_the_rest() {
        for (most, size) in [(Amount { entries: 1_000, ..Amount::MAX }, 0), (Amount { bytes: 1_000, ..Amount::MAX }, 1)]
        {
            let mut shares = Shares::default();
            let filled = ["a", "b", "c", "a"].map(|user| fill(&mut shares, user, size, &most));
            assert_eq!(filled, [800, 160, 32, 0]);
            assert_eq!(shares.all().entries, 992);
            (0..500).for_each(|_| shares.remove(&"a", size));
            assert!(fill(&mut shares, "b", size, &most) > 100, "what leaves makes room");
        }
    }

    #[test]
    fn an_empty_queue_accepts_an_entry_of_any_size_and_small_queues_fill() {
        let mut shares = Shares::default();
        let most = Amount { entries: 3, bytes: 10 };
        assert!(shares.has_room(&"a", 11, &most));
        shares.add("a", 11);
        assert!(!shares.has_room(&"b", 1, &most));
        shares.remove(&"a", 11);
        assert_eq!((shares.all(), fill(&mut shares, "a", 1, &most)), (Amount::default(), 3));
    }
}
