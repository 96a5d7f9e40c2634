//! One budget for the bytes that connections hold: request bodies that are being read, answers that
//! are not written yet, and what an open HTTP/2 stream costs.
//!
//! Each connection has an [`Account`]. The first [`FREE`] bytes cost nothing, because
//! `http.maxConnections` bounds their sum; so a small request writes nothing that workers share.
//! Beyond them the account takes from the budget in steps of [`STEP`], and keeps what it took until
//! the connection holds little again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::metrics::counter::Counter;

/// Bytes that a connection may hold without asking.
const FREE: u64 = 8 * 1024;

/// Bytes that a connection takes from the budget at once, and that it keeps beyond its need.
const STEP: u64 = 16 * 1024;

/// The budget of a node.
#[derive(Debug, Default)]
pub struct Buffered {
    /// `http.maxBuffered`.
    max: u64,
    taken: AtomicU64,
    /// Requests that were refused because the budget was used up.
    pub refused: Counter,
}

impl Buffered {
    pub fn new(max: u64) -> Buffered {
        Buffered { max, ..Buffered::default() }
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// Bytes that all connections hold, without the free ones.
    pub fn taken(&self) -> u64 {
        self.taken.load(Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let more = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= self.max);
        self.taken.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Relaxed);
    }
}

/// The bytes that one connection holds. Only the thread of its worker uses it.
#[derive(Debug)]
pub struct Account {
    budget: Arc<Buffered>,
    held: AtomicU64,
    /// The bytes that it took from the budget.
    taken: AtomicU64,
}

impl Account {
    pub fn new(budget: Arc<Buffered>) -> Account {
        Account { budget, held: AtomicU64::new(0), taken: AtomicU64::new(0) }
    }

    /// Holds more bytes, or fails because the budget does not have them.
    pub fn hold(&self, bytes: u64) -> Result<(), Full> {
        let held = self.held.load(Relaxed).saturating_add(bytes);
        let (taken, need) = (self.taken.load(Relaxed), held.saturating_sub(FREE));
        if let Some(lack) = need.checked_sub(taken).filter(|lack| *lack > 0) {
            let step = lack.next_multiple_of(STEP);
            let took = if self.budget.take(step) {
                step
            } else if self.budget.take(lack) {
                lack
            } else {
                self.budget.refused.inc();
                return Err(Full { max: self.budget.max });
            };
            self.taken.store(taken.saturating_add(took), Relaxed);
        }
        self.held.store(held, Relaxed);
        Ok(())
    }

    /// Holds fewer bytes.
    pub fn release(&self, bytes: u64) {
        let held = self.held.load(Relaxed).saturating_sub(bytes);
        self.held.store(held, Relaxed);
        let (taken, need) = (self.taken.load(Relaxed), held.saturating_sub(FREE));
        let surplus = taken.saturating_sub(need);
        if surplus > 0 && (need == 0 || surplus > 2 * STEP) {
            self.budget.give_back(surplus);
            self.taken.store(need, Relaxed);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.budget.give_back(*self.taken.get_mut());
    }
}

/// The budget has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("connections hold as many bytes as http.maxBuffered allows, {max}")]
pub struct Full {
    pub max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_free_and_more_is_taken_in_steps() {
        let budget = Arc::new(Buffered::new(1 << 20));
        let account = Account::new(budget.clone());
        account.hold(FREE).unwrap();
        assert_eq!(budget.taken(), 0);
        account.hold(1).unwrap();
        assert_eq!(budget.taken(), STEP);
        account.hold(STEP - 1).unwrap();
        assert_eq!(budget.taken(), STEP);
        // The account keeps two steps beyond its need at most, and nothing when it needs nothing.
        account.hold(4 * STEP).unwrap();
        account.release(2 * STEP);
        assert_eq!(budget.taken(), 5 * STEP);
        account.release(STEP);
        assert_eq!(budget.taken(), 2 * STEP);
        account.release(2 * STEP);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn beyond_the_budget_it_is_refused_and_the_end_of_a_connection_returns_all() {
        let budget = Arc::new(Buffered::new(20_000));
        let (first, second) = (Account::new(budget.clone()), Account::new(budget.clone()));
        first.hold(FREE + 20_000).unwrap();
        assert_eq!(second.hold(FREE + 1), Err(Full { max: 20_000 }));
        assert_eq!((budget.taken(), budget.refused.get()), (20_000, 1));
        second.hold(FREE).unwrap();
        drop(first);
        assert_eq!(budget.taken(), 0);
        second.hold(1).unwrap();
    }
}
