use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use fanfare::tooling::{Call, Probe};

/// Stops calls as they start, and with each the thread it starts on, until it is opened.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    which: Box<dyn Fn(&Call) -> bool + Send + Sync>,
    reached: AtomicUsize,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Closed, in the way of the calls that `which` says.
    pub fn before(which: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Gate {
        Gate(Arc::new(Inner {
            which: Box::new(which),
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

    /// Whether the call is one that had to pass here. A test that has failed leaves it closed, so it does not wait for ever.
    pub fn pass(&self, call: &Call) -> bool {
        let concerned = (self.0.which)(call);
        if concerned {
            self.0.reached.fetch_add(1, Ordering::AcqRel);
            let open = self.0.open.lock().unwrap();
            drop(self.0.opened.wait_timeout_while(open, Duration::from_secs(15), |open| !*open).unwrap());
        }
        concerned
    }

    /// How many calls have come to it.
    pub fn reached(&self) -> usize {
        self.0.reached.load(Ordering::Acquire)
    }

    pub fn open(&self) {
        *self.0.open.lock().unwrap() = true;
        self.0.opened.notify_all();
    }
}
