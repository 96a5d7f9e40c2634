//! How an instance takes its next call, in one store or in fresh ones.

use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::InstanceTask;
use crate::isolate::mailbox::QueuedCall;

impl InstanceTask {
    /// Takes the next call once one can start. Resolves with `None` when the instance has drained
    /// or finished. `has_room` tells whether a call can start in this turn, `is_idle` whether no
    /// call runs. `is_first` is true until the instance has taken calls.
    pub(super) fn poll_next_call(
        &self,
        cx: &Context<'_>,
        has_room: impl FnOnce() -> bool,
        is_idle: bool,
        is_first: &mut bool,
    ) -> Poll<Option<QueuedCall>> {
        if self.control.draining.load(Ordering::Acquire) {
            return if is_idle { Poll::Ready(None) } else { Poll::Pending };
        }
        if !self.slot.mailbox.is_appointed(self.id) || (*is_first && self.control.must_wait(cx.waker())) {
            return Poll::Pending;
        }
        *is_first = false;
        if !has_room() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Before the look into the mailbox, so that no wake is lost.
        self.slot.mailbox.register(cx.waker());
        self.control.set_busy();
        match self.slot.mailbox.take(self.id, self.capacity()) {
            Some(queued) => Poll::Ready(Some(queued)),
            // A finishing instance ends once no call waits or runs.
            None if self.control.is_finished(is_idle) => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
