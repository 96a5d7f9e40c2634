//! The signals between an instance, its supervisor and a swap.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::snapshot_request::{SnapshotRequest, SnapshotRequests};

/// The signals between an instance, its supervisor and a swap.
#[derive(Default)]
pub struct Control {
    pub(super) draining: AtomicBool,
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
    /// Notified when leaked calls make the instance unfit: see [`Control::why_unfit`].
    pub unfit: Notify,
    why_unfit: OnceLock<&'static str>,
    /// See [`Control::is_quiet`].
    quiet: AtomicBool,
}

impl Control {
    pub(super) fn set_ready(&self) {
        self.started.store(true, Ordering::Release);
        self.ready.notify_one();
    }

    /// Asks the supervisor to replace the instance, and records why. The first reason stays.
    pub(super) fn set_unfit(&self, why: &'static str) {
        self.why_unfit.get_or_init(|| why);
        self.unfit.notify_one();
    }

    /// Why the supervisor should replace the instance. Empty until [`Control::unfit`] was notified.
    pub fn why_unfit(&self) -> &'static str {
        self.why_unfit.get().copied().unwrap_or_default()
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
        self.draining.store(true, Ordering::Release);
        self.waker.wake();
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
