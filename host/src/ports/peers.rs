//! The port to other nodes.

use tokio::sync::watch;

use super::BoxFuture;
use crate::call::{
    CallError, CallResult, ChannelAnswer, ChannelRequest, DeclaredChannel, GatherEntry, Peer, PeerBroadcast, PeerCall,
    PeerMessage, SessionAct, Skipped,
};

/// The other nodes that a broadcast was sent to.
#[derive(Debug, Clone, Default)]
pub struct Reached {
    /// The number of nodes.
    pub nodes: u32,
    /// The nodes that it could not be sent to.
    pub skipped: Vec<Skipped>,
}

/// What a call needs of the other nodes.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// The node with this id.
    Node(&'a str),
    /// A node of this server type.
    Server(&'a str),
    /// A node with this module.
    Module(&'a str),
}

/// A client's message that another node runs.
pub struct Forward {
    pub message: PeerMessage,
    /// Dropped as soon as the message is on its way, or cannot be sent.
    pub turn: Box<dyn Send>,
    /// Does what the call does to the session, in its order and before the outcome. Returns the
    /// number of sessions that the act has changed.
    pub acts: Box<dyn Fn(SessionAct) -> Result<u32, CallError> + Send>,
}

/// The functions of the cluster for dispatch. Only the futures wait.
pub trait Peers: Send + Sync {
    /// Returns the other nodes that are alive, sorted by id.
    fn nodes(&self) -> Vec<Peer>;

    /// Why no node is what a call wants, although one may be later. `None` if nothing is known of
    /// such a node.
    fn missing(&self, _: Wanted<'_>) -> Option<CallError> {
        None
    }

    /// Makes a call on another node. Resolves with one entry for each isolate that the call
    /// reaches. The caller gets a timeout when the envelope's time is over, even if the future has
    /// not resolved.
    fn call(&self, node: &str, call: PeerCall) -> BoxFuture<Result<Vec<GatherEntry>, CallError>>;

    /// Sends a call without waiting for its result.
    fn notify(&self, node: &str, call: PeerCall) -> Result<(), CallError>;

    /// Runs a client's message on another node. Resolves with the outcome.
    fn forward(&self, node: &str, _: Forward) -> BoxFuture<CallResult> {
        Box::pin(std::future::ready(Err(lost(node))))
    }

    /// Counts and logs a client's message for which no node of a server type was found.
    fn unrouted(&self, _server: &str, _why: &CallError) {}

    /// Returns the other nodes that serve a module, sorted by id.
    fn holders(&self, module: &str) -> Vec<Peer>;

    /// Returns the other nodes that declare a channel, each with the rank of its
    /// most precise pattern.
    fn declaring(&self, _channel: &str) -> Vec<((bool, usize), Peer)> {
        Vec::new()
    }

    /// Returns what other nodes declare about a channel. Fails if only nodes that are gone have
    /// declared it.
    fn declared(&self, _channel: &str) -> Option<Result<DeclaredChannel, CallError>> {
        None
    }

    /// Asks the home of a channel. Requests to a node arrive in the order of these calls. Resolves
    /// at the latest when the envelope's time is over.
    fn ask_home(&self, node: &str, _: ChannelRequest) -> BoxFuture<Result<ChannelAnswer, CallError>> {
        Box::pin(std::future::ready(Err(lost(node))))
    }

    /// Whether this node is about to stop, so that others take over what it is responsible for.
    fn is_leaving(&self) -> bool {
        false
    }

    /// Changes when a node comes, changes or goes.
    fn changes(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    /// Sends a broadcast to every other node that serves its module. Broadcasts of a module arrive
    /// in the order of these calls and of those of [`Peers::gather`].
    fn broadcast(&self, broadcast: PeerBroadcast) -> Reached;

    /// Sends a broadcast, and waits for an entry from each worker of each other node that serves
    /// its module. Resolves at the latest when the envelope's time is over.
    fn gather(&self, broadcast: PeerBroadcast) -> BoxFuture<Vec<GatherEntry>>;

    /// Whether another node that serves a module declares a broadcast as durable.
    fn is_durable(&self, _module: &str, _broadcast: &str) -> bool {
        false
    }

    /// Queues a durable broadcast until the stream has it.
    fn queue_durable(&self, _broadcast: PeerBroadcast) -> Result<(), CallError> {
        Err(no_stream())
    }

    /// Brings a durable broadcast into the stream. Resolves with its place there, at the latest
    /// when the envelope's time is over.
    fn keep(&self, _broadcast: PeerBroadcast) -> BoxFuture<Result<u64, CallError>> {
        Box::pin(std::future::ready(Err(no_stream())))
    }
}

fn no_stream() -> CallError {
    let why = "durable broadcasts need NATS servers, which fanfare.json does not name: set cluster.nats";
    CallError::Unavailable(why.to_owned())
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

    fn holders(&self, _: &str) -> Vec<Peer> {
        Vec::new()
    }

    fn broadcast(&self, _: PeerBroadcast) -> Reached {
        Reached::default()
    }

    fn gather(&self, _: PeerBroadcast) -> BoxFuture<Vec<GatherEntry>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}

fn lost(node: &str) -> CallError {
    CallError::Unavailable(format!("node {node} was lost"))
}
