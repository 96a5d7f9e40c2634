//! Places for connections. A connection that has sent no request gives its place up when there is
//! no other one.
//!
//! Without this a few clients that connect and say nothing would keep the operator out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// A bounded number of places.
#[derive(Debug, Clone)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// By number, so that the oldest is first.
    seats: BTreeMap<u64, Seat>,
    last: u64,
}

#[derive(Debug)]
struct Seat {
    asked: Arc<AtomicBool>,
    evicted: CancellationToken,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    number: u64,
    /// To be set when the connection has sent a request: it then keeps its place.
    pub asked: Arc<AtomicBool>,
    /// Cancelled when another connection gets the place.
    pub evicted: CancellationToken,
    /// Whether another connection had to go for this one.
    pub evicts: bool,
}

impl Places {
    pub fn new(most: usize) -> Places {
        Places(Arc::new(Inner { most, taken: Mutex::default() }))
    }

    /// A free place, else that of the connection which has been silent for longest.
    pub fn enter(&self) -> Option<Place> {
        let mut taken = self.0.taken.lock();
        let evicts = taken.seats.len() >= self.0.most;
        if evicts {
            let (&silent, _) = taken.seats.iter().find(|(_, seat)| !seat.asked.load(Relaxed))?;
            taken.seats.remove(&silent)?.evicted.cancel();
        }
        taken.last = taken.last.saturating_add(1);
        let (number, asked, evicted) = (taken.last, Arc::default(), CancellationToken::new());
        taken.seats.insert(number, Seat { asked: Arc::clone(&asked), evicted: evicted.clone() });
        Some(Place { places: self.clone(), number, asked, evicted, evicts })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.taken.lock().seats.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_silent_one_goes_first() {
        let places = Places::new(3);
        let [first, second, third] = [(); 3].map(|()| places.enter().unwrap());
        assert!(!third.evicts);
        first.asked.store(true, Relaxed);
        let fourth = places.enter().unwrap();
        assert!(fourth.evicts && second.evicted.is_cancelled());
        assert!(!first.evicted.is_cancelled() && !third.evicted.is_cancelled());
        // It has left its place already.
        drop(second);
        third.asked.store(true, Relaxed);
        fourth.asked.store(true, Relaxed);
        assert!(places.enter().is_none());
        drop(first);
        assert!(!places.enter().unwrap().evicts);
    }
}
