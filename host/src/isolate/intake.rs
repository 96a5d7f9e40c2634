//! What an instance takes its calls from. It is the part of a slot that outlives every instance and
//! that instances need.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::mailbox::{Mailbox, Queued};
use super::stats::Stats;
use crate::call::{CallError, IsolateId};

pub struct Intake {
    pub module: Arc<str>,
    pub isolate: IsolateId,
    pub mailbox: Mailbox,
    pub stats: Arc<Stats>,
    /// Of its isolate's thread.
    pub(super) runtime: Handle,
}

impl Intake {
    /// Ends a call that has not started.
    pub(super) fn end(&self, queued: Queued, error: &CallError) {
        let Queued { call, reply, .. } = queued;
        if call.context.end() {
            self.stats.ended(call.trigger.kind(), &call.context, Some(error));
        }
        if let Some(reply) = reply {
            // The caller may have left, which ends nothing.
            let _ = reply.send(Err(error.clone()));
        }
    }

    pub(super) fn gone(&self) -> CallError {
        CallError::Unavailable(format!("{} takes no calls in {} any more", self.module, self.isolate))
    }
}
