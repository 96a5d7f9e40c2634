//! The port to other nodes.

use super::BoxFuture;
use crate::call::{CallError, GatherEntry, Peer, PeerBroadcast, PeerCall};

/// The functions of the cluster for dispatch. Only the future of [`Peers::call`] waits.
pub trait Peers: Send + Sync {
    /// Returns the other nodes that are alive, sorted by id.
    fn nodes(&self) -> Vec<Peer>;

    /// Makes a call on another node. Resolves with one entry for each isolate that the call
    /// reaches. The caller gets a timeout when the envelope's time is over, even if the future has
    /// not resolved.
    fn call(&self, node: &str, call: PeerCall) -> BoxFuture<Result<Vec<GatherEntry>, CallError>>;

    /// Sends a call without waiting for its result.
    fn notify(&self, node: &str, call: PeerCall) -> Result<(), CallError>;

    /// Sends a broadcast to every other node. Returns the number of nodes.
    fn broadcast(&self, broadcast: PeerBroadcast) -> u32;
}

/// The port of a single node.
#[derive(Debug, Clone, Copy)]
pub struct NoPeers;

impl Peers for NoPeers {
    fn nodes(&self) -> Vec<Peer> {
        Vec::new()
    }

    fn call(&self, node: &str, _: PeerCall) -> BoxFuture<Result<Vec<GatherEntry>, CallError>> {
        Box::pin(std::future::ready(Err(lost(node))))
    }

    fn notify(&self, node: &str, _: PeerCall) -> Result<(), CallError> {
        Err(lost(node))
    }

    fn broadcast(&self, _: PeerBroadcast) -> u32 {
        0
    }
}

fn lost(node: &str) -> CallError {
    CallError::Unavailable(format!("node {node} was lost"))
}
