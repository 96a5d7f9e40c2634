//! When the next event about lost messages is due, and what it reports.

use std::collections::BTreeMap;

use crate::call::IsolateId;
use crate::events::Notice;

/// What the next event of each kind reports.
#[derive(Default)]
pub(super) struct Notices {
    pub dropped: Notice,
    pub missed: Notice,
    /// By the isolate that could not receive the messages.
    pub skipped: BTreeMap<IsolateId, Notice>,
}
