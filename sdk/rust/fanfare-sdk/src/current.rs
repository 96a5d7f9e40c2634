use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;

use crate::types::CallId;

thread_local! {
    static CURRENT: Cell<Option<CallId>> = const { Cell::new(None) };
}

/// Returns the current call, to which the host charges the work. `None` outside a handler, which is
/// background work.
pub fn caller() -> Option<CallId> {
    CURRENT.get()
}

/// Restores the previous call when it is dropped, also when the future panics.
struct CallGuard(Option<CallId>);

impl Drop for CallGuard {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

fn enter(call: Option<CallId>) -> CallGuard {
    CallGuard(CURRENT.replace(call))
}

/// Binds a future to the current call, no matter which call polls it.
///
/// A handler does not need this for the futures that it awaits, joins or selects itself: they
/// belong to its call. But when a future leaves its handler, because the handler of another call or
/// a shared queue polls it, the host would charge its work to the call that polls. `carry` prevents
/// that:
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

/// Binds a future to a call other than the current one. `None` makes it background work, which may
/// outlive the handler and its deadline.
pub async fn carry_as<F: Future>(call: Option<CallId>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _guard = enter(call);
        future.as_mut().poll(context)
    })
    .await
}

/// Runs a future alongside the handler and after its reply (feature `spawn`).
///
/// The future belongs to the call that spawns it. When that call has ended, the rest of the future
/// is background work of the module, with the module's default deadline and no trace. The host
/// counts the call as running while its spawned future runs, and as leaked when the future runs
/// past the deadline for longer than `limits.abandonAfter`. For endless work use a schedule. A
/// panic in the future is a trap, as everywhere.
#[cfg(feature = "spawn")]
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    crate::backend::spawn(carry(future));
}
