//! The port through which nodes change a module one after another.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::BoxFuture;
use crate::call::{CallError, NodeReload, RolloutStep};

/// What the nodes of the cluster know about the generations of a module. Digests are whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The generation that a node has taken last.
    pub accepted: Option<String>,
    /// The generation that a node has rejected last.
    pub rejected: Option<Rejection>,
    /// The generation of the last rollback, and the digest of the folder that it replaces.
    pub pinned: Option<(String, String)>,
}

/// A generation that a node has rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub generation: String,
    pub node: String,
    pub reason: String,
}

/// Whether this node has taken a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accepted(String),
    Rejected { generation: String, reason: String },
}

/// The turn of this node to change a module. It ends when it is dropped.
pub struct Turn {
    pub known: Known,
    link: Option<TurnLink>,
}

/// The connection of a turn to the cluster.
struct TurnLink {
    verdict: oneshot::Sender<Verdict>,
    confirm: Confirm,
}

/// Fails with the node that has taken a turn over: `node chat-1`, or `another node`.
pub type Confirm = Arc<dyn Fn() -> BoxFuture<Result<(), String>> + Send + Sync>;

impl Turn {
    /// The turn of a node that is alone.
    pub fn alone() -> Turn {
        Turn { known: Known::default(), link: None }
    }

    /// A turn that ends with a verdict, or when `verdict` is dropped. `confirm` returns the node
    /// that has taken the turn over, if one has.
    pub fn of_cluster(
        known: Known,
        verdict: oneshot::Sender<Verdict>,
        confirm: impl Fn() -> BoxFuture<Result<(), String>> + Send + Sync + 'static,
    ) -> Turn {
        Turn { known, link: Some(TurnLink { verdict, confirm: Arc::new(confirm) }) }
    }

    /// The question whether this node still has the turn. Another node may have taken it over,
    /// because this one was silent for too long.
    pub fn confirm(&self) -> Confirm {
        match &self.link {
            Some(link) => link.confirm.clone(),
            None => Arc::new(|| std::future::ready(Ok(())).boxed()),
        }
    }

    /// Ends the turn, and tells the other nodes whether it has taken the generation.
    pub fn end(self, verdict: Option<Verdict>) {
        if let (Some(link), Some(verdict)) = (self.link, verdict) {
            // The cluster has ended.
            _ = link.verdict.send(verdict);
        }
    }
}

/// The functions of the cluster for the swap.
pub trait Rollouts: Send + Sync {
    /// Whether there may be other nodes.
    fn has_others(&self) -> bool;

    /// Waits until no other node changes the module. A node that cannot reach the others does not
    /// wait.
    fn turn(&self, module: &str) -> BoxFuture<Turn>;

    /// What the nodes know about a module. Fails if they cannot be asked.
    fn known(&self, module: &str) -> BoxFuture<Result<Known, CallError>>;

    /// Tells the other nodes of a rollback: the generation, and the digest of the folder that it
    /// replaces.
    fn pin(&self, module: &str, generation: &str, folder: &str) -> BoxFuture<()>;

    /// Lets every other node that has the module do this, one after another. Stops at the first one
    /// that refuses.
    fn others(&self, step: RolloutStep) -> BoxFuture<Vec<NodeReload>>;
}

/// The port of a node that is alone.
#[derive(Debug, Clone, Copy)]
pub struct NoRollouts;

impl Rollouts for NoRollouts {
    fn has_others(&self) -> bool {
        false
    }

    fn turn(&self, _: &str) -> BoxFuture<Turn> {
        Box::pin(std::future::ready(Turn::alone()))
    }

    fn known(&self, _: &str) -> BoxFuture<Result<Known, CallError>> {
        Box::pin(std::future::ready(Ok(Known::default())))
    }

    fn pin(&self, _: &str, _: &str, _: &str) -> BoxFuture<()> {
        Box::pin(std::future::ready(()))
    }

    fn others(&self, _: RolloutStep) -> BoxFuture<Vec<NodeReload>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}
