//! The part of a slot that instances use: the mailbox they take calls from, and the counters.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::mailbox::{Mailbox, QueuedCall};
use super::stats::Stats;
use crate::call::{CallError, IsolateId};

/// The part of a slot that instances use. It outlives each of them.
pub struct SlotCore {
    pub module: Arc<str>,
    pub isolate: IsolateId,
    pub mailbox: Mailbox,
    pub stats: Arc<Stats>,
    /// The runtime of the isolate's thread.
    pub(super) runtime: Handle,
}

impl SlotCore {
    /// Ends a call that has not started. Its caller gets `error`.
    pub(super) fn end(&self, queued: QueuedCall, error: &CallError) {
        let QueuedCall { call, reply, .. } = queued;
        if call.context.end() {
            self.stats.ended(call.trigger.kind(), &call.route.handler, &call.context, Some(error));
        }
        if let Some(reply) = reply {
            // The caller may no longer wait, which is not an error.
            let _ = reply.send(Err(error.clone()));
        }
    }

    /// The error of a call to a module that was removed from this isolate.
    pub(super) fn unavailable(&self) -> CallError {
        CallError::Unavailable(format!("{} was removed from {} and accepts no more calls", self.module, self.isolate))
    }
}
