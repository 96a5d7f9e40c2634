//! Handlers that several guests share: they hold calls, release them, and make further calls.

mod calls;
pub mod events;
pub mod streams;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

use fanfare_sdk::prelude::*;

pub use calls::{emit, every, gather, nested, notify, outcome};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static GATE: RefCell<Gate> = RefCell::default();
}

#[derive(Default)]
struct Gate {
    /// How often `release` has opened the gate.
    opened: u64,
    /// The number of calls that wait at the gate.
    holding: u32,
    wakers: Vec<Waker>,
}

/// Waits until another call of this instance runs `release`, then returns the body.
#[handler]
pub async fn hold(body: Payload) -> Payload {
    gate().await;
    body
}

/// Waits until another call of this instance runs `release`.
pub async fn gate() {
    let opened = GATE.with_borrow_mut(|gate| {
        gate.holding += 1;
        gate.opened
    });
    poll_fn(|context| {
        GATE.with_borrow_mut(|gate| {
            if gate.opened > opened {
                return Poll::Ready(());
            }
            gate.wakers.push(context.waker().clone());
            Poll::Pending
        })
    })
    .await;
}

/// Releases all calls that this instance holds, and returns their number.
#[handler]
pub fn release() -> Json<u32> {
    let (released, wakers) = GATE.with_borrow_mut(|gate| {
        gate.opened += 1;
        (std::mem::take(&mut gate.holding), std::mem::take(&mut gate.wakers))
    });
    wakers.into_iter().for_each(Waker::wake);
    Json(released)
}

/// Returns the number of calls that this instance holds.
#[handler]
pub fn holding() -> Json<u32> {
    Json(GATE.with_borrow(|gate| gate.holding))
}

/// Returns the isolate of this instance, and the number of calls of `who` that its memory has
/// counted.
#[handler]
pub fn who() -> Json<Value> {
    COUNT.set(COUNT.get() + 1);
    Json(json!({"isolate": host::isolate(), "count": COUNT.get()}))
}

#[handler]
pub fn ok() -> &'static str {
    "ok"
}

/// Blocks the whole instance for `ms` milliseconds in a call of WASI.
#[handler]
pub fn block(ms: Json<u64>) -> &'static str {
    std::thread::sleep(std::time::Duration::from_millis(*ms));
    "ok"
}
