//! The status and the metrics of the cluster, and its nodes for guests.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::counts::{PeerSnapshot, Snapshot};
use super::known::known;
use super::modules::installed;
use super::presence::{Phase, Reachable};
use super::{Cluster, info};
use crate::api::{ClusterState, ClusterStatus, NodeInfo, NodeStatus};
use crate::call::text::{NAME, line};
use crate::call::{CallError, VERSION};
use crate::isolate::NodeFacts;
use crate::ports::{KnownNode, Nodes, Topics, Wanted};
use crate::registry::Roster;

/// The status of a node without a cluster.
pub fn alone(facts: &NodeFacts, roster: &Roster) -> ClusterStatus {
    let info = NodeInfo { modules: installed(roster), ..info(facts) };
    ClusterStatus { nodes: vec![NodeStatus { info, own: true, ..NodeStatus::default() }], ..ClusterStatus::default() }
}

/// What guests know of this node.
pub fn own_node(facts: &NodeFacts) -> KnownNode {
    known(&info(facts))
}

impl Cluster {
    /// The nodes, as this one knows them.
    pub fn status(&self) -> ClusterStatus {
        let (state, reason) = self.state();
        let own = NodeStatus { info: self.info.lock().clone(), own: true, ..NodeStatus::default() };
        let view = self.view.load();
        let other = |node: &Reachable| NodeStatus {
            info: (*node.info).clone(),
            sent: node.counts.sent.load(Relaxed),
            received: node.counts.received.load(Relaxed),
            in_flight: node.counts.in_flight.load(Relaxed),
            round_trip_micros: node.counts.round_trip(),
            ..NodeStatus::default()
        };
        let incompatible = self.presence.lock().incompatible().into_iter().map(|(id, version)| NodeStatus {
            info: NodeInfo { id, ..NodeInfo::default() },
            protocol: Some(version),
            ..NodeStatus::default()
        });
        let mut nodes: Vec<NodeStatus> = view.nodes.values().map(other).chain(incompatible).chain([own]).collect();
        nodes.sort_by(|one, other| one.info.id.cmp(&other.info.id));
        ClusterStatus { cluster: Some(self.config.name.clone()), state, nats: self.link.server(), reason, nodes }
    }

    /// Why no node of the cluster is what a call wants, although one was, or is expected.
    pub(super) fn absent(&self, wanted: Wanted<'_>) -> Option<CallError> {
        let presence = self.presence.lock();
        if let Wanted::Node(id) = wanted
            && let Some((_, version)) = presence.incompatible().into_iter().find(|(node, _)| node == id)
        {
            let node = line(id, NAME);
            return Some(CallError::Unavailable(format!(
                "node {node} has version {version} of the protocol between nodes, and this node has version {VERSION}"
            )));
        }
        let what = match wanted {
            Wanted::Node(id) => format!("node {} is not", line(id, NAME)),
            Wanted::Server(server) => format!("no node of the server type {} is", line(server, NAME)),
            Wanted::Module(module) => format!("no node with the module {} is", line(module, NAME)),
        };
        presence.former.has(wanted).then(|| CallError::Unavailable(format!("{what} in the cluster now")))
    }

    fn state(&self) -> (ClusterState, Option<String>) {
        let (up, reason) = self.link.state();
        if matches!(*self.phase.lock(), Phase::Leaving | Phase::Left) {
            return (ClusterState::Leaving, None);
        }
        if self.conflict.load(Acquire) {
            return (ClusterState::Conflict, Some("another node has the id of this node: set node.id".to_owned()));
        }
        match (up, self.joined.load(Acquire)) {
            (Some(true), true) => (ClusterState::Up, None),
            (Some(false), _) => (ClusterState::Down, reason),
            (Some(true), false) | (None, _) => (ClusterState::Connecting, reason),
        }
    }

    /// The figures for the metrics.
    pub fn snapshot(&self) -> Snapshot {
        let view = self.view.load();
        let peer = |node: &Reachable| PeerSnapshot {
            node: node.info.id.clone(),
            sent: node.counts.sent.load(Relaxed),
            received: node.counts.received.load(Relaxed),
            in_flight: node.counts.in_flight.load(Relaxed),
            round_trip_micros: node.counts.round_trip(),
        };
        let (queued_messages, queued_bytes) = self.link.queued();
        Snapshot {
            up: self.state().0 == ClusterState::Up,
            nodes: view.nodes.len() as u64 + 1,
            sure: self.is_sure(),
            queued_messages,
            queued_bytes,
            waiting: self.waiting.calls().into(),
            serving: self.serving.load(Relaxed).into(),
            durable: self.durable.outbox.len(),
            counters: self.link.counts.snapshot().into_iter().chain(self.durable.counters()).collect(),
            peers: view.nodes.values().map(peer).collect(),
        }
    }
}

impl Nodes for Cluster {
    fn list(&self, server: Option<&str>) -> Vec<Arc<KnownNode>> {
        let view = self.view.load();
        let mut nodes: Vec<_> = view.nodes.values().map(|node| &node.known).chain([&self.own]).cloned().collect();
        nodes.retain(|node| server.is_none_or(|server| server == node.server));
        nodes.sort_by(|one, other| one.id.cmp(&other.id));
        nodes
    }

    fn get(&self, id: &str) -> Option<Arc<KnownNode>> {
        if id == self.own.id {
            return Some(self.own.clone());
        }
        self.view.load().nodes.get(id).map(|node| node.known.clone())
    }
}
