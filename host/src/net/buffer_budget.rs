//! One budget for the bytes that all connections buffer: request bodies that are being read,
//! responses that are not written yet, and the state of open HTTP/2 streams.
//!
//! Each connection has a [`BufferAccount`]. Its first [`FREE`] bytes do not count, because
//! `http.maxConnections` already bounds their sum, and so that a small request writes nothing that
//! workers share. Beyond them, the account reserves bytes of the budget in steps of [`STEP`], and
//! releases them when the connection buffers little again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::metrics::counter::Counter;

/// Bytes that a connection may buffer without using the budget.
const FREE: u64 = 8 * 1024;

/// The unit in which a connection reserves bytes. It keeps at most two units that it does not need.
const STEP: u64 = 16 * 1024;

/// The bytes that all connections of a node may buffer.
#[derive(Debug, Default)]
pub struct BufferBudget {
    /// `http.maxBuffered`.
    max: u64,
    in_use: AtomicU64,
    /// Requests that the host rejected because the budget was used up.
    pub refused: Counter,
}

impl BufferBudget {
    pub fn new(max: u64) -> BufferBudget {
        BufferBudget { max, ..BufferBudget::default() }
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    /// The bytes that all connections have reserved.
    pub fn in_use(&self) -> u64 {
        self.in_use.load(Relaxed)
    }

    fn reserve(&self, bytes: u64) -> bool {
        let more = |in_use: u64| in_use.checked_add(bytes).filter(|sum| *sum <= self.max);
        self.in_use.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    fn release(&self, bytes: u64) {
        self.in_use.fetch_sub(bytes, Relaxed);
    }
}

/// The bytes that one connection buffers. Only the thread of its worker uses it.
#[derive(Debug)]
pub struct BufferAccount {
    budget: Arc<BufferBudget>,
    buffered: AtomicU64,
    /// Bytes of the budget that this account has reserved.
    reserved: AtomicU64,
}

impl BufferAccount {
    pub fn new(budget: Arc<BufferBudget>) -> BufferAccount {
        BufferAccount { budget, buffered: AtomicU64::new(0), reserved: AtomicU64::new(0) }
    }

    /// Adds bytes, or fails and adds none when the budget has no room for them.
    pub fn add(&self, bytes: u64) -> Result<(), BudgetExceeded> {
        let buffered = self.buffered.load(Relaxed).saturating_add(bytes);
        let (reserved, need) = (self.reserved.load(Relaxed), buffered.saturating_sub(FREE));
        if let Some(missing) = need.checked_sub(reserved).filter(|missing| *missing > 0) {
            let step = missing.next_multiple_of(STEP);
            let more = if self.budget.reserve(step) {
                step
            } else if self.budget.reserve(missing) {
                missing
            } else {
                self.budget.refused.inc();
                return Err(BudgetExceeded { max: self.budget.max });
            };
            self.reserved.store(reserved.saturating_add(more), Relaxed);
        }
        self.buffered.store(buffered, Relaxed);
        Ok(())
    }

    /// Removes bytes.
    pub fn remove(&self, bytes: u64) {
        let buffered = self.buffered.load(Relaxed).saturating_sub(bytes);
        self.buffered.store(buffered, Relaxed);
        let (reserved, need) = (self.reserved.load(Relaxed), buffered.saturating_sub(FREE));
        let surplus = reserved.saturating_sub(need);
        if surplus > 0 && (need == 0 || surplus > 2 * STEP) {
            self.budget.release(surplus);
            self.reserved.store(need, Relaxed);
        }
    }
}

impl Drop for BufferAccount {
    fn drop(&mut self) {
        self.budget.release(*self.reserved.get_mut());
    }
}

/// The budget has no room for more bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("connections already buffer the {max} bytes that http.maxBuffered allows: retry later")]
pub struct BudgetExceeded {
    pub max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_are_free_and_more_are_reserved_in_steps() {
        let budget = Arc::new(BufferBudget::new(1 << 20));
        let account = BufferAccount::new(budget.clone());
        account.add(FREE).unwrap();
        assert_eq!(budget.in_use(), 0);
        account.add(1).unwrap();
        assert_eq!(budget.in_use(), STEP);
        account.add(STEP - 1).unwrap();
        assert_eq!(budget.in_use(), STEP);
        // The account keeps at most two steps beyond its need, and none when it needs none.
        account.add(4 * STEP).unwrap();
        account.remove(2 * STEP);
        assert_eq!(budget.in_use(), 5 * STEP);
        account.remove(STEP);
        assert_eq!(budget.in_use(), 2 * STEP);
        account.remove(2 * STEP);
        assert_eq!(budget.in_use(), 0);
    }

    #[test]
    fn bytes_beyond_the_budget_are_rejected_and_the_end_of_a_connection_releases_its_bytes() {
        let budget = Arc::new(BufferBudget::new(20_000));
        let (first, second) = (BufferAccount::new(budget.clone()), BufferAccount::new(budget.clone()));
        first.add(FREE + 20_000).unwrap();
        assert_eq!(second.add(FREE + 1), Err(BudgetExceeded { max: 20_000 }));
        assert_eq!((budget.in_use(), budget.refused.get()), (20_000, 1));
        second.add(FREE).unwrap();
        drop(first);
        assert_eq!(budget.in_use(), 0);
        second.add(1).unwrap();
    }
}
