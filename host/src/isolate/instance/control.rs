//! The line between an instance and its supervisor.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use super::ask::{Ask, Asks};

/// How an instance and its supervisor talk.
#[derive(Default)]
pub struct Control {
    pub(super) draining: AtomicBool,
    pub(super) finishing: AtomicBool,
    pub(super) started: AtomicBool,
    pub(super) waker: AtomicWaker,
    pub(super) asks: Asks,
    /// How often the driver has had its turn.
    pub(super) turns: AtomicU64,
    /// Told when the startups are done.
    pub ready: Notify,
    /// Notified when leaked calls make the instance unfit: see [`Control::why_worn`].
    pub worn: Notify,
    why_worn: OnceLock<&'static str>,
}

impl Control {
    pub(super) fn set_ready(&self) {
        self.started.store(true, Ordering::Release);
        self.ready.notify_one();
    }

    /// Notes why the instance should be replaced; the first reason stays.
    pub(super) fn wear_out(&self, why: &'static str) {
        self.why_worn.get_or_init(|| why);
        self.worn.notify_one();
    }

    /// Why the instance should be replaced; empty unless [`Control::worn`] was notified.
    pub fn why_worn(&self) -> &'static str {
        self.why_worn.get().copied().unwrap_or_default()
    }

    /// Asks for its state, or to take one.
    pub fn ask(&self, ask: Ask) {
        self.asks.push(ask);
        self.waker.wake();
    }

    /// It has been appointed by its mailbox.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Takes no further calls; ends when those it has are done.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Ends when no call waits any more and those it has are done.
    pub fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it ends for want of calls that wait.
    pub(super) fn is_finished(&self, idle: bool) -> bool {
        idle && self.finishing.load(Ordering::Acquire)
    }
}
