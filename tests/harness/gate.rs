//! A gate that blocks calls at their start.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use fanfare::tooling::{Call, Probe};

/// Blocks calls at their start, together with their thread, until the test opens it.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    /// Whether the gate blocks a call.
    blocks: Box<dyn Fn(&Call) -> bool + Send + Sync>,
    reached: AtomicUsize,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Returns a closed gate that blocks the calls for which `blocks` returns true.
    pub fn before(blocks: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Gate {
        Gate(Arc::new(Inner {
            blocks: Box::new(blocks),
            reached: AtomicUsize::new(0),
            open: Mutex::new(false),
            opened: Condvar::new(),
        }))
    }

    pub fn probe(&self) -> Probe {
        let gate = self.clone();
        Arc::new(move |call| {
            gate.pass(call);
        })
    }

    /// Waits for the gate to open, if it blocks this call, and returns whether it does. Waits 15
    /// seconds at most, because a failed test does not open its gate.
    pub fn pass(&self, call: &Call) -> bool {
        let is_blocked = (self.0.blocks)(call);
        if is_blocked {
            self.0.reached.fetch_add(1, Ordering::AcqRel);
            let open = self.0.open.lock().unwrap();
            drop(self.0.opened.wait_timeout_while(open, Duration::from_secs(15), |open| !*open).unwrap());
        }
        is_blocked
    }

    /// Returns the number of calls that the gate has blocked so far.
    pub fn reached(&self) -> usize {
        self.0.reached.load(Ordering::Acquire)
    }

    pub fn open(&self) {
        *self.0.open.lock().unwrap() = true;
        self.0.opened.notify_all();
    }
}
