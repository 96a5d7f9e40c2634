//! How a prepared instance gets to the supervisor of its slot.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::instance::Instance;
use super::program::Program;
use super::version::Version;

/// An instance that has been prepared, for the supervisor of its slot to take over.
pub struct Adoption {
    pub instance: Instance,
    pub version: Arc<Version>,
    pub program: Arc<Program>,
    /// See [`Mailbox::hand_over`](super::mailbox::Mailbox::hand_over).
    pub era: u64,
    /// Told of the one that it follows, which drains.
    pub old: oneshot::Sender<Option<Instance>>,
}
