//! The signals between an instance, its supervisor and a swap.
//!
//! Calls keep their order over a hand-over. The old instance may have calls that it has taken and
//! the guest has not entered, or that had to yield at a tick. So the new instance takes its first
//! call at the end of a turn in which the old one has computed as far as it can: each of its calls
//! has ended or waits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::snapshot_request::{SnapshotRequest, SnapshotRequests};
use crate::isolate::unfit::Unfit;

/// The time that calls which compute without a pause may keep the next instance from its first
/// call. One call may compute for ever.
const MOST_DELAY: Duration = Duration::from_secs(1);

/// The signals between an instance, its supervisor and a swap.
#[derive(Default)]
pub struct Control {
    pub(super) draining: AtomicBool,
    draining_since: OnceLock<Instant>,
    /// Whether the instance may have taken calls that it has not entered, or has calls that could
    /// compute now. The next instance then takes no call, so that calls run in their order.
    busy: AtomicBool,
    /// Wakes the next instance when `busy` ends.
    next: AtomicWaker,
    /// The previous instance, until this one takes its first call.
    previous: Mutex<Option<Arc<Control>>>,
    pub(super) finishing: AtomicBool,
    pub(super) started: AtomicBool,
    pub(super) waker: AtomicWaker,
    pub(super) snapshots: SnapshotRequests,
    /// The number of turns that the driver has had.
    pub(super) turn_count: AtomicU64,
    /// Cancelled when the instance's task has ended and its store is dropped.
    pub(super) ended: CancellationToken,
    /// Notified when the startups are done.
    pub ready: Notify,
    /// Notified when the supervisor should replace the instance: see [`Control::why_unfit`].
    pub unfit: Notify,
    why_unfit: Mutex<Option<Unfit>>,
    /// See [`Control::is_quiet`].
    quiet: AtomicBool,
    /// Whether a client has left before it had the whole response.
    pub(super) abandoned: AtomicBool,
}

impl Control {
    pub(super) fn set_ready(&self) {
        self.started.store(true, Ordering::Release);
        self.ready.notify_one();
    }

    /// Asks the supervisor to replace the instance, and records why.
    pub(super) fn set_unfit(&self, why: Unfit) {
        *self.why_unfit.lock() = Some(why);
        self.unfit.notify_one();
    }

    /// Why the supervisor should replace the instance. `None` until [`Control::unfit`] was
    /// notified.
    pub fn why_unfit(&self) -> Option<Unfit> {
        *self.why_unfit.lock()
    }

    pub(super) fn set_quiet(&self) {
        self.quiet.store(true, Ordering::Release);
    }

    /// Whether the end or the replacement of the instance raises no event, because a hook ran in
    /// it.
    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Acquire)
    }

    /// Asks the instance to save or load its state.
    pub fn request_snapshot(&self, request: SnapshotRequest) {
        self.snapshots.push(request);
        self.waker.wake();
    }

    /// Wakes the driver, because the mailbox has appointed the instance.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Tells the instance to take no further calls and to end when its running calls have ended.
    pub fn drain(&self) {
        self.draining_since.get_or_init(Instant::now);
        self.draining.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// The instance begins when the calls of `previous` have computed as far as they can.
    pub fn follow(&self, previous: Arc<Control>) {
        *self.previous.lock() = Some(previous);
    }

    /// Whether an instance before this one still computes. Otherwise forgets it. Wakes `waker` when
    /// that changes.
    pub(super) fn must_wait(&self, waker: &Waker) -> bool {
        let mut previous = self.previous.lock();
        let waits = previous.as_ref().is_some_and(|previous| previous.computes(waker));
        if !waits {
            *previous = None;
        }
        waits
    }

    /// Whether this instance, or one before it, still computes.
    fn computes(&self, waker: &Waker) -> bool {
        // Before the look, so that no wake is lost.
        self.next.register(waker);
        self.busy.load(Ordering::SeqCst) || self.previous.lock().as_ref().is_some_and(|before| before.computes(waker))
    }

    /// The instance takes calls now.
    pub(super) fn set_busy(&self) {
        self.busy.store(true, Ordering::SeqCst);
    }

    /// A turn has ended. `is_idle` tells whether no call of the instance can compute now.
    pub(super) fn turn_ended(&self, is_idle: bool) {
        let is_over = || self.draining_since.get().is_some_and(|since| since.elapsed() >= MOST_DELAY);
        if is_idle || is_over() {
            self.set_idle();
        }
    }

    /// The next instance may take calls.
    pub(super) fn set_idle(&self) {
        self.busy.store(false, Ordering::SeqCst);
        self.next.wake();
    }

    /// Whether the end of a response that streams concerns the driver, because the instance ends.
    pub(super) fn awaits_room(&self) -> bool {
        self.draining.load(Ordering::Acquire) || self.finishing.load(Ordering::Acquire)
    }

    /// How long the instance has drained.
    pub(super) fn draining_for(&self) -> Option<Duration> {
        self.draining_since.get().map(Instant::elapsed)
    }

    /// Tells the instance to end when no call waits and its running calls have ended.
    pub fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the instance ends now, because it was told to finish and no call waits or runs.
    pub(super) fn is_finished(&self, idle: bool) -> bool {
        idle && self.finishing.load(Ordering::Acquire)
    }
}
