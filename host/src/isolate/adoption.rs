//! How a prepared instance gets to the supervisor of its slot.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::deployment::Deployment;
use super::instance::Instance;
use super::program::Program;

/// An instance that has been prepared, for the supervisor of its slot to take over.
pub struct Adoption {
    pub instance: Instance,
    pub deployment: Arc<Deployment>,
    pub program: Arc<Program>,
    /// See [`Mailbox::hand_over`](super::mailbox::Mailbox::hand_over).
    pub era: u64,
    /// Told of the one that it follows, which drains.
    pub old: oneshot::Sender<Option<Instance>>,
}
