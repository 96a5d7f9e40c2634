//! The port to the nodes of the cluster, as guests see them.

use std::sync::Arc;

/// What guests know of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownNode {
    pub id: String,
    /// The server type.
    pub server: String,
    /// Whether clients connect to it.
    pub frontend: bool,
    pub workers: u32,
    /// The keys of its entry in `cluster.servers` that the host does not know, as a JSON object.
    pub settings: String,
    /// When it started, in milliseconds since 1970-01-01 UTC.
    pub since: u64,
}

/// The nodes that this node knows, itself among them.
pub trait Nodes: Send + Sync {
    /// Returns the nodes of a server type, or all nodes, sorted by id.
    fn list(&self, server: Option<&str>) -> Vec<Arc<KnownNode>>;

    /// Returns the node with this id.
    fn get(&self, id: &str) -> Option<Arc<KnownNode>>;
}

/// The port of a host that only inspects components.
#[derive(Debug, Clone, Copy)]
pub struct NoNodes;

impl Nodes for NoNodes {
    fn list(&self, _: Option<&str>) -> Vec<Arc<KnownNode>> {
        Vec::new()
    }

    fn get(&self, _: &str) -> Option<Arc<KnownNode>> {
        None
    }
}

/// The port of a node without a cluster.
#[derive(Debug, Clone)]
pub struct OneNode(pub Arc<KnownNode>);

impl Nodes for OneNode {
    fn list(&self, server: Option<&str>) -> Vec<Arc<KnownNode>> {
        let wanted = server.is_none_or(|server| server == self.0.server);
        wanted.then(|| self.0.clone()).into_iter().collect()
    }

    fn get(&self, id: &str) -> Option<Arc<KnownNode>> {
        (id == self.0.id).then(|| self.0.clone())
    }
}
