//! Permits for connections. A connection that has sent no request loses its permit when another one
//! needs it, so that clients that connect and send nothing cannot lock the operator out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// A limited number of permits.
#[derive(Debug, Clone)]
pub struct Permits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: usize,
    issued: Mutex<Issued>,
}

#[derive(Debug, Default)]
struct Issued {
    /// By number, so that the oldest is first.
    holders: BTreeMap<u64, Holder>,
    last: u64,
}

#[derive(Debug)]
struct Holder {
    active: Arc<AtomicBool>,
    evicted: CancellationToken,
}

/// The right of a connection to be served. Dropping it returns the permit.
#[derive(Debug)]
pub struct Permit {
    permits: Permits,
    number: u64,
    /// The connection sets this when it receives a request. It is then never evicted.
    pub active: Arc<AtomicBool>,
    /// Cancelled when another connection gets the permit.
    pub evicted: CancellationToken,
    /// Whether another connection was evicted for this one.
    pub evicts: bool,
}

impl Permits {
    pub fn new(max: usize) -> Permits {
        Permits(Arc::new(Inner { max, issued: Mutex::default() }))
    }

    /// Returns a free permit, or that of the oldest connection that has sent no request.
    pub fn acquire(&self) -> Option<Permit> {
        let mut issued = self.0.issued.lock();
        let evicts = issued.holders.len() >= self.0.max;
        if evicts {
            let (&silent, _) = issued.holders.iter().find(|(_, holder)| !holder.active.load(Relaxed))?;
            issued.holders.remove(&silent)?.evicted.cancel();
        }
        issued.last = issued.last.saturating_add(1);
        let (number, active, evicted) = (issued.last, Arc::default(), CancellationToken::new());
        issued.holders.insert(number, Holder { active: Arc::clone(&active), evicted: evicted.clone() });
        Some(Permit { permits: self.clone(), number, active, evicted, evicts })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.0.issued.lock().holders.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_silent_connection_is_evicted_first() {
        let permits = Permits::new(3);
        let [first, second, third] = [(); 3].map(|()| permits.acquire().unwrap());
        assert!(!third.evicts);
        first.active.store(true, Relaxed);
        let fourth = permits.acquire().unwrap();
        assert!(fourth.evicts && second.evicted.is_cancelled());
        assert!(!first.evicted.is_cancelled() && !third.evicted.is_cancelled());
        // Its permit was already returned.
        drop(second);
        third.active.store(true, Relaxed);
        fourth.active.store(true, Relaxed);
        assert!(permits.acquire().is_none());
        drop(first);
        assert!(!permits.acquire().unwrap().evicts);
    }
}
