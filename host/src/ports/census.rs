//! The port to other nodes for the members of channels.

use std::sync::Arc;
use std::time::Duration;

use super::BoxFuture;
use crate::call::{CallError, CensusBatch, CensusPage};

/// The other nodes, as far as the members of channels need them.
pub trait Neighbors: Send + Sync {
    /// The id of this node.
    fn own(&self) -> Arc<str>;

    /// The other nodes, also those that are about to stop.
    fn nodes(&self) -> NodesSeen;

    /// The number of [`NodesSeen::view`] now.
    fn view(&self) -> u64;

    /// The id of the home of a channel: of this node if no node declares the channel. `None` if it
    /// is not known now.
    fn home(&self, channel: &str) -> Option<Arc<str>>;

    /// Resolves when nodes or the homes of channels may have changed since this was called.
    fn changed(&self) -> BoxFuture<()>;

    /// Sends a batch, and returns whether the node has accepted it.
    fn tell(&self, node: &str, batch: CensusBatch) -> BoxFuture<Result<bool, CallError>>;

    /// Asks the home of a channel for members after a session, of at most this many bytes.
    fn page(
        &self,
        node: &str,
        channel: &str,
        after: Option<&str>,
        most: usize,
    ) -> BoxFuture<Result<CensusPage, CallError>>;

    /// Whether there is a connection to other nodes.
    fn is_up(&self) -> bool;

    /// The most bytes that a message may have. Zero if that is not known.
    fn max_bytes(&self) -> usize;

    /// The silence after which a node counts as gone.
    fn gone_after(&self) -> Duration;
}

/// The nodes as one of them sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodesSeen {
    /// The other nodes by id, each with the start of its host.
    pub others: Vec<(Arc<str>, String)>,
    /// Equal for nodes that see the same homes.
    pub view: u64,
}

/// Receives what other nodes say about the members of channels.
pub trait CensusReceiver: Send + Sync {
    /// Returns whether the batch was accepted. If not, the sender begins a new series.
    fn receive(&self, node: &str, boot: &str, batch: CensusBatch) -> bool;

    /// Returns members after a session, of at most this many bytes. Fails while this node does not
    /// know all members.
    fn page(&self, channel: &str, after: Option<&str>, most: usize) -> Result<CensusPage, CallError>;
}
