//! The way to other nodes.

use super::BoxFuture;
use crate::call::{CallError, Entry, Peer, PeerBroadcast, PeerCall};

/// What dispatch needs of the cluster. Nothing here waits but the future of [`Peers::call`].
pub trait Peers: Send + Sync {
    /// The other nodes that are alive, in the order of their ids.
    fn nodes(&self) -> Vec<Peer>;

    /// Makes a call on another node: one entry for each place that it reaches there. The caller has its timeout when the
    /// envelope's time is over, whether this has resolved or not.
    fn call(&self, node: &str, call: PeerCall) -> BoxFuture<Result<Vec<Entry>, CallError>>;

    /// Sends a call that nobody waits for.
    fn notify(&self, node: &str, call: PeerCall) -> Result<(), CallError>;

    /// Sends a broadcast to every other node, and returns how many those are.
    fn broadcast(&self, broadcast: PeerBroadcast) -> u32;
}

/// There is no other node.
#[derive(Debug, Clone, Copy)]
pub struct NoPeers;

impl Peers for NoPeers {
    fn nodes(&self) -> Vec<Peer> {
        Vec::new()
    }

    fn call(&self, node: &str, _: PeerCall) -> BoxFuture<Result<Vec<Entry>, CallError>> {
        Box::pin(std::future::ready(Err(gone(node))))
    }

    fn notify(&self, node: &str, _: PeerCall) -> Result<(), CallError> {
        Err(gone(node))
    }

    fn broadcast(&self, _: PeerBroadcast) -> u32 {
        0
    }
}

fn gone(node: &str) -> CallError {
    CallError::Unavailable(format!("node {node} was lost"))
}
