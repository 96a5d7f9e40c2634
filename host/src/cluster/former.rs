//! The nodes that belong to the cluster and are not there now, so that a call to one of them ends
//! as `unavailable`, and not as if nobody had ever known it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::api::NodeInfo;
use crate::config::{MAX_SERVERS, ServerConfig};
use crate::ports::Wanted;

/// What is known about a node that is not there.
struct Absent {
    id: String,
    server: String,
    frontend: bool,
    modules: BTreeSet<String>,
}

/// The nodes that have gone, and those of `cluster.servers` that have not come yet. The oldest of
/// more than [`MAX_SERVERS`] are forgotten.
#[derive(Default)]
pub(super) struct Former {
    nodes: VecDeque<Absent>,
}

impl Former {
    /// The nodes of `cluster.servers`. `own` is this one.
    pub(super) fn new(servers: &[ServerConfig], own: &str) -> Former {
        let absent = |server: &ServerConfig| Absent {
            id: server.id.clone(),
            server: server.server.clone(),
            frontend: server.frontend,
            modules: server.modules.iter().flatten().cloned().collect(),
        };
        Former { nodes: servers.iter().filter(|server| server.id != own).map(absent).collect() }
    }

    /// A node has gone.
    pub(super) fn add(&mut self, node: &NodeInfo) {
        self.remove(&node.id);
        if self.nodes.len() >= MAX_SERVERS {
            self.nodes.pop_front();
        }
        let modules: &BTreeMap<String, String> = &node.modules;
        let (id, server) = (node.id.clone(), node.server.clone());
        let (frontend, modules) = (node.frontend, modules.keys().cloned().collect());
        self.nodes.push_back(Absent { id, server, frontend, modules });
    }

    /// A node is there.
    pub(super) fn remove(&mut self, id: &str) {
        self.nodes.retain(|node| node.id != id);
    }

    /// The ids of those that clients connect to.
    pub(super) fn frontends(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter(|node| node.frontend).map(|node| &*node.id)
    }

    /// Whether one of them is what a call wants.
    pub(super) fn has(&self, wanted: Wanted<'_>) -> bool {
        self.nodes.iter().any(|node| match wanted {
            Wanted::Node(id) => node.id == id,
            Wanted::Server(server) => node.server == server,
            Wanted::Module(module) => node.modules.contains(module),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_too_many_nodes_are_forgotten() {
        let mut former = Former::default();
        let node = |number: usize| NodeInfo { id: format!("n-{number}"), ..NodeInfo::default() };
        (0..=MAX_SERVERS).for_each(|number| former.add(&node(number)));
        former.add(&node(MAX_SERVERS));
        assert_eq!(former.nodes.len(), MAX_SERVERS);
        assert!(!former.has(Wanted::Node("n-0")) && former.has(Wanted::Node("n-1")));
        former.remove("n-1");
        assert!(!former.has(Wanted::Node("n-1")));
    }
}
