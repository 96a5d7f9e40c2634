use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;

use crate::types::CallId;

thread_local! {
    static CURRENT: Cell<Option<CallId>> = const { Cell::new(None) };
}

/// The call that runs now, to which the host charges what is done. `None` outside of a handler: background work.
pub fn caller() -> Option<CallId> {
    CURRENT.get()
}

/// Sets the current call, and puts the one before it back at the end: also when the future panics.
struct Entered(Option<CallId>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

fn enter(call: Option<CallId>) -> Entered {
    Entered(CURRENT.replace(call))
}

/// A future that stays with the call that runs now, whoever polls it.
///
/// Inside a handler nothing need be done: whatever it awaits, joins or selects belongs to its call. Only a
/// future that leaves its handler, because another call's handler or a shared queue polls it, would be charged to
/// whoever polls it. Carry it:
///
/// ```
/// use fanfare_sdk::{caller, carry, carry_as};
/// # use fanfare_sdk::testing::block_on;
/// let theirs = block_on(carry_as(Some(1), async { carry(async { caller() }) }));
/// let polled_in_call_2 = carry_as(Some(2), async { (theirs.await, caller()) });
/// assert_eq!(block_on(polled_in_call_2), (Some(1), Some(2)));
/// ```
pub fn carry<F: Future>(future: F) -> impl Future<Output = F::Output> {
    carry_as(caller(), future)
}

/// A future that belongs to another call than the one that runs now; `None` makes it background work, which may
/// outlive the handler and its deadline.
pub async fn carry_as<F: Future>(call: Option<CallId>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _entered = enter(call);
        future.as_mut().poll(context)
    })
    .await
}

/// Runs a future beside the handler, also after its answer (feature `spawn`).
///
/// It belongs to the call that spawns it. Once that call has ended, what it does is background work of the
/// module: allowed, with the module's default deadline and no trace. The host counts a call whose spawned work goes
/// on as running, and as leaked when it goes on for too long past the deadline: for work without end use a schedule.
/// A panic in it is a trap, like everywhere.
#[cfg(feature = "spawn")]
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    crate::backend::spawn(carry(future));
}
