//! Requests that a client may send again, because it did not see the response.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::call::bounds;

/// The most keys that the service remembers.
pub(super) const MAX_KEYS: usize = 4_096;

/// The longest key in bytes.
pub(super) const MAX_KEY: usize = 128;

/// What a request emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Emitted {
    /// The number of the last event.
    pub(super) last: u64,
    pub(super) count: usize,
}

/// The newest values of `Idempotency-Key`, each with what its request emitted.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    requests: HashMap<String, ([u8; 32], Emitted)>,
    /// The oldest first.
    order: VecDeque<String>,
}

/// The outcome of a request with a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    First(Emitted),
    /// An earlier request with the key emitted the events.
    Repeated(Emitted),
    /// An earlier request with the key had another body.
    Different,
}

impl Repeats {
    /// Emits, unless an earlier request with this key and body has done so. Of two requests at the
    /// same time, one waits for the other.
    pub(super) fn once(&self, key: &str, body: &[u8], emit: impl FnOnce() -> Emitted) -> Outcome {
        let digest: [u8; 32] = Sha256::digest(body).into();
        let mut remembered = self.0.lock();
        match remembered.requests.get(key) {
            Some((earlier, emitted)) if *earlier == digest => return Outcome::Repeated(*emitted),
            Some(_) => return Outcome::Different,
            None => {}
        }
        let emitted = emit();
        if remembered.order.len() == MAX_KEYS
            && let Some(oldest) = remembered.order.pop_front()
        {
            remembered.requests.remove(&oldest);
            bounds::EVENT_KEYS.count();
        }
        remembered.order.push_back(key.to_owned());
        remembered.requests.insert(key.to_owned(), (digest, emitted));
        Outcome::First(emitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_emits_once_until_it_is_one_of_the_oldest() {
        let (repeats, emitted) = (Repeats::default(), |last| Emitted { last, count: 1 });
        let once = |key: &str, body: &str, last| repeats.once(key, body.as_bytes(), || emitted(last));
        assert_eq!(once("k", "a", 1), Outcome::First(emitted(1)));
        assert_eq!(once("k", "a", 2), Outcome::Repeated(emitted(1)));
        assert_eq!(once("k", "b", 3), Outcome::Different);
        for index in 1..MAX_KEYS {
            once(&index.to_string(), "", 4);
        }
        assert_eq!(once("k", "a", 5), Outcome::Repeated(emitted(1)), "as many keys as it remembers");
        let reached = bounds::EVENT_KEYS.reached();
        once("one more", "", 6);
        assert!(bounds::EVENT_KEYS.reached() > reached);
        assert_eq!(once("k", "a", 7), Outcome::First(emitted(7)));
        assert_eq!(repeats.0.lock().requests.len(), MAX_KEYS);
    }
}
