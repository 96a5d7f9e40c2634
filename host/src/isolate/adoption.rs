//! The message that hands a prepared instance to the supervisor of its slot.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::deployment::Deployment;
use super::instance::Instance;

/// A prepared instance that the supervisor of the slot is to adopt.
pub struct Adoption {
    pub instance: Instance,
    pub deployment: Arc<Deployment>,
    /// The era that [`Mailbox::hand_over`](super::mailbox::Mailbox::hand_over) began.
    pub era: u64,
    /// Receives the instance that this one replaces, which drains.
    pub old: oneshot::Sender<Option<Instance>>,
}
